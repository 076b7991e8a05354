import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial import ConvexHull

from amodal_bench.masks.hull import hull_mask
from amodal_bench.types import Mask

MASKS = hnp.arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9))).filter(lambda m: bool(m.any()))


def by_half_planes(mask: Mask) -> Mask:
    """A pixel is in the hull unless some line through two set pixels has all set pixels on its other side."""
    points = np.argwhere(mask)
    low, high = points.min(axis=0), points.max(axis=0)
    inside = np.zeros_like(mask)
    inside[low[0] : high[0] + 1, low[1] : high[1] + 1] = True
    rows, columns = np.indices(mask.shape)
    for a_row, a_column in points:
        for b_row, b_column in points:
            down, right = b_row - a_row, b_column - a_column
            if (down * (points[:, 1] - a_column) >= right * (points[:, 0] - a_row)).all():
                inside &= down * (columns - a_column) >= right * (rows - a_row)
    return inside


@given(MASKS)
def test_the_hull_is_that_of_all_half_planes(mask: Mask) -> None:
    assert np.array_equal(hull_mask(mask), by_half_planes(mask))


def test_a_large_hull_agrees_with_qhull(rng: np.random.Generator) -> None:
    mask = np.zeros((200, 300), dtype=np.bool_)
    points = rng.integers([20, 30], [180, 270], size=(40, 2))
    mask[points[:, 0], points[:, 1]] = True
    equations = ConvexHull(np.argwhere(mask)).equations
    pixels = np.indices(mask.shape).reshape(2, -1).T
    inside = (pixels @ equations[:, :2].T + equations[:, 2] <= 1e-9).all(axis=1).reshape(mask.shape)
    assert np.array_equal(hull_mask(mask), inside)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (5, 5)])
def test_a_full_mask_is_its_own_hull(shape: tuple[int, int]) -> None:
    mask = np.ones(shape, dtype=np.bool_)
    assert np.array_equal(hull_mask(mask), mask)
