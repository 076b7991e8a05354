"""Form and light: surface normals of parts, and the colour that a lit surface shows.

Light adds up in linear values; squares and roots stand in for the sRGB curve. Normals are (3, h, w) with
x to the right, y down, z to the viewer.
"""

import colorsys
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .draw import Dice
from .textures import Plane

Rgb = NDArray[np.float32]  # (3,) or (3, h, w), linear

_ROUNDS: Final = 10


@dataclass(frozen=True, slots=True, eq=False)
class Light:
    """One lamp, far away: unit vector towards it, its colour, the colour of the rest of the room."""

    towards: tuple[float, float, float]
    colour: Rgb
    ambient: Rgb


@dataclass(frozen=True, slots=True)
class Material:
    """How a surface answers light: shine in [0, 1], width of the highlight (squarings), metal or not."""

    gloss: float
    sharpness: int
    metal: bool
    bump: float


def colour(hue: float, saturation: float, value: float) -> Rgb:
    """Linear RGB (3,) of a hue in degrees, saturation and value in [0, 1]."""
    return np.array(colorsys.hsv_to_rgb(hue % 360 / 360, saturation, value), dtype=np.float32) ** 2


def draw_light(dice: Dice) -> Light:
    """A lamp above, to one side, in front; warm or cool, against a room of the other."""
    x, y, z = dice.choice((-1, 1)) * dice.real(0.25, 0.8), -dice.real(0.45, 0.9), dice.real(0.6, 1.0)
    length = (x * x + y * y + z * z) ** 0.5
    warm = dice.real(-0.1, 0.14)
    lamp = np.array([1 + warm, 1, 1 - warm], dtype=np.float32) * np.float32(dice.real(0.75, 1.05))
    room = np.array([1 - warm, 1, 1 + warm], dtype=np.float32) * np.float32(dice.real(0.26, 0.42))
    return Light((x / length, y / length, z / length), lamp, room)


def inflate(cover: Plane) -> Plane:
    """Square of the height (pixels**2) of a skin blown up over a shape: laplacian -4 inside, 0 outside.

    Nested relaxation: the halved problem gives the start. A disc becomes a half ball, a strip a half pipe.
    """
    height, width = cover.shape
    skin = np.zeros((height + 2, width + 2), dtype=np.float32)
    if min(height, width) > 6:
        even = np.pad(cover, ((0, height % 2), (0, width % 2)))
        half = even.reshape(even.shape[0] // 2, 2, even.shape[1] // 2, 2).mean(axis=(1, 3))
        skin[1:-1, 1:-1] = 4 * inflate(half).repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
    inside = skin[1:-1, 1:-1]
    for _ in range(_ROUNDS):
        around = skin[:-2, 1:-1] + skin[2:, 1:-1]
        around += skin[1:-1, :-2]
        around += skin[1:-1, 2:]
        around *= np.float32(0.25)
        around += np.float32(1)
        np.multiply(around, cover, out=inside)
    return inside.copy()


def puffed(cover: Plane, depth: float) -> Rgb:
    """Normals of the blown-up skin, `depth` times as high as a ball."""
    skin = inflate(cover)
    down, right = slopes(skin)
    return unit(-0.5 * right, -0.5 * down, np.sqrt(skin + np.float32(0.02)) / np.float32(depth))


def bevelled(cover: Plane, width: float) -> Rgb:
    """Normals of a plate whose edge is rounded over `width` pixels."""
    size = max(1.2, width)
    soft = ndimage.gaussian_filter(cover, size / 2, mode="constant", truncate=3)
    down, right = slopes(soft)
    strength = np.float32(size * 1.6)
    return unit(-right * strength, -down * strength, np.ones_like(cover))


def slopes(height: Plane) -> tuple[Plane, Plane]:
    """Rise per pixel downwards and to the right."""
    rise = np.asarray(np.gradient(height), dtype=np.float32)
    return rise[0], rise[1]


def unit(x: Plane, y: Plane, z: Plane) -> Rgb:
    """Vectors (3, h, w) of length 1."""
    length = np.sqrt(x * x + y * y + z * z) + np.float32(1e-6)
    vectors: Rgb = np.stack([x, y, z]) / length
    return vectors


def _window(normal: Rgb, side: float) -> Plane:
    """The image of a window in a shiny surface: 1 where the mirrored view meets it."""
    x, y = 2 * normal[2] * normal[0], 2 * normal[2] * normal[1]
    wide = np.clip((0.2 - np.abs(x - np.float32(side * 0.62))) * 9, 0, 1)
    high = np.clip((0.3 - np.abs(y + np.float32(0.45))) * 9, 0, 1)
    seen: Plane = wide * high
    return seen


def shade(albedo: Rgb, normal: Rgb, light: Light, material: Material) -> Rgb:
    """Linear colour (3, h, w) of a lit surface: diffuse, sky and floor light, highlight, reflections."""
    lx, ly, lz = (np.float32(v) for v in light.towards)
    nx, ny, nz = normal
    lit = np.clip(nx * lx + ny * ly + nz * lz, 0, 1)
    half = np.array([lx, ly, lz + 1]) / np.sqrt(2 + 2 * lz)
    shine = np.clip(nx * np.float32(half[0]) + ny * np.float32(half[1]) + nz * np.float32(half[2]), 0, 1)
    for _ in range(material.sharpness):
        shine = shine * shine
    rim = 1 - nz
    room = (1 - np.float32(0.45) * ny) * (1 - np.float32(0.55) * rim * rim)
    side = 1.0 if lx > 0 else -1.0
    mirrored = np.float32(material.gloss) * (shine * np.float32(0.75) + np.float32(0.4) * _window(normal, side))
    out = np.empty_like(normal)
    for k in range(3):
        if material.metal:
            # A metal shows the room, not its own brightness: bright above, dark towards the floor.
            sky = np.clip(np.float32(0.42) - np.float32(0.75) * ny * nz + np.float32(0.3) * nx * lx, 0.05, 1.2)
            out[k] = albedo[k] * (sky * light.ambient[k] * 2 + lit * light.colour[k] * np.float32(0.5) + 3 * mirrored)
        else:
            out[k] = albedo[k] * (room * light.ambient[k] + lit * light.colour[k]) + mirrored * light.colour[k]
    return out
