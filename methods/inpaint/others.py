"""Other objects that a training lays over an object: what then is a hole, and what stays of the picture around it."""

import math
from typing import NamedTuple

import numpy as np
from PIL import Image as Pillow

from amodal_bench.masks.boxes import extent
from amodal_bench.methods._training.batches import read
from amodal_bench.plugin import AnyDataset
from amodal_bench.types import Image, Mask

from .condition import repaint_area
from .params import Condition
from .where import Where

_POOL = 256  # objects that are read once
_TRIES = 8
_HIDES = (0.1, 0.8)  # shares of the object
_SIDES = (0.5, 1.6)  # the other's, as a multiple of the object's (roots of their areas)
_WHOLE = 0.25  # of the holes are all of the other object


class Other(NamedTuple):
    """An object alone: its box of the picture (h, w, 3) and what is seen of it (h, w)."""

    image: Image
    mask: Mask


def read_others(dataset: AnyDataset, size: int, seed: int) -> list[Other]:
    """Objects as they are seen, drawn from the dataset, at most `size` pixels long."""
    rng = np.random.default_rng([seed, 2])
    queries = (read(dataset, int(index)).query for index in rng.integers(len(dataset), size=_POOL))
    return [_cut(query.image, query.visible, size) for query in queries]


def laid_over(
    image: Image, whole: Mask, others: list[Other], settings: Condition, rng: np.random.Generator
) -> tuple[Image, Mask] | None:
    """A picture (S, S, 3) with another object over `whole` (S, S), and a hole (S, S) in which it is as it was.

    The hole is what the pipeline would repaint if the other object were known to be the one thing around, or all of
    that object. None where none of a few hides a part.
    """
    for _ in range(_TRIES):
        other = _scaled(others[int(rng.integers(len(others)))], whole, rng)
        over, pixels = _moved(other, whole, rng)
        left = whole & ~over
        hidden = 1 - left.sum() / whole.sum()
        if not _HIDES[0] <= hidden <= _HIDES[1]:
            continue
        hole = repaint_area(left, settings, Where(over, over)) & ~left
        if rng.random() < _WHOLE or not hole.any():
            hole = over
        return np.where((over & ~hole)[..., None], pixels, image), hole
    return None


def _cut(image: Image, mask: Mask, size: int) -> Other:
    top, left, bottom, right = extent(mask)
    box = slice(top, bottom + 1), slice(left, right + 1)
    return _resized(Other(image[box], mask[box]), min(1.0, size / max(mask[box].shape)))


def _resized(other: Other, factor: float) -> Other:
    """`factor` times as long and wide; at least one pixel of the mask stays."""
    height, width = (max(1, round(factor * side)) for side in other.mask.shape)
    picture = Pillow.fromarray(np.ascontiguousarray(other.image)).resize((width, height), Pillow.Resampling.BILINEAR)
    grey = Pillow.fromarray(other.mask.astype(np.uint8) * np.uint8(255)).resize((width, height), Pillow.Resampling.BOX)
    mask = np.asarray(grey) > 127
    return Other(np.asarray(picture), mask) if mask.any() else other


def _scaled(other: Other, whole: Mask, rng: np.random.Generator) -> Other:
    factor = math.sqrt(whole.sum() / other.mask.sum()) * rng.uniform(*_SIDES)
    found = _resized(other, min(factor, 2 * len(whole) / max(other.mask.shape)))
    return Other(found.image[:, ::-1], found.mask[:, ::-1]) if rng.random() < 0.5 else found


def _moved(other: Other, whole: Mask, rng: np.random.Generator) -> tuple[Mask, Image]:
    """Where it lies with its middle somewhere in the object's box or near it, and its pixels there (S, S, 3)."""
    top, left, bottom, right = extent(whole)
    size, (height, width) = len(whole), other.mask.shape
    reach = 0.5 * max(height, width)
    first = round(rng.uniform(top - reach, bottom + reach) - height / 2)
    start = round(rng.uniform(left - reach, right + reach) - width / 2)
    rows, columns = np.arange(size) - first, np.arange(size) - start
    down, across = (rows >= 0) & (rows < height), (columns >= 0) & (columns < width)
    mask, pixels = np.zeros((size, size), dtype=np.bool_), np.zeros((size, size, 3), dtype=np.uint8)
    inside = np.ix_(rows[down], columns[across])
    mask[np.ix_(down, across)] = other.mask[inside]
    pixels[np.ix_(down, across)] = other.image[inside]
    return mask, pixels
