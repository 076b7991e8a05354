"""Rings to pixels by whole-number scanlines: a pixel is set where its centre has a winding other than 0."""

import itertools
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from amodal_bench.types import Mask

from .curves import SINE_BITS, UNIT, Ring, cosine, sine

Frame = NDArray[np.int64]  # (n, 2): a ring in frame steps

FRAME: Final = 1 << 16  # steps across the frame: the scene's own units, the same at every resolution


class Box(NamedTuple):
    """Pixels from (left, top) up to but not including (right, bottom); may reach out of the frame."""

    left: int
    top: int
    right: int
    bottom: int


class Pose(NamedTuple):
    """Where an object stands: `scale` frame steps per half-size, centre (x, y) in frame steps."""

    angle: int
    flip: bool
    scale: int
    x: int
    y: int


def to_frame(rings: Sequence[Ring], pose: Pose) -> list[Frame]:
    """The points of rings in frame steps."""
    points = np.concatenate(rings)
    x, y = points.T
    x = -x if pose.flip else x
    c, s = cosine(pose.angle), sine(pose.angle)
    turned = np.stack([x * c - y * s, x * s + y * c], axis=1)
    whole = UNIT << SINE_BITS
    placed = (turned * pose.scale + whole // 2) // whole + np.array([pose.x, pose.y])
    stops = list(itertools.accumulate(len(ring) for ring in rings))
    return [placed[stop - len(ring) : stop] for stop, ring in zip(stops, rings, strict=True)]


def bounds(rings: Sequence[Frame], resolution: int) -> Box:
    """The smallest box of pixels that holds the rings (frame steps)."""
    points = np.concatenate(rings)
    step = FRAME // resolution
    left, top = (points.min(axis=0) // step).tolist()
    right, bottom = (points.max(axis=0) // step + 1).tolist()
    return Box(left, top, right, bottom)


def _rows(y: NDArray[np.int64], half: int, box: Box) -> NDArray[np.int64]:
    """The first rows of the box whose centres are not above y; its end where there is none."""
    return np.minimum(np.maximum(-((half - y) // (2 * half)), box.top), box.bottom)


def fill(rings: Sequence[Frame], resolution: int, box: Box) -> Mask:
    """Mask of the pixels of `box` whose centres lie inside the rings (frame steps).

    `resolution` is a power of two up to 2**15 pixels across the frame. An edge owns its upper end and not
    its lower one; a centre on an edge counts as right of it, so neighbours share no pixel and leave none.
    """
    height, width = box.bottom - box.top, box.right - box.left
    start = np.concatenate(rings)
    stop = np.concatenate([part for ring in rings for part in (ring[1:], ring[:1])])
    down = stop[:, 1] > start[:, 1]
    above = np.where(down[:, None], start, stop)
    below = np.where(down[:, None], stop, start)
    half = FRAME // (2 * resolution)
    first = _rows(above[:, 1], half, box)
    count = _rows(below[:, 1], half, box) - first
    edge = np.repeat(np.arange(len(start)), count)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count - first, count)
    span = (below - above)[edge]
    # The crossing is at across / span_y; next, the first column whose centre is not left of it.
    across = above[edge, 0] * span[:, 1] + ((2 * row + 1) * half - above[edge, 1]) * span[:, 0]
    column = np.clip(-((half * span[:, 1] - across) // (2 * half * span[:, 1])), box.left, box.right)
    cell = (row - box.top) * (width + 1) + column - box.left
    turns = np.bincount(cell, np.where(down, 1, -1)[edge], minlength=height * (width + 1))
    mask: Mask = np.cumsum(turns.reshape(height, width + 1)[:, :width], axis=1) != 0
    return mask
