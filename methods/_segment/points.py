"""Where a segmenter is pointed at: pixels of the visible mask. No torch here."""

import numpy as np
from numpy.typing import NDArray

from amodal_bench.types import Mask

from .settings import Segmenter

Points = NDArray[np.float64]  # (N, 2): x, then y, in pixels of the mask's frame


def draw_points(visible: Mask, settings: Segmenter, rng: np.random.Generator) -> Points:
    """`settings.points` pixels of a mask (H, W) as whole numbers (x, y), which is what SAM calls a pixel.

    `random` draws without replacement, and with it where the mask has fewer pixels than are asked for. `grid` takes
    the pixels floor((k + 1/2) |V| / n) in raster order and no chance. Raises `ValueError` where the mask is empty.
    """
    pixels = np.flatnonzero(visible)
    if not len(pixels):
        raise ValueError(f"no point can be drawn from an empty visible mask {visible.shape}")
    count = settings.points
    if settings.draw == "grid":
        chosen = (2 * np.arange(count) + 1) * len(pixels) // (2 * count)
    else:
        chosen = rng.choice(len(pixels), count, replace=len(pixels) < count)
    rows, columns = np.divmod(pixels[chosen], visible.shape[1])
    return np.stack([columns, rows], axis=1).astype(np.float64)
