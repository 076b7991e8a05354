"""Closed curves in whole numbers, so that a silhouette is the same on every machine.

Points come in thousandths of an object's half-size (x to the right, y down) and leave in sixteenths of
that: `UNIT` fine steps are one half-size. Angles are in 1/1024 turns, clockwise as seen.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

Ring = NDArray[np.int64]  # (n, 2): x, y in fine steps; closed, the last point is not repeated
Points = Sequence[tuple[int, int]]

FINE: Final = 16
UNIT: Final = 1000 * FINE
TURN: Final = 1024
SINE_BITS: Final = 14
_PI_60: Final = 3622009729038561421  # pi * 2**60


@cache
def sine_table() -> tuple[int, ...]:
    """round(2**14 * sin) at 1/1024 turns, from a Taylor series in whole numbers: no math library decides."""
    quarter = []
    for k in range(TURN // 4 + 1):
        x = 2 * _PI_60 * k // TURN
        term, total, n = x, x, 1
        while term:
            term = term * x // (1 << 60) * x // (1 << 60) // ((n + 1) * (n + 2))
            n += 2
            total += -term if n % 4 == 3 else term
        quarter.append((total + (1 << (59 - SINE_BITS))) >> (60 - SINE_BITS))
    half = quarter + quarter[-2:0:-1]
    return tuple(half + [-value for value in half])


@cache
def _sine_array() -> NDArray[np.int64]:
    return np.array(sine_table(), dtype=np.int64)


def sine(angle: int) -> int:
    """2**14 * sin of an angle in 1/1024 turns."""
    return sine_table()[angle % TURN]


def cosine(angle: int) -> int:
    """2**14 * cos of an angle in 1/1024 turns."""
    return sine_table()[(angle + TURN // 4) % TURN]


def polygon(points: Points) -> Ring:
    """The straight-sided ring through `points`."""
    return np.array(points, dtype=np.int64) * FINE


@cache
def _basis(steps: int) -> tuple[NDArray[np.int64], ...]:
    """Weights, times 2 * steps**3, of the four knots about a piece at its `steps` points; each (1, steps, 1)."""
    k = np.arange(steps, dtype=np.int64)[None, :, None]
    one, two, three = k * steps**2, k**2 * steps, k**3
    return (2 * two - one - three, 2 * steps**3 - 5 * two + 3 * three, one + 4 * two - 3 * three, three - two)


def smooth(points: Points, steps: int = 8, closed: bool = True) -> Ring:
    """A Catmull-Rom spline through `points`; an open one ends in its first and last point."""
    knots = polygon(points)
    if closed:
        around = np.concatenate([knots[-1:], knots, knots[:2]])
    else:
        around = np.concatenate([2 * knots[:1] - knots[1:2], knots, 2 * knots[-1:] - knots[-2:-1]])
    total = np.full((len(around) - 3, steps, 2), steps**3)
    for k, weight in enumerate(_basis(steps)):
        total += weight * around[k : len(around) - 3 + k, None]
    curve: Ring = (total // (2 * steps**3)).reshape(-1, 2)
    return curve if closed else np.concatenate([curve, knots[-1:]])


def arc(x: int, y: int, rx: int, ry: int, start: int = 0, stop: int = TURN, count: int = 48) -> Ring:
    """Points of an ellipse from angle `start` to `stop`; a whole turn leaves the last point out."""
    whole = stop - start == TURN
    angles = start + (stop - start) * np.arange(count) // (count if whole else count - 1)
    return _about(angles, np.array([rx, ry]), x, y)


def polar(points: Sequence[tuple[int, int, int]], x: int = 0, y: int = 0) -> Ring:
    """The ring through (angle, x radius, y radius) points about (x, y)."""
    angles, *radii = np.array(points, dtype=np.int64).T
    return _about(angles, np.stack(radii, axis=1), x, y)


def _about(angles: NDArray[np.int64], radii: NDArray[np.int64], x: int, y: int) -> Ring:
    table = _sine_array()
    unit = np.stack([table[(angles + TURN // 4) % TURN], table[angles % TURN]], axis=1)
    ring: Ring = ((unit * radii * FINE + (1 << (SINE_BITS - 1))) >> SINE_BITS) + np.array([x, y]) * FINE
    return ring


def bar(x0: int, y0: int, x1: int, y1: int, width0: int, width1: int | None = None) -> Ring:
    """A straight bar between two points; widths are half-widths at its ends."""
    width1 = width0 if width1 is None else width1
    dx, dy = x1 - x0, y1 - y0
    length = max(1, math.isqrt(FINE * FINE * (dx * dx + dy * dy)))
    ends = [(x0, y0, width0), (x1, y1, width1), (x1, y1, -width1), (x0, y0, -width0)]
    points = [
        (FINE * x - FINE * FINE * w * dy // length, FINE * y + FINE * FINE * w * dx // length) for x, y, w in ends
    ]
    return np.array(points, dtype=np.int64)


def hoop(x: int, y: int, rx: int, ry: int, thick: int, start: int, stop: int) -> Ring:
    """A bent band (a handle): the ellipse arc from `start` to `stop`, `thick` wide inwards."""
    outer = arc(x, y, rx, ry, start, stop, 32)
    inner = arc(x, y, rx - thick, ry - thick, start, stop, 32)
    return np.concatenate([outer, inner[::-1]])


def moved(ring: Ring, x: int) -> Ring:
    """The ring moved to the right by `x`."""
    there: Ring = ring + np.array([x * FINE, 0])
    return there


def mirror(ring: Ring) -> Ring:
    """The ring with left and right exchanged."""
    other: Ring = ring * np.array([-1, 1])
    return other


def _area(ring: Ring) -> int:
    """Twice the signed area."""
    x, y = ring.T
    inner = x[:-1] * y[1:] - x[1:] * y[:-1]
    return int(inner.sum() + x[-1] * y[0] - x[0] * y[-1])


def solid(ring: Ring) -> Ring:
    """The ring wound so that it adds area."""
    return ring if _area(ring) >= 0 else ring[::-1]


def hole(ring: Ring) -> Ring:
    """The ring wound so that it takes area away from one solid ring around it."""
    return solid(ring)[::-1]
