"""The metrics of pixels as loops over pixels: the second implementation that tests compare with."""

import math

import numpy as np

from amodal_bench.types import Mask


def around(mask: Mask, y: int, x: int, d: int, outside: bool) -> list[bool]:
    """The pixels at most d rows and columns away; `outside` is what lies beyond the image."""
    height, width = mask.shape
    steps = range(-d, d + 1)
    there = [(y + i, x + j) for i in steps for j in steps]
    return [bool(mask[a, b]) if 0 <= a < height and 0 <= b < width else outside for a, b in there]


def kept(mask: Mask, d: int, outside: bool) -> Mask:
    """Erosion, pixel by pixel."""
    found = [[all(around(mask, y, x, d, outside)) for x in range(mask.shape[1])] for y in range(mask.shape[0])]
    return np.array(found, dtype=np.bool_).reshape(mask.shape)


def iou(p: Mask, a: Mask) -> tuple[int, int]:
    return int((p & a).sum()), int((p | a).sum())


def by_loop(p: Mask, a: Mask, v: Mask) -> dict[str, tuple[int, int]]:
    d = max(1, round(0.02 * math.hypot(*a.shape)))
    band_p, band_a = p & ~kept(p, d, outside=False), a & ~kept(a, d, outside=False)
    hidden = [kept(mask & ~v, 2, outside=True) for mask in (p, a)]
    return {"full": iou(band_p, band_a), "hidden": iou(band_p & ~v, band_a & ~v), "eroded": iou(hidden[0], hidden[1])}
