"""The convex hull of a mask, to the pixel, in integer arithmetic."""

import numpy as np
from numpy.typing import NDArray

from amodal_bench.types import Mask

Integers = NDArray[np.int64]  # (N,)


def hull_mask(mask: Mask) -> Mask:
    """Pixels (H, W) whose centres lie in the closed convex hull of the set pixels' centres."""
    rows = np.flatnonzero(mask.any(axis=1))
    first = mask[rows].argmax(axis=1)
    last = mask.shape[1] - 1 - mask[rows, ::-1].argmax(axis=1)
    at = np.arange(rows[0], rows[-1] + 1)
    left = -_upper_chain_floor(rows, -first, at)
    right = _upper_chain_floor(rows, last, at)
    columns = np.arange(mask.shape[1])
    hull = np.zeros_like(mask)
    hull[at] = (columns >= left[:, None]) & (columns <= right[:, None])
    return hull


def _upper_chain_floor(x: Integers, y: Integers, at: Integers) -> Integers:
    """Floor, at the whole numbers `at`, of the upper hull of the points (x, y); x rises strictly."""
    chain: list[int] = []
    for point in range(len(x)):
        while len(chain) > 1 and not _turns_right(x, y, chain[-2], chain[-1], point):
            chain.pop()
        chain.append(point)
    corner = np.asarray(chain)
    segment = np.clip(np.searchsorted(x[corner], at, side="right") - 1, 0, max(len(corner) - 2, 0))
    start, end = corner[segment], corner[np.minimum(segment + 1, len(corner) - 1)]
    run = np.maximum(x[end] - x[start], 1)
    return np.asarray(y[start] + (y[end] - y[start]) * (at - x[start]) // run)


def _turns_right(x: Integers, y: Integers, a: int, b: int, c: int) -> bool:
    """Whether the path a, b, c turns clockwise (andrew's monotone chain keeps such corners)."""
    return bool((x[b] - x[a]) * (y[c] - y[a]) < (y[b] - y[a]) * (x[c] - x[a]))
