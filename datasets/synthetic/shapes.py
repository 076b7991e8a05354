"""What a family of objects is made of: parts, their finish, and how the family is coloured."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .curves import FINE, Points, Ring, arc, mirror, smooth, solid
from .draw import Dice

Finish = Literal["lathe", "puff", "plate"]  # turned about its axis, blown up, flat with a rounded edge
Tint = Literal["main", "accent", "dark", "wood", "glass", "light"]


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Rings that are painted together, over the parts before them; their union is the silhouette.

    `profile` holds (y, half-width) of a turned part from top to bottom, in fine steps.
    """

    rings: tuple[Ring, ...]
    finish: Finish = "puff"
    tint: Tint = "main"
    profile: Ring | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """What an object of a family may be coloured like; hues in degrees, metal in percent of the objects."""

    hues: tuple[tuple[int, int], ...] = ((0, 360),)
    saturation: tuple[float, float] = (0.35, 0.9)
    value: tuple[float, float] = (0.45, 0.95)
    metal: int = 0
    gloss: tuple[float, float] = (0.05, 0.5)
    textures: tuple[str, ...] = ("plain", "stripes", "spots", "blotch", "marble", "checks")


@dataclass(frozen=True, slots=True)
class Family:
    """A kind of object: its name, how one is drawn, its half-size in thousandths of the frame."""

    name: str
    draw: Callable[[Dice], list[Part]]
    reach: tuple[int, int]
    upright: bool  # can stand on a floor
    look: Look


def lathe(sections: list[Points], tint: Tint = "main", rim: int = 9) -> Part:
    """A turned part from (y, half-width) sections, each smooth, with corners between them.

    The lowest edge bulges by `rim` hundredths of its half-width, as a foot seen from a little above does.
    """
    profile = np.concatenate([smooth(section, closed=False) for section in sections])
    side = profile[:, ::-1]
    outline = np.concatenate([side, mirror(side)[::-1]])
    foot_y, foot = (int(v) // FINE for v in profile[-1])
    rings = (solid(outline), solid(arc(0, foot_y, foot, max(1, foot * rim // 100))))
    return Part(rings, "lathe", tint, profile)


def mouth(y: int, width: int, wall: int) -> list[Part]:
    """The open top of a vessel: its rim and the dark inside."""
    rim = Part((solid(arc(0, y, width, max(8, width * 16 // 100))),), "plate")
    inside = Part((solid(arc(0, y, width - wall, max(5, (width - wall) * 15 // 100))),), "plate", "dark")
    return [rim, inside]
