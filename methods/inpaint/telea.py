"""The classical fill: Telea's fast marching inpainting in OpenCV, in the place of the diffusion model."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from amodal_bench.types import Mask

from .condition import to_pixels

RADIUS = 3.0  # pixels around each one that its colour comes from, as in OpenCV's own examples


def telea_fill(
    x: NDArray[np.float32],
    area: Mask,
    seeds: Sequence[int],  # noqa: ARG001
    prompts: Sequence[str] | None = None,  # noqa: ARG001
) -> NDArray[np.uint8]:
    """Repaint `area` (B, R, R) of `x` (B, R, R, 3) in [-1, 1] from its surroundings: uint8 (B, R, R, 3).

    Nothing else changes. Without chance or words; an area that is the whole frame has no surroundings and stays.
    """
    holes = area.astype(np.uint8)
    pairs = zip(x, holes, strict=True)
    return np.stack([cv2.inpaint(to_pixels(one), hole, RADIUS, cv2.INPAINT_TELEA) for one, hole in pairs])
