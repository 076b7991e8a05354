import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial import ConvexHull

from amodal_bench.methods.convex_hull import hull_mask
from amodal_bench.types import Mask

MASKS = hnp.arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9))).filter(lambda m: bool(m.any()))


def by_half_planes(mask: Mask) -> Mask:
    """A pixel is in the hull unless some line through two set pixels has all set pixels on its other side."""
    points = np.argwhere(mask)
    inside = np.zeros_like(mask)
    rows, columns = np.indices(mask.shape)
    keep = np.ones_like(mask)
    for a in points:
        for b in points:

            def side(y: np.ndarray, x: np.ndarray, a: np.ndarray = a, b: np.ndarray = b) -> np.ndarray:  # type: ignore[type-arg]
                return (b[0] - a[0]) * (x - a[1]) - (b[1] - a[1]) * (y - a[0])

            if (side(points[:, 0], points[:, 1]) >= 0).all():
                keep &= side(rows, columns) >= 0
    box = np.zeros_like(mask)
    low, high = points.min(axis=0), points.max(axis=0)
    box[low[0] : high[0] + 1, low[1] : high[1] + 1] = True
    inside[keep & box] = True
    return inside


@given(MASKS)
def test_the_hull_is_that_of_all_half_planes(mask: Mask) -> None:
    assert np.array_equal(hull_mask(mask), by_half_planes(mask))


def test_a_large_hull_agrees_with_qhull(rng: np.random.Generator) -> None:
    mask = np.zeros((200, 300), dtype=np.bool_)
    points = rng.integers([20, 30], [180, 270], size=(40, 2))
    mask[points[:, 0], points[:, 1]] = True
    equations = ConvexHull(np.argwhere(mask)).equations
    pixels = np.stack(np.indices(mask.shape), axis=-1).reshape(-1, 2)
    inside = (pixels @ equations[:, :2].T + equations[:, 2] <= 1e-9).all(axis=1).reshape(mask.shape)
    assert np.array_equal(hull_mask(mask), inside)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (5, 5)])
def test_a_full_mask_is_its_own_hull(shape: tuple[int, int]) -> None:
    mask = np.ones(shape, dtype=np.bool_)
    assert np.array_equal(hull_mask(mask), mask)
