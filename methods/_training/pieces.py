"""Random shapes, and pieces of a whole object: what a model is asked to repaint, or prompted with."""

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw

from amodal_bench.errors import Refused
from amodal_bench.masks.boxes import extent
from amodal_bench.types import AmodalSample, Mask

_TRIES = 8
_LEAST = 0.15  # of an object that a piece keeps


def whole(sample: AmodalSample) -> AmodalSample:
    """The sample; raises `Refused` where a part of its object is hidden."""
    if (sample.amodal & ~sample.visible).any():
        raise Refused(
            f"{sample.query.id}: a part of it is hidden, and this training is on whole objects only. "
            "On synthetic: --set dataset.complete=true"
        )
    return sample


def shape(size: tuple[int, int], box: tuple[int, int, int, int], rng: np.random.Generator) -> Mask:
    """A random polygon, ellipse or rectangle (H, W) somewhere around a box (top, left, bottom, right)."""
    top, left, bottom, right = box
    height, width = bottom - top + 1, right - left + 1
    row, column = rng.uniform(top - 0.1 * height, bottom + 0.1 * height), rng.uniform(left, right)
    radii = rng.uniform(0.2, 0.6, 2) * (height, width) + 1
    picture = Pillow.new("L", size[::-1])
    draw = ImageDraw.Draw(picture)
    kind = rng.integers(3)
    if kind == 0:
        draw.ellipse((column - radii[1], row - radii[0], column + radii[1], row + radii[0]), fill=255)
    else:
        corners = 4 if kind == 1 else int(rng.integers(3, 9))
        angles = np.sort(rng.uniform(0, 2 * np.pi, corners)) if kind == 2 else np.pi / 4 + np.arange(4) * np.pi / 2
        turned = angles + rng.uniform(0, np.pi)
        across = column + 1.3 * radii[1] * np.cos(turned) * rng.uniform(0.7, 1.2, corners)
        down = row + 1.3 * radii[0] * np.sin(turned) * rng.uniform(0.7, 1.2, corners)
        draw.polygon(list(zip(across.tolist(), down.tolist(), strict=True)), fill=255)
    return np.asarray(picture) > 127


def piece(whole: Mask, rng: np.random.Generator) -> Mask:
    """A part of an object (H, W): what one or two random shapes leave of it, at least 15 %."""
    box = extent(whole)
    for _ in range(_TRIES):
        left = whole.copy()
        for _ in range(int(rng.integers(1, 3))):
            left &= ~shape((whole.shape[0], whole.shape[1]), box, rng)
        if _LEAST * whole.sum() <= left.sum() < whole.sum():
            return left
    return whole
