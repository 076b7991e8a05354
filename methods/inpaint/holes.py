"""What the tiny inpainting model learns to repaint."""

import numpy as np
from scipy import ndimage

from amodal_bench.masks.boxes import extent
from amodal_bench.methods._training.pieces import shape
from amodal_bench.types import Mask


def cutout(kept: Mask, rng: np.random.Generator) -> Mask:
    """All but a piece of an object and what is far from it: (S, S), True is to be repainted."""
    size = kept.shape[0]
    if rng.random() < 0.3:
        return ~kept
    top, left, bottom, right = extent(kept)
    margin = rng.uniform(0.1, 0.8) * max(bottom - top + 1, right - left + 1)
    around = np.zeros_like(kept)
    around[max(0, round(top - margin)) : round(bottom + margin) + 1, max(0, round(left - margin)) :] = True
    around[:, min(size, round(right + margin) + 1) :] = False
    return around & ~kept


def hole(whole: Mask, rng: np.random.Generator) -> Mask:
    """Everything, some shapes, or the object's silhouette turned and moved elsewhere: (S, S), never empty."""
    kind = rng.random()
    if kind < 0.3:
        return np.ones_like(whole)
    size = (whole.shape[0], whole.shape[1])
    if kind < 0.7:
        box = (0, 0, size[0] - 1, size[1] - 1) if rng.random() < 0.5 else extent(whole)
        found = shape(size, box, rng) | shape(size, box, rng)
    else:
        turned = np.rot90(whole, int(rng.integers(1, 4)))
        found = ndimage.shift(turned, rng.uniform(-0.25, 0.25, 2) * size, order=0, cval=False)
    return found if found.any() else np.ones_like(whole)
