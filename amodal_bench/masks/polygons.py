"""What is a polygon, and which ones pycocotools may be given."""

import math
from decimal import Decimal
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from amodal_bench.errors import BadRecord

MOST_OUTLINE = 3_000_000  # pixels along the outlines of one object: a million beyond the frame and back
NUMBERS = {int, float, str}
FLAT = "a polygon must be a flat list of numbers [x1, y1, x2, y2, ...]"
NEAR = 16_384  # pixels: so many points at most lie on an outline that can not be too long
_NEAR_POINTS = MOST_OUTLINE // (2 * NEAR + 1)
_Polygon = Annotated[list[Annotated[float, Meta(ge=-NEAR, le=NEAR)]], Meta(min_length=6)]
_PLAIN = msgspec.json.Decoder(list[_Polygon])


def plain_polygons(text: bytes) -> list[list[float]] | None:
    """The polygons of a mask as JSON text where nothing is to be said against any of them, else None.

    Most masks are such, and are known as such while they are decoded, which costs far less than to look at them later.
    """
    try:
        polygons = _PLAIN.decode(text)
    except msgspec.ValidationError:
        return None
    points = sum([len(polygon) for polygon in polygons]) // 2
    even = not any(len(polygon) % 2 for polygon in polygons)
    return polygons if even and 0 < points <= _NEAR_POINTS else None


def polygon_of(part: Any) -> tuple[list[float], str | None]:
    """The coordinates of a part, and why it is no polygon, if so."""
    if not isinstance(part, list) or not (types := set(map(type, part))) <= NUMBERS:
        return [], FLAT
    try:
        polygon = [float(c) for c in part] if str in types else part
        finite = math.isfinite(sum(polygon))  # so is the sum of numbers of which one is not
    except ValueError:  # a word
        return [], FLAT
    except OverflowError:  # a whole number beyond any float: `check_length` names it
        finite = True
    if not finite:
        return [], "a polygon holds a coordinate that is not finite"
    if len(polygon) < 6:
        return [], f"a polygon needs the six numbers of a triangle, got {len(polygon)}"
    if len(polygon) % 2:
        return [], f"a polygon has an odd number of coordinates ({len(polygon)})"
    return polygon, None


def check_length(polygons: list[list[float]], height: int, width: int, where: str) -> None:
    """pycocotools walks along the outline pixel by pixel, out of the frame too, and counts in 32 bits."""
    edges = [(min(polygon), max(polygon), len(polygon) // 2) for polygon in polygons]
    largest = max((max(-low, high) for low, high, _ in edges), default=0)
    if largest <= MOST_OUTLINE:
        if sum((high - low + 1) * points for low, high, points in edges) <= MOST_OUTLINE:  # no outline is longer
            return
        if sum(map(_length, polygons)) <= MOST_OUTLINE:
            return
    raise BadRecord(
        f"{where}: a polygon with a coordinate of {Decimal(largest):.3g} in an image of {width} x {height} pixels "
        f"leads far out of the frame, or its outlines are too long: at most {MOST_OUTLINE:,} pixels are followed"
    )


def _length(polygon: list[float]) -> float:
    """How many pixels the outline passes, at least one an edge."""
    corners = np.array(polygon, dtype=np.float64).reshape(-1, 2)
    return float((np.abs(corners - np.roll(corners, 1, axis=0)).max(axis=1) + 1).sum())
