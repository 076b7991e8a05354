"""What is behind everything: a wall and a floor, or a table top seen from above."""

import numpy as np

from .draw import Dice
from .light import Light, Rgb, colour
from .textures import Plane, noise, pattern, step

_WALLS = ("plain", "stripes", "bricks", "tiles", "blotch", "weave", "checks")
_FLOORS = ("planks", "planks", "tiles", "checks", "weave", "plain", "marble")
_TABLES = ("planks", "wood", "weave", "tiles", "plain", "marble", "checks", "stripes")


def _grid(resolution: int) -> tuple[Plane, Plane]:
    """x (1, R) and y (R, 1) of the pixel centres in [0, 1]."""
    steps = ((np.arange(resolution) + 0.5) / resolution).astype(np.float32)
    return steps[None, :], steps[:, None]


def _surface(kind: str, dice: Dice, u: Plane, v: Plane, soft: float, fade: Plane | float = 1.0) -> Rgb:
    """Linear colour of a patterned surface; `fade` in [0, 1] is how much of the pattern's contrast is left."""
    hue, saturation, value = dice.real(0, 360), dice.real(0.05, 0.45), dice.real(0.5, 0.9)
    if kind in ("planks", "wood"):
        hue, saturation = dice.real(18, 40), dice.real(0.25, 0.6)
    first = colour(hue, saturation, value)
    second = colour(hue + dice.real(-30, 30), saturation * 0.9, value * dice.real(0.55, 0.85))
    mix = np.clip(pattern(kind, dice, u, v, soft), 0, 1.2)
    mix = (mix - np.float32(0.4)) * fade + np.float32(0.4)
    grain = np.float32(0.72) + np.float32(0.56) * noise(1, u * np.float32(0.35), v * np.float32(0.35))
    surface: Rgb = (first[:, None, None] * (1 - mix) + second[:, None, None] * mix) * grain
    return surface


def _lit(picture: Rgb, dice: Dice, light: Light, x: Plane, y: Plane) -> Rgb:
    """A pool of light on the lamp's side, and darker corners."""
    cx, cy = 0.5 + 0.35 * light.towards[0], 0.5 + 0.3 * light.towards[1]
    away: Plane = (x - np.float32(cx)) ** 2 + (y - np.float32(cy)) ** 2
    pool: Plane = np.reciprocal(1 + dice.real(0.6, 1.6) * away)
    corner: Plane = 1 - np.float32(0.5) * ((x - np.float32(0.5)) ** 2 + (y - np.float32(0.5)) ** 2)
    strength = (light.ambient + light.colour * np.float32(0.62)).astype(np.float32)
    lit: Rgb = picture * (pool * corner) * strength[:, None, None]
    return lit


def backdrop(dice: Dice, light: Light, horizon: int | None, resolution: int) -> Rgb:
    """Linear colour (3, R, R); `horizon` in thousandths from the top, None for a table seen from above."""
    x, y = _grid(resolution)
    if horizon is None:
        angle = dice.real(0, 6.283)
        c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        zoom = np.float32(dice.real(1.4, 2.6))
        u, v = (x * c - y * s) * zoom, (x * s + y * c) * zoom
        return _lit(_surface(dice.choice(_TABLES), dice, u, v, float(zoom) / resolution), dice, light, x, y)
    edge = horizon / 1000
    rows = min(resolution - 1, round(edge * resolution))
    flat = np.zeros((rows, resolution), dtype=np.float32)
    zoom = np.float32(dice.real(1.2, 2.2))
    wall = _surface(dice.choice(_WALLS), dice, x * zoom + flat, y[:rows] * zoom + flat, float(zoom) / resolution)
    near = y[rows:] - np.float32(edge)
    away = np.float32(dice.real(0.5, 0.8)) / (near + np.float32(0.16))
    u, v = (x - np.float32(0.5)) * away * np.float32(1.5), away * np.float32(1.9) + 0 * x
    fade = np.clip(2.6 / away - 0.45, 0.15, 1)
    floor = _surface(dice.choice(_FLOORS), dice, u, v, 4.5 / resolution, fade)
    # Where wall and floor meet, both see less of the room.
    wall *= 1 - np.float32(0.28) * np.exp(-(np.float32(edge) - y[:rows]) * 14)
    floor *= 1 - np.float32(0.38) * np.exp(-near * 18)
    picture = np.concatenate([wall, floor], axis=1)
    if dice.chance(45):
        high = dice.real(0.018, 0.05)
        board = step(y - np.float32(edge - high), 1.2 / resolution) * step(np.float32(edge) - y, 1.2 / resolution)
        paint = colour(dice.real(20, 60), dice.real(0, 0.25), dice.real(0.6, 0.95))[:, None, None]
        picture = picture * (1 - board) + paint * board * (
            np.float32(0.85) + np.float32(0.15) * step(y - np.float32(edge - high * 0.8), 0.01)
        )
    return _lit(picture, dice, light, x, y)
