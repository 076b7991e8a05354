"""The surface of one part: its form, its paint, and what the light makes of them."""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from .curves import TURN, UNIT, Ring
from .draw import Dice
from .light import Light, Material, Rgb, bevelled, colour, puffed, shade, slopes, unit
from .raster import FRAME, Box, Pose
from .shapes import Look, Part
from .textures import Plane, noise, pattern


class Coat(NamedTuple):
    """The paint of one thing: colours by tint, the pattern of the main colour, how it shines."""

    colours: dict[str, Rgb]
    second: Rgb
    texture: str
    texture_dice: tuple[int, ...]
    material: Material


def draw_coat(dice: Dice, look: Look) -> Coat:
    """The paint of one thing of a family."""
    low, high = dice.choice(look.hues)
    hue, saturation, value = dice.real(low, high), dice.real(*look.saturation), dice.real(*look.value)
    metal = dice.chance(look.metal)
    other = hue + dice.choice((-1, 1)) * dice.real(20, 150)
    gloss = dice.real(*look.gloss)
    dark = value > 0.55
    second = colour(
        other,
        saturation * dice.real(0.5, 1),
        min(1, value * (dice.real(0.45, 0.8) if dark else dice.real(1.4, 2))),
    )
    if metal:
        second = colour(hue, saturation, value * 0.6)
    colours = {
        "main": colour(hue, saturation, value),
        "accent": colour(other + dice.real(-20, 20), saturation, min(1.0, value * dice.real(0.6, 1.2))),
        "dark": colour(hue, 0.3, 0.16),
        "wood": colour(dice.real(18, 38), 0.6, dice.real(0.3, 0.5)),
        "glass": colour(dice.real(190, 220), 0.3, 0.45),
        "light": colour(dice.real(30, 60), dice.real(0.03, 0.25), dice.real(0.85, 0.98)),
    }
    key = tuple(dice.below(1 << 32) for _ in range(2))
    bump = dice.choice((0.0, 0.0, 0.008, 0.016))
    return Coat(colours, second, dice.choice(look.textures), key, Material(gloss, 3 + round(gloss * 4), metal, bump))


def surface(part: Part, cover: Plane, box: Box, pose: Pose, coat: Coat, light: Light, resolution: int) -> Rgb:
    """Linear colour (3, h, w) of a part in `box`; `cover` (h, w) is the share of each pixel that it fills."""
    pixel = FRAME / (pose.scale * resolution)
    u, v = _object_grid(box, pose, resolution)
    wrap = u
    if part.profile is not None:
        turned = _turned(part.profile, u, v)
        normal = _to_view(turned, pose)
        wrap = np.arcsin(turned[0]) * np.float32(0.7)  # so that a pattern goes round the body
    elif part.finish == "puff":
        normal = puffed(cover, 0.85)
    else:
        normal = bevelled(cover, 0.07 / pixel)
    if part.tint != "main":
        flat = np.broadcast_to(coat.colours[part.tint][:, None, None], normal.shape)
        return shade(flat, normal, light, coat.material)
    if coat.material.bump:
        normal = _bumped(normal, wrap, v, coat.material.bump / pixel)
    mix = np.clip(pattern(coat.texture, Dice(*coat.texture_dice), wrap, v, pixel), 0, 1)
    first = coat.colours["main"][:, None, None]
    grain = np.float32(0.85) + np.float32(0.3) * noise(1, wrap * np.float32(0.5), v * np.float32(0.5))
    return shade((first + (coat.second[:, None, None] - first) * mix) * grain, normal, light, coat.material)


def _object_grid(box: Box, pose: Pose, resolution: int) -> tuple[Plane, Plane]:
    """Coordinates (u, v) of the pixel centres of `box`, in half-sizes of the object."""
    step = FRAME / resolution
    x = ((np.arange(box.left, box.right, dtype=np.float32) + np.float32(0.5)) * step - pose.x) / pose.scale
    y = ((np.arange(box.top, box.bottom, dtype=np.float32) + np.float32(0.5)) * step - pose.y) / pose.scale
    angle = 2 * np.pi * pose.angle / TURN
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    across, down = x.astype(np.float32)[None, :], y.astype(np.float32)[:, None]
    u: Plane = across * c + down * s
    v: Plane = down * c - across * s
    return (-u if pose.flip else u), v


def _turned(profile: Ring, u: Plane, v: Plane) -> Rgb:
    """Normals, in the object's own axes, of a turned body whose half-width at y is given by `profile`."""
    y, half = (profile / UNIT).T
    steps = np.linspace(y[0], y[-1], 96)
    widths = np.interp(steps, y, half)
    slope = np.clip(np.gradient(widths, steps), -2.5, 2.5)
    slope = ndimage.uniform_filter1d(slope, 3)
    height = np.clip((v - np.float32(y[0])) * np.float32(95 / (y[-1] - y[0])), 0, 95)
    low = np.minimum(height.astype(np.int32), 94)
    share = height - low
    widths, slope = widths.astype(np.float32), slope.astype(np.float32)
    width = widths[low] * (1 - share) + widths[low + 1] * share
    lean = slope[low] * (1 - share) + slope[low + 1] * share
    x = np.clip(u / (width + np.float32(1e-3)), -0.99, 0.99)
    return unit(x, -lean, np.sqrt(1 - x * x))


def _to_view(normal: Rgb, pose: Pose) -> Rgb:
    """Normals from the object's axes to the picture's."""
    angle = 2 * np.pi * pose.angle / TURN
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    x = -normal[0] if pose.flip else normal[0]
    return np.stack([x * c - normal[1] * s, x * s + normal[1] * c, normal[2]])


def _bumped(normal: Rgb, u: Plane, v: Plane, amount: float) -> Rgb:
    """Normals disturbed by the slope of fine noise, `amount` half-sizes high."""
    down, right = slopes(noise(1, u * np.float32(0.8), v * np.float32(0.8)))
    return unit(normal[0] - right * np.float32(amount), normal[1] - down * np.float32(amount), normal[2])
