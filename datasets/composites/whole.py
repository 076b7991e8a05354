"""Which objects are whole, and what each may be in a composite."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage

from amodal_bench.formats.index import cached
from amodal_bench.masks import rle
from amodal_bench.masks.boxes import extent
from amodal_bench.masks.hull import hull_mask
from amodal_bench.plugin import Settings
from amodal_bench.types import Mask

from .cutouts import Cutouts

FEWEST_PIXELS = 500  # smaller objects are not measured: photos hold very many
_SHAPES = pa.schema(
    [("margin", pa.int32()), ("largest", pa.float32()), ("solidity", pa.float32())], metadata={"revision": "1"}
)


class WholeRules(Settings):
    """`stated` takes the annotations' own word (a key `whole`), `rules` what holds of the masks, `auto` the first where
    a file has it.

    The rules: at least `min_area` pixels; `margin` pixels or more from the photo's edge; `largest` or more of the
    area in one piece; `solidity` or more (area / area of the convex hull): what is hidden by something usually has a
    bite out of it. Crowds never count. What is not whole can still hide something, from `min_occluder` pixels on.
    """

    by: Literal["auto", "stated", "rules"] = "auto"
    min_area: int = Field(default=800, ge=FEWEST_PIXELS)
    margin: int = Field(default=2, ge=0)
    largest: float = Field(default=0.97, ge=0, le=1)
    solidity: float = Field(default=0.8, ge=0, le=1)
    min_occluder: int = Field(default=800, ge=1)


@dataclass(frozen=True, slots=True)
class Roles:
    """What each object may be; `draw` is its photo's place in [0, 1), by which photos go to splits."""

    target: NDArray[np.bool_]
    occluder: NDArray[np.bool_]
    draw: NDArray[np.float64]
    reasons: dict[str, int]

    def told(self) -> str:
        """In words, why objects are no targets."""
        return ", ".join(f"{reason} {number:,}" for reason, number in self.reasons.items()) or "none is left out"


def roles(cutouts: Cutouts, rules: WholeRules) -> Roles:
    """Decide by the rules."""
    target = np.ones(len(cutouts), dtype=np.bool_)
    reasons = dict(cutouts.dropped)
    for reason, rows in _reasons(cutouts, rules):
        reasons[reason] = reasons.get(reason, 0) + int((target & rows).sum())
        target &= ~rows
    names = {name: _draw(str(name)) for name in set(cutouts.photo_names)}
    draw = np.array([names[name] for name in cutouts.photo_names])
    return Roles(target, cutouts.area >= rules.min_occluder, draw, {r: n for r, n in reasons.items() if n})


def _reasons(cutouts: Cutouts, rules: WholeRules) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    yield "smaller than min_area", cutouts.area < rules.min_area
    stated = cutouts.stated
    if rules.by == "stated" or (rules.by == "auto" and any(value is not None for value in stated)):
        yield "not stated to be whole", np.array([value is not True for value in stated], dtype=np.bool_)
        return
    shapes = cached(cutouts.beside("shapes"), _SHAPES, lambda: measured(cutouts))
    margin, largest, solidity = (shapes[name].to_numpy() for name in _SHAPES.names)
    yield "at the photo's edge", margin < rules.margin
    yield "in several pieces", largest < rules.largest
    yield "of low solidity", solidity < rules.solidity


def measured(cutouts: Cutouts) -> pa.Table:
    """Distance to the photo's edge, share of the largest piece and solidity of every object; 0 of small ones."""
    found = np.zeros((len(cutouts), 3))
    for number in np.flatnonzero(cutouts.area >= FEWEST_PIXELS):
        found[number] = shape_of(rle.decode(cutouts.code(int(number))))
    columns = [pa.array(found[:, k]).cast(field.type, safe=False) for k, field in enumerate(_SHAPES)]
    return pa.Table.from_arrays(columns, schema=_SHAPES)


def shape_of(mask: Mask) -> tuple[int, float, float]:
    """Pixels to the frame's nearest edge, share of the area in the largest piece (8-connected), area / hull's area."""
    top, left, bottom, right = extent(mask)
    margin = min(top, left, mask.shape[0] - 1 - bottom, mask.shape[1] - 1 - right)
    part = mask[top : bottom + 1, left : right + 1]
    pieces, _ = ndimage.label(part, np.ones((3, 3)))
    area = int(part.sum())
    return margin, np.bincount(pieces[part]).max() / area, area / int(hull_mask(part).sum())


def _draw(photo: str) -> float:
    """A place in [0, 1) that depends on the photo's id alone."""
    return int.from_bytes(hashlib.sha256(f"composites/{photo}".encode()).digest()[:7], "big") / 2**56
