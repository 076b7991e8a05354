"""A scene with all that is known about it: the image and every object's masks, whole and visible."""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import numpy as np

from amodal_bench.types import Image, Mask

from .layout import SceneLayout, Thing, outline, plan
from .paint import paint
from .raster import Box, bounds, fill

REMEMBERED: Final = 32_768  # scenes: 2 KB each at 128 pixels


@dataclass(frozen=True, slots=True, eq=False)
class SceneObject:
    """One object: its category, its silhouette inside the frame, and the part of that which is not covered."""

    category: str
    amodal: Mask
    visible: Mask


@dataclass(frozen=True, slots=True, eq=False)
class RenderedScene:
    """An image (R, R, 3) and its objects from back to front; `objects[target]` is the instance asked about.

    Masks of objects other than the target may be empty.
    """

    image: Image
    objects: tuple[SceneObject, ...]
    target: int


def render_scene(split: str, index: int, resolution: int) -> RenderedScene:
    """The scene of (split, index) at 64, 128 or 256 pixels, drawn natively from the same geometry."""
    layout = plan(split, index)
    return RenderedScene(paint(layout, split, index, resolution), scene_objects(layout, resolution), layout.target)


def render_object(split: str, index: int, resolution: int, number: int | None = None) -> tuple[Image, Mask]:
    """The scene without what stands before object `number` (default: the target), and that object's whole mask.

    All that is left is painted as in `render_scene`, to the same sensor noise: a pair with and without occluders.
    """
    layout = plan(split, index)
    number = layout.target if number is None else number
    return paint(layout, split, index, resolution, number + 1), _silhouette(layout.things[number], resolution)


def scene_objects(layout: SceneLayout, resolution: int) -> tuple[SceneObject, ...]:
    """The masks of all objects, from back to front, without painting."""
    objects: list[SceneObject] = []
    free = np.ones((resolution, resolution), dtype=np.bool_)
    for thing in reversed(layout.things):
        amodal = _silhouette(thing, resolution)
        objects.append(SceneObject(thing.family.name, amodal, amodal & free))
        free &= ~amodal
    return tuple(reversed(objects))


@lru_cache(maxsize=REMEMBERED)
def _packed_things(split: str, index: int, resolution: int, complete: bool) -> bytes:
    """What is seen of all objects, as packed bits; laying a scene out anew takes five times as long as reading it."""
    layout = plan(split, index)
    if complete:
        layout = replace(layout, things=layout.things[: layout.target + 1])
    seen = np.zeros((resolution, resolution), dtype=np.bool_)
    for thing in scene_objects(layout, resolution):
        seen |= thing.visible
    return np.packbits(seen).tobytes()


def things_of(split: str, index: int, resolution: int, complete: bool) -> Mask:
    """Where any object is seen (R, R); `complete` as in the dataset's options."""
    packed = np.frombuffer(_packed_things(split, index, resolution, complete), dtype=np.uint8)
    return np.unpackbits(packed).reshape(resolution, resolution).view(np.bool_)


def _silhouette(thing: Thing, resolution: int) -> Mask:
    rings = outline(thing.parts, thing.pose)
    left, top, right, bottom = (min(max(edge, 0), resolution) for edge in bounds(rings, resolution))
    mask = np.zeros((resolution, resolution), dtype=np.bool_)
    mask[top:bottom, left:right] = fill(rings, resolution, Box(left, top, right, bottom))
    return mask
