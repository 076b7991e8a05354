"""What labelme draws, as objects with an amodal and a visible mask.

labelme knows shapes with a label, a group and flags, and nothing of what is hidden. Here a *word* says what a shape
shows of its object: at the end or the beginning of its label (`cup_visible`), in its description, or as a flag that is
set. A shape without a word is the whole object, or, beside a shape with a word for the whole, what is seen of it.
"""

import base64
import binascii
import io
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import PIL.Image
from msgspec import Struct, field

from amodal_bench.errors import BadRecord
from amodal_bench.formats.entries import Side
from amodal_bench.masks import rle
from amodal_bench.types import Mask

MaskKind = Literal["amodal", "visible", "hidden"]
SEPARATORS = r"[\s_\-.:/@()]"
CORNERS = 72  # of the polygon that a circle becomes
_DAMAGE = (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError)


class Shape(Struct):
    """One shape; `points` are [x, y] in pixels."""

    label: str
    points: list[list[float]] = []
    group_id: int | str | None = None
    shape_type: str | None = "polygon"
    description: str | None = None
    flags: dict[str, bool] | None = None
    mask: str | None = None  # PNG as base64, of the box that `points` spans


class LabelmeFile(Struct):
    """One image with its shapes."""

    shapes: list[Shape]
    height: Side = field(name="imageHeight")
    width: Side = field(name="imageWidth")
    path: str = field(name="imagePath", default="")
    data: str | None = field(name="imageData", default=None)


@dataclass(slots=True)
class LabelledShape:
    """A shape with its number in the file, its kind (None: no word says it) and its label without the word."""

    index: int
    kind: MaskKind | None
    label: str
    shape: Shape


Words = Mapping[MaskKind, Sequence[str]]


def part_of(index: int, shape: Shape, words: Words) -> LabelledShape:
    """What a shape shows, by its flags, its description or its label."""
    label = shape.label.strip()
    set_flags = {name.strip().lower() for name, on in (shape.flags or {}).items() if on}
    description = (shape.description or "").strip().lower()
    by_label = None
    for kind, spellings in words.items():
        names = "|".join(map(re.escape, spellings))
        match = re.fullmatch(rf"(?i)(?:(.*?){SEPARATORS}+)?(?:{names})\)?|(?:{names}){SEPARATORS}+(.*)", label)
        if match and by_label is None:
            by_label, label = kind, (match[1] or match[2] or "").strip()
    by_fact = next((kind for kind, names in words.items() if set_flags & set(names) or description in names), None)
    return LabelledShape(index, by_fact or by_label, label, shape)


def objects_of(parts: Sequence[LabelledShape]) -> tuple[list[list[LabelledShape]], list[LabelledShape]]:
    """The parts of each object, in the order of their first ones, and parts of which the object is not known.

    Parts with equal label and `group_id` are one object. Without a group, parts of a label are one object where each
    shows something else, and an object each where all show the whole.
    """
    groups: dict[tuple[str, int | str], list[LabelledShape]] = {}
    alone: dict[str, list[LabelledShape]] = {}
    for part in parts:
        group = part.shape.group_id
        if group is None:
            alone.setdefault(part.label, []).append(part)
        else:
            groups.setdefault((part.label, group), []).append(part)
    for (label, group), members in list(groups.items()):
        others = [key for key in groups if key[1] == group and key[0]]
        if not label and len(others) == 1:  # a label that is nothing but the word
            groups[others[0]] += members
            del groups[label, group]
    objects, unknown = [sorted(members, key=lambda part: part.index) for members in groups.values()], []
    for members in alone.values():
        kinds = [part.kind for part in members]
        if len(set(kinds)) == len(kinds):
            objects.append(members)
        elif set(kinds) in ({None}, {"amodal"}):
            objects += [[part] for part in members]
        else:
            unknown += members
    return sorted(objects, key=lambda members: members[0].index), unknown


@dataclass(frozen=True, slots=True)
class DrawnShapes:
    """The masks of an object as codes; `visible` None: nothing was drawn that says that a part is hidden."""

    amodal: rle.Code
    visible: rle.Code | None


def masks_of(parts: Sequence[LabelledShape], height: int, width: int, where: str) -> DrawnShapes:
    """Both masks of an object from its shapes; raises `BadRecord`."""
    kinds = {part.kind for part in parts}
    plain: MaskKind = "visible" if "amodal" in kinds and "visible" not in kinds else "amodal"

    def drawn(kind: MaskKind) -> rle.Code | None:
        members = [part for part in parts if (part.kind or plain) == kind]
        codes = [code_of(part.shape, height, width, f"{where}, shape {part.index}") for part in members]
        return rle.union(codes, height, width) if codes else None

    amodal, visible, hidden = drawn("amodal"), drawn("visible"), drawn("hidden")
    if amodal is None:
        known = [code for code in (visible, hidden) if code is not None]
        amodal = rle.union(known, height, width)
    if visible is None and hidden is not None:
        visible = rle.encode(rle.decode(amodal) & ~rle.decode(hidden))
    return DrawnShapes(amodal, visible)


def code_of(shape: Shape, height: int, width: int, where: str) -> rle.Code:
    """The pixels of a shape; raises `BadRecord` for one that has no area."""
    kind = shape.shape_type or "polygon"
    if any(len(point) != 2 for point in shape.points):
        raise BadRecord(f"{where}: a point is [x, y]")
    if kind == "mask":
        return rle.encode(_pasted(shape, height, width, where))
    outline = OUTLINES.get(kind)
    if outline is None:
        raise BadRecord(f"{where}: a {kind} has no area; read are {', '.join([*OUTLINES, 'mask'])}")
    return rle.from_annotation([list(outline(shape.points, where))], height, width, where)


def _polygon(points: Sequence[Sequence[float]], where: str) -> Iterator[float]:  # noqa: ARG001  (as the others)
    return (value for point in points for value in point)


def _rectangle(points: Sequence[Sequence[float]], where: str) -> Iterator[float]:
    xs, ys = [point[0] for point in points], [point[1] for point in points]
    if len(points) not in (2, 4):
        raise BadRecord(f"{where}: a rectangle has two or four corners, got {len(points)}")
    left, right, top, bottom = min(xs), max(xs), min(ys), max(ys)
    yield from (left, top, right, top, right, bottom, left, bottom)


def _circle(points: Sequence[Sequence[float]], where: str) -> Iterator[float]:
    if len(points) != 2:
        raise BadRecord(f"{where}: a circle has a centre and a point on it, got {len(points)} points")
    (x, y), (px, py) = points
    radius = math.hypot(px - x, py - y)
    for k in range(CORNERS):
        angle = 2 * math.pi * k / CORNERS
        yield from (x + radius * math.cos(angle), y + radius * math.sin(angle))


OUTLINES: dict[str, Callable[[Sequence[Sequence[float]], str], Iterator[float]]] = {
    "polygon": _polygon, "rectangle": _rectangle, "circle": _circle,
}  # fmt: skip


def _pasted(shape: Shape, height: int, width: int, where: str) -> Mask:
    """The mask of a shape in its frame; as in labelme, the corners are whole pixels, and inclusive."""
    if len(shape.points) != 2 or not all(math.isfinite(value) for point in shape.points for value in point):
        raise BadRecord(f"{where}: a mask has two corners, got {shape.points}")
    (left, top), _ = ([int(value) for value in point] for point in shape.points)
    try:
        with PIL.Image.open(io.BytesIO(base64.b64decode(shape.mask or "", validate=True)), formats=["PNG"]) as image:
            if image.width > width or image.height > height:
                raise BadRecord(f"{where}: a mask of {image.width} x {image.height} in a frame of {width} x {height}")
            part = np.asarray(image.convert("L")) > 0
    except (binascii.Error, *_DAMAGE) as error:
        raise BadRecord(f"{where}: mask is not a PNG in base64 ({error})") from None
    whole: Mask = np.zeros((height, width), dtype=np.bool_)
    y, x = max(top, 0), max(left, 0)
    part = part[y - top : y - top + max(height - y, 0), x - left : x - left + max(width - x, 0)]
    whole[y : y + part.shape[0], x : x + part.shape[1]] = part
    return whole
