"""Windows, and the way into the network's frame and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amodal_bench.masks.boxes import Window
from amodal_bench.methods._window import CropSettings, cut_image, cut_mask, cut_visible, find_window, paste, recall
from amodal_bench.types import Mask

CROPS = [
    CropSettings(),
    CropSettings(enlarge=1.0),
    CropSettings(mode="square", enlarge=1.6, min_side=0.6),
    CropSettings(mode="square", enlarge=3.0),
    CropSettings(mode="none"),
]


def rectangle(shape: tuple[int, int], rows: slice, columns: slice) -> Mask:
    mask = np.zeros(shape, dtype=np.bool_)
    mask[rows, columns] = True
    return mask


def test_the_papers_box_in_numbers() -> None:
    """Centre (min + max) // 2, length int(side * 2), both ends included, cut at the image's edge."""
    assert find_window(rectangle((100, 200), slice(40, 51), slice(60, 81)), CropSettings()) == Window(35, 50, 56, 91)
    assert find_window(rectangle((100, 200), slice(0, 11), slice(180, 200)), CropSettings()) == Window(0, 170, 16, 200)


def test_a_square_is_moved_into_the_image_before_it_is_cut() -> None:
    crop = CropSettings(mode="square", enlarge=2.0)
    assert find_window(rectangle((100, 200), slice(0, 10), slice(190, 200)), crop) == Window(0, 180, 20, 200)
    assert find_window(rectangle((20, 200), slice(0, 20), slice(100, 140)), crop) == Window(0, 80, 20, 160)
    least = CropSettings(mode="square", enlarge=2.0, min_side=0.5)
    assert find_window(rectangle((200, 100), slice(90, 110), slice(40, 60)), least).shape == (100, 100)


@given(st.data())
def test_every_window_lies_in_the_image_and_holds_the_visible_mask(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    bottom, right = data.draw(st.integers(top, height - 1)), data.draw(st.integers(left, width - 1))
    mask = rectangle((height, width), slice(top, bottom + 1), slice(left, right + 1))
    for crop in CROPS:
        window = find_window(mask, crop)
        assert 0 <= window.top < window.bottom <= height
        assert 0 <= window.left < window.right <= width
        assert recall(mask, window) == 1.0
        assert cut_visible(mask, window, 32, crop.masks == "area").any()


@given(st.data())
def test_a_shifted_window_still_lies_in_the_image(data: st.DataObject) -> None:
    shift = (data.draw(st.floats(-0.5, 0.5)), data.draw(st.floats(-0.5, 0.5)))
    mask = rectangle((30, 40), slice(0, 6), slice(33, 40))
    for crop in CROPS:
        window = find_window(mask, crop, data.draw(st.floats(1, 4)), shift)
        assert 0 <= window.top < window.bottom <= 30
        assert 0 <= window.left < window.right <= 40


@pytest.mark.parametrize("crop", CROPS)
@pytest.mark.parametrize("corner", [(0, 0), (0, 140), (90, 0), (90, 140), (45, 70)])
@pytest.mark.parametrize("by_area", [True, False])
def test_there_and_back_at_borders(crop: CropSettings, corner: tuple[int, int], by_area: bool) -> None:
    top, left = corner
    rows, columns = np.mgrid[:150, :200]
    amodal = ((rows - top - 30) / 30) ** 2 + ((columns - left - 30) / 30) ** 2 <= 1
    window = find_window(amodal, crop)
    back = paste(cut_mask(amodal, window, 128, by_area).astype(np.float32), window, amodal.shape)
    assert not back[~rectangle(amodal.shape, *window.slices)].any()
    assert (back & amodal).sum() / (back | amodal).sum() > 0.93


def test_there_and_back_at_the_networks_own_size_changes_nothing(rng: np.random.Generator) -> None:
    mask = rng.random((64, 64)) > 0.5
    window = Window(0, 0, 64, 64)
    assert np.array_equal(paste(cut_mask(mask, window, 64, False).astype(np.float32), window, (64, 64)), mask)


@pytest.mark.parametrize("by_area", [True, False])
def test_one_visible_pixel_survives_the_way_down(by_area: bool) -> None:
    mask = rectangle((900, 1200), slice(431, 432), slice(7, 8))
    small = cut_visible(mask, Window(0, 0, 900, 1200), 64, by_area)
    assert small.sum() == 1
    assert small[431 * 64 // 900, 7 * 64 // 1200]


def test_an_image_smaller_than_the_network_is_enlarged() -> None:
    image = np.arange(9 * 3, dtype=np.uint8).reshape(1, 9, 3)
    assert cut_image(image, Window(0, 0, 1, 9), 32).shape == (32, 32, 3)
    assert paste(np.ones((32, 32), dtype=np.float32), Window(0, 0, 1, 9), (1, 9)).all()


def test_recall_counts_what_lies_outside() -> None:
    amodal = rectangle((10, 10), slice(0, 10), slice(0, 10))
    assert recall(amodal, Window(0, 0, 5, 5)) == 0.25
