"""What stands where: a target, occluders that hide the wanted share of it, and things behind and beside.

Everything is decided on masks of 64 x 64 in whole numbers, so a scene is the same at every resolution.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from amodal_bench.types import Mask

from .curves import TURN, cosine, sine
from .draw import SPLITS, Dice, scene_dice
from .families import FAMILIES
from .raster import FRAME, Frame, Pose, bounds, fill, to_frame
from .shapes import Family, Part

COARSE: Final = 64
CELL: Final = FRAME // COARSE
REACH: Final = 88  # half the side of the canvas on which a coarse mask is kept: objects may stand off the frame
UNOCCLUDED: Final = 15  # percent of the scenes
GOLDEN: Final = 0x9E3779B97F4A7C15  # multiples of it modulo 2**64 lie evenly, in any run of indices
TOLERANCE: Final = 15  # thousandths of the target
SMALLEST, LARGEST, LEAST_VISIBLE = 205, 1638, 33  # coarse pixels: 5 %, 40 % and .8 % of the frame


@dataclass(frozen=True, slots=True, eq=False)
class Thing:
    """One object: its family, its parts, where it stands, and whether as on a floor."""

    family: Family
    parts: tuple[Part, ...]
    pose: Pose


@dataclass(frozen=True, slots=True, eq=False)
class SceneLayout:
    """A scene before paint. `things` from back to front; `horizon` in thousandths, None for a view from above."""

    things: tuple[Thing, ...]
    target: int
    horizon: int | None


class Cutout(NamedTuple):
    """A thing that has no place yet, and its coarse mask on a canvas centred on it."""

    family: Family
    parts: tuple[Part, ...]
    pose: Pose
    canvas: Mask

    def at(self, x: int, y: int) -> Mask:
        """The coarse mask (64, 64) in the frame with the centre at coarse pixel (x, y), each in [-24, 88]."""
        return self.canvas[REACH - y : REACH - y + COARSE, REACH - x : REACH - x + COARSE]

    def bottom(self) -> int:
        """Coarse pixels from the centre to the lowest row."""
        return int(np.flatnonzero(self.canvas.any(axis=1))[-1]) + 1 - REACH

    def put(self, x: int, y: int) -> Thing:
        """The thing with its centre at coarse pixel (x, y)."""
        return Thing(self.family, self.parts, self.pose._replace(x=x * CELL, y=y * CELL))


class Spot(NamedTuple):
    """A place for a cutout and the number of the target's coarse pixels that are then hidden."""

    x: int
    y: int
    hidden: int


def wanted_rate(split: str, index: int) -> int:
    """The share of the target to hide, in thousandths: 0 in 15 of 100 scenes, else evenly in [10, 890]."""
    share = ((index + 1) * GOLDEN + SPLITS.index(split) * (GOLDEN >> 3)) % (1 << 64) * 100_000 >> 64
    none = UNOCCLUDED * 1000
    return 0 if share < none else 10 + (share - none) * 880 // (100_000 - none)


def outline(parts: Sequence[Part], pose: Pose) -> list[Frame]:
    """All rings of a thing in frame steps; filled together they give its silhouette.

    That is the union of the parts, as every hole lies inside one solid ring of its own part.
    """
    return to_frame([ring for part in parts for ring in part.rings], pose)


def cut_out(dice: Dice, family: Family, standing: bool, size: int = 100) -> Cutout:
    """A new member of `family`, `size` percent of its usual size, turned as the view allows."""
    parts = tuple(family.draw(dice))
    angle = dice.between(-12, 12) if standing else dice.below(TURN)
    pose = Pose(0 if standing and dice.chance(70) else angle, dice.chance(50), 0, 0, 0)
    pose = pose._replace(scale=dice.between(*family.reach) * size * FRAME // 100_000)
    rings = outline(parts, pose)
    box = bounds(rings, COARSE)
    canvas = np.zeros((2 * REACH, 2 * REACH), dtype=np.bool_)
    canvas[box.top + REACH : box.bottom + REACH, box.left + REACH : box.right + REACH] = fill(rings, COARSE, box)
    return Cutout(family, parts, pose, canvas)


def plan(split: str, index: int) -> SceneLayout:
    """The layout of a scene: the first draw that hides what was wanted, or the nearest of a hundred.

    Thin families at high rates need more than a hundred draws for a first one that leaves enough to see.
    """
    dice = scene_dice(split, index, 0)
    rate = wanted_rate(split, index)
    family = dice.choice(FAMILIES)
    best: tuple[int, SceneLayout] | None = None
    for attempt in range(10_000):
        draft = _draft(dice, family, rate)
        if draft is not None and (best is None or draft[0] < best[0]):
            best = draft
        if best is not None and (best[0] <= TOLERANCE or attempt >= 99):
            break
    if best is None:
        raise RuntimeError(f"synthetic {split} scene {index}: no place found for a {family.name}; this is a defect")
    return best[1]


def _draft(dice: Dice, family: Family, rate: int) -> tuple[int, SceneLayout] | None:
    """One try: how far the hidden share is from `rate` (thousandths), and the layout."""
    standing = family.upright and dice.chance(65)
    horizon = dice.between(250, 520) if standing else None
    cutout = cut_out(dice, family, standing)
    x = dice.between(12, 52)
    base = dice.between(44, 62)
    y = base - cutout.bottom() if standing else dice.between(14, 50)
    mask = cutout.at(x, y)
    area = int(mask.sum())
    if not SMALLEST <= area <= LARGEST or area * (1000 - rate) < LEAST_VISIBLE * 1000:
        return None
    target = _Target(x, y, base, mask, standing)
    front, hidden = _hide(dice, target, area * rate // 1000)
    if area - hidden < LEAST_VISIBLE or (hidden == 0) != (rate == 0):
        return None
    beside = _beside(dice, target) if dice.chance(40) else []
    behind = [_behind(dice, target) for _ in range(dice.between(1, 3))]
    things = (
        *behind,
        cutout.put(x, y),
        *sorted(front + beside, key=lambda thing: thing.pose.y if standing else 0),
    )
    return abs(hidden * 1000 // area - rate), SceneLayout(things, len(behind), horizon)


class _Target(NamedTuple):
    """The target as its neighbours see it."""

    x: int
    y: int
    base: int
    mask: Mask
    standing: bool


def _hide(dice: Dice, target: _Target, goal: int) -> tuple[list[Thing], int]:
    """Up to three occluders that together hide about `goal` coarse pixels of the target."""
    if goal == 0:
        return [], 0
    covered = np.zeros_like(target.mask)
    front: list[Thing] = []
    hidden, count = 0, dice.choice((1, 1, 1, 2, 2, 3))
    close = max(2, int(target.mask.sum()) * TOLERANCE // 1000)
    for left in range(count, 0, -1):
        share = hidden + (goal - hidden) // left if left > 1 else goal
        cutout, spot = _occluder(dice, target, covered, share, close)
        if cutout is None or spot is None or spot.hidden == hidden:
            continue
        front.append(cutout.put(spot.x, spot.y))
        covered |= cutout.at(spot.x, spot.y)
        hidden = spot.hidden
    return front, hidden


def _occluder(dice: Dice, target: _Target, covered: Mask, goal: int, close: int) -> tuple[Cutout | None, Spot | None]:
    """The first of eight cutouts with a spot that hides `goal` up to `close` coarse pixels, or the best."""
    best: tuple[Cutout | None, Spot | None] = (None, None)
    error = 1 << 30
    open_part = target.mask & ~covered
    already = int(np.count_nonzero(target.mask & covered))
    for _ in range(8):
        cutout = cut_out(dice, _other(dice, target.standing), target.standing, dice.between(75, 125))
        for _ in range(3):
            for spot in _along(dice, target, cutout, open_part, already):
                if abs(spot.hidden - goal) < error:
                    best, error = (cutout, spot), abs(spot.hidden - goal)
        if error <= close:
            break
    return best


def _other(dice: Dice, standing: bool) -> Family:
    family = dice.choice(FAMILIES)
    while standing and not family.upright:
        family = dice.choice(FAMILIES)
    return family


def _along(dice: Dice, target: _Target, cutout: Cutout, open_part: Mask, already: int) -> list[Spot]:
    """Spots on a line that leads away from the target: level and nearer where things stand, else any way."""
    if target.standing:
        x0, y0 = target.x, target.base + dice.between(0, 14) - cutout.bottom()
        dx, dy = (1 << 14) * dice.choice((-1, 1)), 0
    else:
        angle, off = dice.below(TURN), dice.between(-10, 10)
        dx, dy = cosine(angle), sine(angle)
        x0, y0 = target.x - (off * dy >> 14), target.y + (off * dx >> 14)
    spots = []
    for step in range(48):
        x, y = x0 + (step * dx >> 14), y0 + (step * dy >> 14)
        if not (-12 <= x <= 76 and -12 <= y <= 76):
            break
        spots.append(Spot(x, y, already + int(np.count_nonzero(open_part & cutout.at(x, y)))))
        if step > 8 and spots[-1].hidden == already:
            break  # past the target: nothing changes from here on
    return spots


def _behind(dice: Dice, target: _Target) -> Thing:
    """Something farther away, wherever it falls."""
    cutout = cut_out(dice, _other(dice, target.standing), target.standing, dice.between(60, 100))
    x = dice.between(0, 64)
    y = target.base - dice.between(1, 10) - cutout.bottom() if target.standing else dice.between(0, 64)
    return cutout.put(x, max(y, -REACH + COARSE))


def _beside(dice: Dice, target: _Target) -> list[Thing]:
    """Something as near as the occluders that hides nothing of the target, where there is room."""
    cutout = cut_out(dice, _other(dice, target.standing), target.standing, dice.between(60, 100))
    wide = _grown(target.mask)
    free = [spot for spot in _along(dice, target, cutout, wide, 0) if spot.hidden == 0]
    return [cutout.put(free[0].x, free[0].y)] if free else []


def _grown(mask: Mask) -> Mask:
    """The mask and all within two pixels of it along rows and columns."""
    grown = mask.copy()
    for step in (1, 2):
        grown[step:] |= mask[:-step]
        grown[:-step] |= mask[step:]
    across = grown.copy()
    for step in (1, 2):
        across[:, step:] |= grown[:, :-step]
        across[:, :-step] |= grown[:, step:]
    return across
