"""Pieces of whole objects, holes, and the refusal of objects that are not whole."""

import numpy as np
import pytest

from amodal_bench.errors import Refused
from amodal_bench.methods._training.colour import on_own_colours
from amodal_bench.methods._training.pieces import piece, shape, whole
from amodal_bench.methods.inpaint.holes import cutout, hole
from amodal_bench.types import AmodalQuery, AmodalSample, Mask


def disk() -> Mask:
    rows, columns = np.mgrid[:64, :64]
    return np.asarray((rows - 30) ** 2 + (columns - 36) ** 2 < 15**2)


def sample(visible: Mask) -> AmodalSample:
    image = np.zeros((64, 64, 3), dtype=np.uint8)
    return AmodalSample(AmodalQuery("made/train/1/7", "1", image, visible), disk())


def test_a_piece_is_a_part_of_the_object_and_not_too_small() -> None:
    shares = []
    for seed in range(200):
        kept = piece(disk(), np.random.default_rng(seed))
        assert not (kept & ~disk()).any()
        shares.append(kept.sum() / disk().sum())
    assert min(shares) >= 0.15
    assert np.mean(np.array(shares) < 1) > 0.9
    assert np.ptp(shares) > 0.5


def test_a_piece_of_one_pixel_is_that_pixel() -> None:
    mask = np.zeros((64, 64), dtype=np.bool_)
    mask[5, 6] = True
    assert np.array_equal(piece(mask, np.random.default_rng(0)), mask)


def test_shapes_are_near_their_box() -> None:
    found = [shape((64, 64), (10, 10, 20, 20), np.random.default_rng(seed)) for seed in range(50)]
    assert all(mask.shape == (64, 64) and not mask[40:].any() for mask in found)
    assert sum(mask.any() for mask in found) > 45


def test_holes_leave_the_kept_piece_and_never_vanish() -> None:
    for seed in range(100):
        rng = np.random.default_rng(seed)
        kept = piece(disk(), rng)
        area = cutout(kept, rng)
        assert not (area & kept).any()
        assert (area & disk()).any() or np.array_equal(kept, disk())
        assert hole(disk(), rng).any()


def test_an_object_with_a_hidden_part_is_refused() -> None:
    assert whole(sample(disk())).query.id == "made/train/1/7"
    seen = disk()
    seen[30] = False
    with pytest.raises(Refused, match=r"made/train/1/7: a part of it is hidden.*--set dataset.complete=true"):
        whole(sample(seen))


def test_own_colours_leave_the_object_and_have_its_mean() -> None:
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    image[disk()] = rng.integers((100, 20, 200), (120, 40, 220), (int(disk().sum()), 3))
    made = on_own_colours(image, disk(), 1.0, rng)
    assert np.array_equal(made[disk()], image[disk()])
    assert np.abs(made[~disk()].mean(axis=0) - image[disk()].mean(axis=0)).max() < 1.5
    assert made[~disk()].std(axis=0).max() < image[disk()].std(axis=0).max()
