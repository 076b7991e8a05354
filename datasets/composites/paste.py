"""One composite: a whole object in its photo, and an object of another photo pasted over it, beside it or behind it."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from pydantic import Field
from scipy import ndimage

from amodal_bench.errors import BadRecord
from amodal_bench.masks.boxes import extent
from amodal_bench.plugin import Settings
from amodal_bench.types import Image, Mask

from .cutouts import Cutout

_TRIES = 8  # objects that are tried as occluders, each larger than the one before
_EARNEST, _LESS = 2, 0.9  # after three, each has to hide this share of what the one before could not
_GRID = 48  # the target's longer side where places are looked for
_CLOSE = 0.04  # how far the occlusion rate may be from the one that was drawn, where such a place exists
_LEFT = 48  # pixels of the target that stay visible at least


class Pasting(Settings):
    """What is pasted, and where.

    `in_view` is the share of composites in which nothing hides the target: nothing is pasted, or something beside it,
    or something behind it. In the others the occlusion rate is drawn evenly over `rates`. `scale`: the side of the
    occluder (root of its area) as a multiple of the target's, drawn evenly on a log scale, more where it could not
    hide enough. `flip`: how likely target and occluder are mirrored, each by its own draw.
    """

    in_view: float = Field(default=0.3, ge=0, le=1)
    rates: tuple[float, float] = (0.02, 0.9)
    scale: tuple[float, float] = (0.5, 2.0)
    flip: float = Field(default=0.5, ge=0, le=1)


class Look(Settings):
    """What hides that something was pasted, so that a network learns objects and not edges.

    `soft` is the greatest width in pixels (sigma) by which the pasted edge is blurred, drawn evenly from 0. `colour`
    moves the mean and the spread of the pasted object's colours towards the photo's by this share.
    """

    soft: float = Field(default=1.0, ge=0, le=10)
    colour: float = Field(default=0.0, ge=0, le=1)


class Composite(NamedTuple):
    """Image (H, W, 3), amodal and visible mask (H, W) of the target, what is seen of the pasted object."""

    image: Image
    amodal: Mask
    visible: Mask
    pasted: Mask
    mirrored: bool = False  # the target's photo


def composed(
    target: Cutout, draw: Callable[[], Cutout], pasting: Pasting, look: Look, rng: np.random.Generator
) -> Composite:
    """A composite; `draw` gives an object of another photo."""
    image, amodal = _flipped(target, pasting, rng)
    found = _composed(image, amodal, draw, pasting, look, rng)
    return found._replace(mirrored=amodal is not target.mask)


def _composed(
    image: Image, amodal: Mask, draw: Callable[[], Cutout], pasting: Pasting, look: Look, rng: np.random.Generator
) -> Composite:
    if rng.random() >= pasting.in_view:
        rate = float(rng.uniform(*pasting.rates))
        for attempt in range(_TRIES):
            large_enough = math.sqrt((1.3 + 1.5 * attempt) * rate)
            factor = max(_factor(pasting, rng), large_enough)
            found = _over(image, amodal, _cut(draw(), pasting, rng), rate, factor, look, rng)
            if found is not None:
                return found
            rate *= _LESS if attempt >= _EARNEST else 1.0
        raise BadRecord(f"none of {_TRIES} objects can hide a part of this one and leave {_LEFT} pixels of it")
    way = rng.integers(3)
    if way == 0:
        return _alone(image, amodal)
    return _in_view(image, amodal, _cut(draw(), pasting, rng), bool(way == 1), pasting, look, rng)


def _over(
    image: Image, amodal: Mask, cut: Cutout, rate: float, factor: float, look: Look, rng: np.random.Generator
) -> Composite | None:
    """The object, `factor` times the target's side, pasted so that it hides about `rate` of it; None: it can not."""
    area = int(amodal.sum())
    cut = _scaled(cut, factor * math.sqrt(area))
    shares, step = overlaps(amodal, cut.mask)
    fits = np.argwhere(np.abs(shares - rate) < _CLOSE)
    if not len(fits):
        return None
    row, column = fits[rng.integers(len(fits))]
    place = _place(amodal, cut.mask, int(row), int(column), step)
    over = _moved(cut.mask, place, amodal.shape)
    seen = amodal & ~over
    if not _LEFT <= seen.sum() < area:
        return None
    return Composite(_pasted(image, cut, place, look, rng), amodal, seen, over)


def _alone(image: Image, amodal: Mask) -> Composite:
    return Composite(image, amodal, amodal, np.zeros_like(amodal))


def _in_view(
    image: Image, amodal: Mask, cut: Cutout, behind: bool, pasting: Pasting, look: Look, rng: np.random.Generator
) -> Composite:
    """The object pasted behind the target, or beside it as near as it can be."""
    cut = _scaled(cut, _factor(pasting, rng) * math.sqrt(amodal.sum()))
    shares, step = overlaps(amodal, cut.mask)
    fits = np.argwhere(shares > 0.1 if behind else shares == 0)
    if not len(fits):
        return _alone(image, amodal)
    row, column = fits[rng.integers(len(fits))]
    place = _place(amodal, cut.mask, int(row), int(column), step)
    pasted, there = _pasted(image, cut, place, look, rng), _moved(cut.mask, place, amodal.shape)
    if behind:  # the target again, over what was pasted
        soft = _alpha(amodal, look, rng)[..., None]
        both = np.rint(soft * image + (1 - soft) * pasted).astype(np.uint8)
        return Composite(both, amodal, amodal, there & ~amodal)
    if (amodal & there).any():
        return _alone(image, amodal)  # the grid is coarse: beside it there is over it, by a few pixels
    return Composite(pasted, amodal, amodal, there)


def overlaps(target: Mask, occluder: Mask) -> tuple[NDArray[np.float64], float]:
    """Share of the target that the occluder hides at every place of a grid, and the grid's step in pixels.

    At entry (0, 0) the last row and column of the occluder's box lie on the first ones of the target's; `_place` turns
    an entry into pixels.
    """
    top, left, bottom, right = extent(target)
    box = target[top : bottom + 1, left : right + 1]
    step = max(1.0, max(box.shape) / _GRID)
    small, over = (_shrunk(mask, step) for mask in (box, occluder))
    shape = small.shape[0] + over.shape[0] - 1, small.shape[1] + over.shape[1] - 1
    product = np.fft.rfft2(small, shape) * np.fft.rfft2(over[::-1, ::-1], shape)
    found = np.fft.irfft2(product, shape) / small.sum()
    return np.where(found < 1e-6, 0.0, found), step


def _shrunk(mask: Mask, step: float) -> NDArray[np.float64]:
    size = [max(1, round(side / step)) for side in mask.shape]
    picture = Pillow.fromarray(mask.astype(np.float32)).resize((size[1], size[0]), Pillow.Resampling.BOX)
    return np.asarray(picture, dtype=np.float64)


def _place(target: Mask, occluder: Mask, row: int, column: int, step: float) -> tuple[int, int]:
    """Row and column of the photo at which the occluder's box begins, for an entry of `overlaps`."""
    top, left, _, _ = extent(target)
    height, width = (max(1, round(side / step)) for side in occluder.shape)
    return top + round((row - height + 1) * step), left + round((column - width + 1) * step)


def _flipped(cut: Cutout, pasting: Pasting, rng: np.random.Generator) -> tuple[Image, Mask]:
    if rng.random() < pasting.flip:
        return np.ascontiguousarray(cut.image[:, ::-1]), np.ascontiguousarray(cut.mask[:, ::-1])
    return cut.image, cut.mask


def _cut(cut: Cutout, pasting: Pasting, rng: np.random.Generator) -> Cutout:
    """The object alone: its box of photo and mask, perhaps mirrored."""
    top, left, bottom, right = extent(cut.mask)
    box = slice(top, bottom + 1), slice(left, right + 1)
    image, mask = _flipped(Cutout(cut.image[box], cut.mask[box], cut.category), pasting, rng)
    return Cutout(image, mask, cut.category)


def _factor(pasting: Pasting, rng: np.random.Generator) -> float:
    low, high = pasting.scale
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def _scaled(cut: Cutout, side: float) -> Cutout:
    """With an area of about side^2 pixels; at most 4,000 pixels long."""
    factor = min(side / math.sqrt(cut.mask.sum()), 4000 / max(cut.mask.shape))
    height, width = (max(1, round(length * factor)) for length in cut.mask.shape)
    image = Pillow.fromarray(np.ascontiguousarray(cut.image)).resize((width, height), Pillow.Resampling.BILINEAR)
    grey = Pillow.fromarray(cut.mask.astype(np.uint8) * np.uint8(255)).resize(
        (width, height), Pillow.Resampling.BILINEAR
    )
    mask = np.asarray(grey) > 127
    return Cutout(np.asarray(image), mask, cut.category) if mask.any() else cut


def _moved(mask: Mask, place: tuple[int, int], shape: tuple[int, ...]) -> Mask:
    """The mask in a frame, its box beginning at `place`, which may lie outside."""
    frame = np.zeros(shape[:2], dtype=np.bool_)
    inner, outer = _spans(mask.shape, place, shape)
    frame[outer] = mask[inner]
    return frame


def _spans(
    part: tuple[int, ...], place: tuple[int, int], shape: tuple[int, ...]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """What of a part lies in the frame, and where."""
    inner, outer = [], []
    for length, start, limit in zip(part[:2], place, shape[:2], strict=True):
        low, high = min(max(start, 0), limit), max(min(start + length, limit), 0)
        inner.append(slice(low - start, max(high, low) - start))
        outer.append(slice(low, max(high, low)))
    return (inner[0], inner[1]), (outer[0], outer[1])


def _alpha(mask: Mask, look: Look, rng: np.random.Generator) -> NDArray[np.float32]:
    """How much of the pasted object is seen at each pixel, in [0, 1]: its mask with a softened edge."""
    sigma = float(rng.uniform(0, look.soft)) if look.soft else 0.0
    soft = mask.astype(np.float32)
    return np.asarray(ndimage.gaussian_filter(soft, sigma)) if sigma > 0.2 else soft


def _pasted(image: Image, cut: Cutout, place: tuple[int, int], look: Look, rng: np.random.Generator) -> Image:
    inner, outer = _spans(cut.mask.shape, place, image.shape)
    pixels = _matched(cut, image, look.colour) if look.colour else cut.image.astype(np.float32)
    alpha = _alpha(cut.mask, look, rng)[inner][..., None]
    result = image.copy()
    result[outer] = np.rint(alpha * pixels[inner] + (1 - alpha) * image[outer]).astype(np.uint8)
    return result


def _matched(cut: Cutout, image: Image, share: float) -> NDArray[np.float32]:
    """The object with each channel's mean and spread moved towards the photo's."""
    pixels, own = cut.image.astype(np.float32), cut.image[cut.mask].astype(np.float32)
    whole = image.reshape(-1, 3)[::7].astype(np.float32)
    mean, spread = own.mean(axis=0), own.std(axis=0) + 1
    factor = 1 + share * ((whole.std(axis=0) + 1) / spread - 1)
    moved = mean + share * (whole.mean(axis=0) - mean)
    matched: NDArray[np.float32] = np.clip((pixels - mean) * factor + moved, 0, 255).astype(np.float32)
    return matched
