"""Boxes of masks: rows [top, bottom) and columns [left, right) of an image."""

from typing import NamedTuple

import numpy as np

from amodal_bench.types import Mask


class Window(NamedTuple):
    """Rows [top, bottom) and columns [left, right) of an image; never empty."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """What cuts the window out of an array (H, W, ...)."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.bottom - self.top, self.right - self.left


def extent(mask: Mask) -> tuple[int, int, int, int]:
    """First row, first column, last row, last column of a mask that is not empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(rows[0]), int(columns[0]), int(rows[-1]), int(columns[-1])


def enlarged(mask: Mask, factor: float, shift: tuple[float, float] = (0, 0)) -> Window:
    """The box of a mask, `factor` times as long and wide, cut at the image's edge.

    Centre and length are in whole pixels, both ends included; `shift` moves it by these shares of its sides.
    """
    top, left, bottom, right = extent(mask)
    spans = []
    for first, last, side, move in (
        (top, bottom, mask.shape[0], shift[0]),
        (left, right, mask.shape[1], shift[1]),
    ):
        length = int((last - first) * factor)
        start = (first + last) // 2 - length // 2 + round(move * length)
        low = min(max(0, start), side - 1)
        spans.append((low, max(low, min(side - 1, start + length)) + 1))
    return Window(spans[0][0], spans[1][0], spans[0][1], spans[1][1])
