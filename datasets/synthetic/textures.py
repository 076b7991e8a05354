"""Procedural patterns on surface coordinates: noise tiles that are made once, and what is drawn with them.

A pattern maps coordinates (u, v) to a mix in [0, 1] between a surface's two colours. `soft` is the width
of a pixel in those coordinates, by which edges are softened.
"""

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from .draw import Dice

Plane = NDArray[np.float32]

TILE: Final = 256
_ROUGHNESS: Final = (1.9, 1.35)  # power of 1/frequency: clouds, grain


@cache
def _tile(kind: int) -> Plane:
    """Periodic fractal noise (TILE, TILE) about .5, spread .2."""
    bits = np.random.PCG64([kind]).random_raw(TILE * TILE)
    white = (bits >> 40).astype(np.float32).reshape(TILE, TILE) / np.float32(1 << 24) - np.float32(0.5)
    across = fft.rfftfreq(TILE)[None, :] * TILE
    down = fft.fftfreq(TILE)[:, None] * TILE
    frequency = np.sqrt(across**2 + down**2) + 1.5
    noise = fft.irfft2(fft.rfft2(white) / frequency ** _ROUGHNESS[kind], (TILE, TILE))
    tile: Plane = (0.5 + 0.2 * (noise - noise.mean()) / noise.std()).astype(np.float32)
    return tile


def noise(kind: int, u: Plane, v: Plane) -> Plane:
    """Noise about .5 (kind 0 clouds, 1 grain) at (u, v), one tile a unit."""
    where = np.stack([v * TILE, u * TILE])
    found: Plane = ndimage.map_coordinates(_tile(kind), where, order=1, mode="grid-wrap", prefilter=False)
    return found


def step(x: Plane, soft: float) -> Plane:
    """0 below 0, 1 above, over a width of `soft`."""
    ramp: Plane = np.clip(x / np.float32(max(soft, 1e-6)) + np.float32(0.5), 0, 1)
    return ramp


def _saw(x: Plane) -> Plane:
    """Distance of x from the nearest whole number, minus a quarter: the edges of even stripes."""
    return np.abs(x - np.round(x)) - np.float32(0.25)


def _turned(dice: Dice, u: Plane, v: Plane) -> tuple[Plane, Plane]:
    angle = dice.real(0, 2 * np.pi)
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return u * c - v * s, u * s + v * c


def _stripes(dice: Dice, u: Plane, v: Plane, soft: float) -> Plane:
    across, _ = _turned(dice, u, v)
    count = dice.real(1.4, 3.6)
    bend = dice.choice((0.0, 0.6))
    return step(_saw(across * count + bend * noise(0, u * 0.25, v * 0.25)), soft * count)


def _bands(dice: Dice, u: Plane, v: Plane, soft: float) -> Plane:
    del u
    count, share = dice.real(0.9, 3.2), dice.real(-0.12, 0.15)
    return step(_saw(v * count + dice.real(0, 1)) + np.float32(share), soft * count)


def _spots(dice: Dice, u: Plane, v: Plane, soft: float) -> Plane:
    x, y = _turned(dice, u, v)
    count, size = dice.real(1.6, 3.4), dice.real(0.2, 0.36)
    y = y * count
    x = x * count + np.round(y) * np.float32(0.5)
    return step(np.float32(size) - np.hypot(x - np.round(x), y - np.round(y)), soft * count)


def _blotch(dice: Dice, u: Plane, v: Plane, soft: float) -> Plane:
    shift = dice.real(0, 1)
    zoom = dice.real(0.18, 0.4)
    return step(noise(0, u * zoom + shift, v * zoom) - np.float32(dice.real(0.42, 0.58)), soft * 0.4 + 0.03)


def _marble(dice: Dice, u: Plane, v: Plane, soft: float) -> Plane:
    del soft
    across, _ = _turned(dice, u, v)
    shift = dice.real(0, 1)
    wave = np.sin(across * dice.real(3, 7) + 9 * noise(0, u * 0.3 + shift, v * 0.3))
    veins: Plane = 1 - np.sqrt(np.abs(wave))
    return veins


def _checks(dice: Dice, u: Plane, v: Plane, soft: float) -> Plane:
    x, y = _turned(dice, u, v) if dice.chance(50) else (u, v)
    count = dice.real(1.0, 2.4)
    a, b = step(_saw(x * count), soft * count), step(_saw(y * count), soft * count)
    return a + b - 2 * a * b


def _wood(dice: Dice, u: Plane, v: Plane, soft: float) -> Plane:
    del soft
    if dice.chance(50):
        u, v = v, u
    shift = dice.real(0, 1)
    warp = noise(0, u * 0.15 + shift, v * 0.5)
    grain: Plane = 0.5 + 0.3 * np.sin(v * 9 + 22 * warp) + 0.5 * (noise(1, u * 0.08 + shift, v * 1.1) - 0.5)
    return grain


def _brushed(dice: Dice, u: Plane, v: Plane, soft: float) -> Plane:
    del soft
    return noise(1, u * 0.05 + dice.real(0, 1), v * 0.9)


def _streaks(dice: Dice, u: Plane, v: Plane, soft: float) -> Plane:
    del soft
    return step(noise(1, u * 0.7 + dice.real(0, 1), v * 0.09) - np.float32(0.6), 0.5)


def _planks(dice: Dice, u: Plane, v: Plane, soft: float) -> Plane:
    count = dice.real(1.2, 2.2)
    row = np.floor(v * count)
    x = u * count * 0.3 + row * np.float32(0.37)
    gap = 0.5 - np.abs(v * count - row - 0.5)
    ends = np.abs(x - np.round(x))
    seam = np.minimum(step(gap - 0.02, soft * count), step(ends - 0.006, soft * count * 0.3))
    board = np.mod((row * 7 + np.round(x) * 3) * np.float32(0.377), 1)
    grain = noise(1, u * 0.1 + board, v * 0.9 + board)
    floor: Plane = np.clip((0.25 + 0.45 * board + 0.6 * (grain - 0.5)), 0, 1) * seam + (1 - seam) * np.float32(1.25)
    return floor


def _bricks(dice: Dice, u: Plane, v: Plane, soft: float) -> Plane:
    count = dice.real(2.2, 4.0)
    row = np.floor(v * count)
    x = u * count * 0.5 + row * np.float32(0.5)
    gap = np.minimum(0.5 - np.abs(v * count - row - 0.5), 2 * (0.5 - np.abs(x - np.floor(x) - 0.5)))
    stone = np.mod((row * 5 + np.floor(x) * 3) * np.float32(0.618), 1)
    wall: Plane = (0.2 + 0.35 * stone) * step(gap - 0.06, soft * count) + step(0.06 - gap, soft * count)
    return wall


def _tiles(dice: Dice, u: Plane, v: Plane, soft: float) -> Plane:
    count = dice.real(1.0, 2.2)
    x, y = u * count, v * count
    gap = 0.5 - np.maximum(np.abs(x - np.floor(x) - 0.5), np.abs(y - np.floor(y) - 0.5))
    cell = np.mod((np.floor(x) * 3 + np.floor(y) * 5) * np.float32(0.618), 1)
    tiled: Plane = (0.15 + 0.2 * cell) * step(gap - 0.025, soft * count) + step(0.025 - gap, soft * count)
    return tiled


def _weave(dice: Dice, u: Plane, v: Plane, soft: float) -> Plane:
    count = dice.real(5, 9)
    fade = min(1.0, 0.25 / (soft * count))
    threads: Plane = np.sin(u * count * 6.3) + np.sin(v * count * 6.3)
    return fade * 0.25 * threads + noise(0, u * 0.1, v * 0.1)


def _plain(dice: Dice, u: Plane, v: Plane, soft: float) -> Plane:
    del soft
    return 0.5 * noise(0, u * 0.2 + dice.real(0, 1), v * 0.2)


_PATTERNS: Final = {
    "stripes": _stripes,
    "bands": _bands,
    "spots": _spots,
    "blotch": _blotch,
    "marble": _marble,
    "checks": _checks,
    "wood": _wood,
    "brushed": _brushed,
    "streaks": _streaks,
    "planks": _planks,
    "bricks": _bricks,
    "tiles": _tiles,
    "weave": _weave,
    "plain": _plain,
}


def pattern(kind: str, dice: Dice, u: Plane, v: Plane, soft: float) -> Plane:
    """The mix of two colours at (u, v) in half-sizes of an object (or of the frame)."""
    return _PATTERNS[kind](dice, u, v, soft).astype(np.float32)
