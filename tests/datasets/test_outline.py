"""Polygons that turn back into the same pixels."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco

from amodal_bench.formats.writers.outline import polygon, polygons
from amodal_bench.masks import rle
from amodal_bench.types import Mask

MASKS = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=24))
SPARSE = arrays(np.bool_, (12, 12), elements=st.integers(0, 8).map(lambda n: n == 0))
FULL = arrays(np.bool_, (12, 12), elements=st.integers(0, 8).map(lambda n: n > 0))


def filled(found: list[list[float]], shape: tuple[int, ...]) -> Mask:
    """What pycocotools makes of a list of polygons, as the datasets' own code calls it."""
    height, width = shape
    return rle.decode(coco.merge(coco.frPyObjects(found, height, width)))


@given(st.one_of(MASKS, SPARSE, FULL))
def test_polygons_fill_to_the_same_pixels(mask: Mask) -> None:
    found = polygons(mask)
    if not mask.any():
        assert found == []
        return
    np.testing.assert_array_equal(filled(found, mask.shape), mask)
    np.testing.assert_array_equal(filled([polygon(mask)], mask.shape), mask)


@given(MASKS.filter(lambda mask: bool(mask.any())))
def test_polygons_stay_in_the_image_and_repeat_no_corner(mask: Mask) -> None:
    height, width = mask.shape
    for found in [*polygons(mask), polygon(mask)]:
        points = np.reshape(found, (-1, 2))
        assert (points >= 0).all()
        assert (points <= (width, height)).all()
        assert (points != np.roll(points, 1, axis=0)).any(axis=1).all()
        assert (points == np.round(points)).all()


def test_each_part_is_a_polygon_of_its_own() -> None:
    mask = np.zeros((6, 9), dtype=np.bool_)
    mask[1:3, 1:4] = mask[4:6, 6:9] = True
    assert polygons(mask) == [[1, 1, 4, 1, 4, 3, 1, 3], [6, 4, 9, 4, 9, 6, 6, 6]]


def test_a_hole_is_joined_by_a_bridge_of_no_width() -> None:
    mask = np.ones((5, 5), dtype=np.bool_)
    mask[2, 2] = False
    (found,) = polygons(mask)
    assert len(found) == 2 * (4 + 4 + 2)
    np.testing.assert_array_equal(filled([found], mask.shape), mask)


def test_an_empty_mask_has_no_polygon() -> None:
    assert polygons(np.zeros((4, 4), dtype=np.bool_)) == []


@pytest.mark.parametrize("shape", [(375, 1242), (1280, 800)])
def test_a_large_ragged_mask_is_exact(shape: tuple[int, int], rng: np.random.Generator) -> None:
    coarse = rng.random((shape[0] // 5 + 1, shape[1] // 5 + 1)) < 0.6
    mask = np.kron(coarse, np.ones((5, 5), dtype=np.bool_))[: shape[0], : shape[1]]
    mask ^= rng.random(shape) < 0.001
    np.testing.assert_array_equal(filled(polygons(mask), shape), mask)
    np.testing.assert_array_equal(filled([polygon(mask)], shape), mask)


def test_every_mask_of_three_by_three_pixels_is_exact() -> None:
    for bits in itertools.product((False, True), repeat=9):
        mask = np.reshape(bits, (3, 3))
        if mask.any():
            np.testing.assert_array_equal(filled(polygons(mask), (3, 3)), mask)
            np.testing.assert_array_equal(filled([polygon(mask)], (3, 3)), mask)
