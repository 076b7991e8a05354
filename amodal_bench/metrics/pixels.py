"""Metrics that counts cannot give: they need the masks, so `measure` takes them once and the table of metrics reads it.

All take the stored prediction P, the amodal mask A and the visible mask V, clipped to A, of one image; bool (H, W).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from amodal_bench.masks.boxes import enlarged
from amodal_bench.masks.hull import hull_mask
from amodal_bench.types import Mask

BAND = 0.02  # of the image's diagonal
CROP = 2.0  # times the visible box: CondDiff-AMO's crop
EROSION = 2  # pixels to each side: a square of 5 x 5
Pixels = tuple[int, int]  # numerator and denominator


@dataclass(frozen=True, slots=True)
class Measure:
    """One pass over the pixels: `of` gives (numerator, denominator) for each of `parts`.

    `version` rises with every change of the formula, so that numbers of an older one are told from those of this.
    """

    name: str
    version: int
    text: str
    parts: tuple[str, ...]
    of: Callable[[Mask, Mask, Mask], dict[str, Pixels]]

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the numbers of an instance, as `boundary_full_numerator`."""
        return tuple(f"{self.name}_{part}_{end}" for part in self.parts for end in ("numerator", "denominator"))


def boundary(predicted: Mask, amodal: Mask, visible: Mask) -> dict[str, Pixels]:
    """Boundary IoU (Cheng et al. 2021, "Boundary IoU", equation 1), of the whole contour and of its hidden part.

    |(P_d & P) & (A_d & A)| / |(P_d & P) | (A_d & A)|, with the pixels of a mask that are at most d from its contour,
    d = 2 % of the image's diagonal, at least 1 pixel. As in the authors' code, distance is counted in steps to any of
    eight neighbours, and the image's border is a contour. `hidden` leaves out the visible pixels V: the contours are
    those of P and A, so that the edge along the occluder, which V gives away, is none.
    """
    height, width = amodal.shape
    distance = max(1, round(BAND * math.hypot(height, width)))
    window = _window(predicted | amodal)
    p, a = (mask[window] & ~eroded(mask[window], distance) for mask in (predicted, amodal))
    return {"full": _iou(p, a), "hidden": _iou(p & ~visible[window], a & ~visible[window])}


def eroded_hidden(predicted: Mask, amodal: Mask, visible: Mask) -> dict[str, Pixels]:
    """Hidden IoU of masks whose hidden parts, P - V and A - V, were eroded by 5 x 5 pixels first.

    What Diffusion-VAS (Chen et al. 2025) scores on SAIL-VOS, whose visible masks are a few pixels smaller than the
    amodal ones even of objects in full view. The image's border erodes nothing. Theirs also drops an instance whose
    IoU is 0, and pastes V; this does not.
    """
    p, a = predicted & ~visible, amodal & ~visible
    window = _window(p | a, EROSION)
    return {"hidden": _iou(*(eroded(mask[window], EROSION, border=True) for mask in (p, a)))}


def ceilings(_: Mask, amodal: Mask, visible: Mask) -> dict[str, Pixels]:
    """What the best prediction could reach that stays inside a region made of the visible mask: |A & R| of |A|.

    `hull`: R is the convex hull of V, which the tuning-free pipeline repaints. `crop`: R is the box of V twice as long
    and wide, which CondDiff-AMO sees. Such a prediction is A & R, so that this is its IoU; of the hidden part
    |A & R - V| of |A - V|. All of A where nothing is visible.
    """
    if not visible.any():
        whole, hidden = int(amodal.sum()), int((amodal & ~visible).sum())
        return {
            name: (pixels, pixels)
            for name, pixels in (("hull", whole), ("hull_hidden", hidden), ("crop", whole), ("crop_hidden", hidden))
        }
    crop = np.zeros_like(amodal)
    crop[enlarged(visible, CROP).slices] = True
    regions = {"hull": hull_mask(visible), "crop": crop}
    found = {name: _share(amodal, region) for name, region in regions.items()}
    return found | {f"{name}_hidden": _share(amodal & ~visible, region) for name, region in regions.items()}


def eroded(mask: Mask, distance: int, *, border: bool = False) -> Mask:
    """Pixels of a mask whose neighbours up to `distance` rows and columns away are in it; `border`: outside is too."""
    from scipy.ndimage import minimum_filter1d  # a fifth of what starting a command takes, and few need it

    found = mask.view(np.uint8)
    for axis in (0, 1):
        found = minimum_filter1d(found, 2 * distance + 1, axis=axis, mode="constant", cval=int(border))
    return np.asarray(found, dtype=np.bool_)


def _share(amodal: Mask, region: Mask) -> Pixels:
    return int((amodal & region).sum()), int(amodal.sum())


def _iou(p: Mask, a: Mask) -> Pixels:
    return int((p & a).sum()), int((p | a).sum())


def _window(mask: Mask, margin: int = 0) -> tuple[slice, slice]:
    """Where a mask lies, with so many pixels around it as far as the image has them; nowhere for an empty one."""
    spans = []
    for axis in (1, 0):
        there = np.flatnonzero(mask.any(axis=axis))
        spans.append(slice(max(0, int(there[0]) - margin), int(there[-1]) + 1 + margin) if len(there) else slice(0, 0))
    return spans[0], spans[1]


MEASURES = {
    measure.name: measure
    for measure in (
        Measure("boundary", 1, "boundary IoU of the whole and of the hidden contour", ("full", "hidden"), boundary),
        Measure("eroded", 1, "hidden IoU of masks eroded by 5 x 5 pixels", ("hidden",), eroded_hidden),
        Measure(
            "ceilings",
            1,
            "how much of the object lies in the hull of V and in CondDiff-AMO's crop",
            ("hull", "hull_hidden", "crop", "crop_hidden"),
            ceilings,
        ),
    )
}
