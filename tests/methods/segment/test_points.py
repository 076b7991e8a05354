"""Where a segmenter is pointed at, which of its masks is taken, whose embedding is computed."""

from collections.abc import Sequence

import numpy as np
import pytest

from amodal_bench.methods._segment.choose import Multimask, choose
from amodal_bench.methods._segment.points import draw_points
from amodal_bench.methods._segment.reuse import Embeddings
from amodal_bench.methods._segment.settings import Segmenter
from amodal_bench.types import Image, Mask

RANDOM, GRID = Segmenter(), Segmenter(draw="grid")


def triangle(side: int = 40) -> Mask:
    rows, columns = np.mgrid[:side, : 2 * side]
    return columns <= rows


def inside(points: np.ndarray, mask: Mask) -> bool:
    whole = points.astype(int)
    return bool((whole == points).all() and mask[whole[:, 1], whole[:, 0]].all())


@pytest.mark.parametrize("settings", [RANDOM, GRID], ids=["random", "grid"])
def test_points_are_pixels_of_the_mask_and_repeatable(settings: Segmenter) -> None:
    mask = triangle()
    first, again = (draw_points(mask, settings, np.random.default_rng(3)) for _ in range(2))
    assert first.shape == (9, 2)
    assert first.dtype == np.float64
    assert np.array_equal(first, again)
    assert inside(first, mask)
    assert len(np.unique(first, axis=0)) == 9
    assert first[:, 0].max() <= 39, "x lies in the columns of the triangle"


def test_the_seed_moves_random_points_and_leaves_the_grid() -> None:
    mask = triangle()
    random = [draw_points(mask, RANDOM, np.random.default_rng(seed)) for seed in (1, 2)]
    grid = [draw_points(mask, GRID, np.random.default_rng(seed)) for seed in (1, 2)]
    assert not np.array_equal(random[0], random[1])
    assert np.array_equal(grid[0], grid[1])


def test_the_grid_takes_the_middles_of_equal_shares_in_raster_order() -> None:
    mask = np.zeros((4, 6), dtype=np.bool_)
    mask[1:3, 1:6] = True  # 10 pixels
    points = draw_points(mask, Segmenter(draw="grid", points=3), np.random.default_rng(0))
    pixels = [(x, y) for y in (1, 2) for x in range(1, 6)]
    assert points.tolist() == [list(pixels[k]) for k in (1, 5, 8)]  # floor(10 (k + 1/2) / 3)


@pytest.mark.parametrize("settings", [RANDOM, GRID], ids=["random", "grid"])
@pytest.mark.parametrize("pixels", [1, 8, 9])
def test_few_pixels_are_pointed_at_again(settings: Segmenter, pixels: int) -> None:
    mask = np.zeros((5, 7), dtype=np.bool_)
    mask.flat[20 : 20 + pixels] = True
    points = draw_points(mask, settings, np.random.default_rng(0))
    assert points.shape == (9, 2)
    assert inside(points, mask)
    assert len(np.unique(points, axis=0)) <= pixels
    assert pixels != 9 or len(np.unique(points, axis=0)) == 9


def test_an_empty_mask_has_no_points() -> None:
    with pytest.raises(ValueError, match=r"empty visible mask \(3, 4\)"):
        draw_points(np.zeros((3, 4), dtype=np.bool_), RANDOM, np.random.default_rng(0))


@pytest.mark.parametrize(("how", "index"), [("single", 0), ("best_iou", 2), ("max_area", 3), ("cover_v", 1)])
def test_each_way_takes_another_mask(how: Multimask, index: int) -> None:
    """Four nested boxes; the visible mask is covered by those of 4, 6 and 8 pixels' side."""
    logits = np.full((4, 8, 8), -1, dtype=np.float32)
    for k, side in enumerate((2, 4, 6, 8)):
        logits[k, :side, :side] = 1
    visible = np.zeros((8, 8), dtype=np.bool_)
    visible[:4, :3] = True
    assert choose(logits, np.array([0.1, 0.2, 0.9, 0.3], dtype=np.float32), visible, how) == index
    same = np.ones((3, 8, 8), dtype=np.float32)
    assert choose(same, np.ones(3, dtype=np.float32), visible, how) == 0, "the first of equals"


class Encoder:
    """Embeds an image as its mean, and keeps what it was shown."""

    def __init__(self) -> None:
        self.shown: list[list[float]] = []

    def __call__(self, images: Sequence[Image]) -> list[float]:
        self.shown.append([float(image.mean()) for image in images])
        return self.shown[-1]


def plain(value: int) -> Image:
    return np.full((2, 3, 3), value, dtype=np.uint8)


def test_images_of_one_key_are_embedded_once_even_across_calls() -> None:
    encoder = Encoder()
    embeddings = Embeddings(encoder, 2)
    assert embeddings.of([plain(1), plain(1), plain(2)], ["a", "a", "b"]) == [1, 1, 2]
    assert embeddings.of([plain(2), plain(3)], ["b", "c"]) == [2, 3]
    assert encoder.shown == [[1, 2], [3, 3]], "short batches are filled with their last image"


def test_images_without_key_are_embedded_every_time() -> None:
    encoder = Encoder()
    embeddings = Embeddings(encoder, 1)
    assert embeddings.of([plain(1), plain(1)], None) == [1, 1]
    assert embeddings.of([plain(1)], [None]) == [1]
    assert len(encoder.shown) == 3


def test_two_images_of_one_key_are_not_taken_for_one() -> None:
    assert Embeddings(Encoder(), 4).of([plain(1), plain(5)], ["0", "0"]) == [1, 5]
    assert Embeddings(Encoder(), 4).of([plain(1), plain(1)[:1]], ["0", "0"]) == [1, 1]
