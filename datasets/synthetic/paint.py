"""A layout to an image: shadows and shaded parts, from back to front."""

import numpy as np
from scipy import ndimage

from amodal_bench.types import Image

from .backdrop import backdrop
from .draw import Dice, scene_dice
from .layout import SceneLayout, Thing, outline
from .light import Light, Rgb, draw_light
from .raster import FRAME, Box, Frame, Pose, bounds, fill, to_frame
from .shapes import Part
from .surface import Coat, draw_coat, surface

_ROOM, _NOISE, _THING = 1, 2, 3  # streams of a scene's draws


class Canvas:
    """The picture being painted, linear (3, R, R), with the light that falls on it."""

    def __init__(self, picture: Rgb, light: Light) -> None:
        self.picture = picture
        self.light = light
        self.resolution = picture.shape[1]

    def pixels(self, length: float, pose: Pose) -> int:
        """A length in half-sizes of a thing, in whole pixels."""
        return int(length * pose.scale * self.resolution / FRAME + 0.5)

    def window(self, box: Box) -> tuple[Rgb, tuple[slice, slice]]:
        """The pixels of the picture in `box`, to be changed in place, and where in the box they are."""
        edge = self.resolution
        left, top = min(max(box.left, 0), edge), min(max(box.top, 0), edge)
        right, bottom = max(min(box.right, edge), left), max(min(box.bottom, edge), top)
        inside = (slice(top - box.top, bottom - box.top), slice(left - box.left, right - box.left))
        return self.picture[:, top:bottom, left:right], inside

    def darken(self, rings: list[Frame], blur: float, strength: float) -> None:
        """A soft shadow of the rings (frame steps); `blur` in pixels."""
        pad = int(2 * blur) + 2
        box = _grown(bounds(rings, self.resolution), pad, self.resolution)
        below, inside = self.window(box)
        if below.size == 0:
            return
        soft = fill(rings, self.resolution, box).astype(np.float32)
        size = max(2, round(blur * 1.3))
        for _ in range(2):
            soft = ndimage.uniform_filter(soft, size, mode="constant")
        below *= 1 - np.float32(strength) * soft[inside]


def _grown(box: Box, pad: int, resolution: int) -> Box:
    """The box with a margin, cut a quarter of a frame outside the frame."""
    low, high = -resolution // 4, resolution + resolution // 4
    left, top = (min(max(v - pad, low), high - 1) for v in (box.left, box.top))
    return Box(left, top, max(min(box.right + pad, high), left + 1), max(min(box.bottom + pad, high), top + 1))


def paint(layout: SceneLayout, split: str, index: int, resolution: int, count: int | None = None) -> Image:
    """The image (R, R, 3) of a scene, or of its `count` backmost things alone."""
    room = scene_dice(split, index, _ROOM)
    light = draw_light(room)
    canvas = Canvas(backdrop(room, light, layout.horizon, resolution), light)
    things = layout.things[:count]
    if layout.horizon is not None:
        for thing in things:
            _floor_shadow(canvas, thing)
    for number, thing in enumerate(things):
        _drop_shadow(canvas, thing, layout.horizon is None)
        coat = draw_coat(scene_dice(split, index, _THING, number), thing.family.look)
        for part in thing.parts:
            _paint_part(canvas, part, thing.pose, coat)
    return _develop(canvas.picture, scene_dice(split, index, _NOISE))


def _floor_shadow(canvas: Canvas, thing: Thing) -> None:
    """What a standing thing throws on the floor: its outline laid down, away from the lamp, and a dark foot."""
    rings = outline(thing.parts, thing.pose)
    points = np.concatenate(rings)
    base = int(points[:, 1].max())
    lx, ly, _ = canvas.light.towards
    lean, flat = -0.75 * lx / -ly, 0.3
    laid = []
    for ring in rings:
        rise = base - ring[:, 1]
        laid.append(np.rint(np.stack([ring[:, 0] + lean * rise, base - flat * rise], axis=1)).astype(np.int64))
    size = thing.pose.scale * canvas.resolution / FRAME
    canvas.darken(laid, size * 0.13, 0.5)
    low = points[points[:, 1] > base - thing.pose.scale // 5]
    left, right = int(low[:, 0].min()), int(low[:, 0].max())
    foot = np.array([[left, base - 400], [right, base - 400], [right, base + 700], [left, base + 700]])
    canvas.darken([foot], size * 0.07, 0.6)


def _drop_shadow(canvas: Canvas, thing: Thing, lying: bool) -> None:
    """A soft shadow on what is close behind; longer and darker for what lies on a table."""
    lx, ly, _ = canvas.light.towards
    far = thing.pose.scale * (0.16 if lying else 0.12)
    shift = np.array([round(-lx * far), round(-ly * far)])
    rings = outline(thing.parts, thing.pose)
    size = thing.pose.scale * canvas.resolution / FRAME
    canvas.darken([ring + shift for ring in rings], size * 0.12, 0.62 if lying else 0.3)
    if lying:
        canvas.darken([ring + shift // 3 for ring in rings], size * 0.04, 0.4)


def _paint_part(canvas: Canvas, part: Part, pose: Pose, coat: Coat) -> None:
    """One part over what is there, its edge softened by 2 x 2 samples a pixel."""
    rings = to_frame(part.rings, pose)
    box = _grown(bounds(rings, canvas.resolution), 1, canvas.resolution)
    below, inside = canvas.window(box)
    if below.size == 0:
        return
    fine = fill(rings, 2 * canvas.resolution, Box(*(2 * edge for edge in box))).view(np.uint8)
    cover = (fine[::2, ::2] + fine[1::2, ::2] + fine[::2, 1::2] + fine[1::2, 1::2]) * np.float32(0.25)
    lit = surface(part, cover, box, pose, coat, canvas.light, canvas.resolution)
    # A part shades what it lies on, a little beyond its edge.
    near = ndimage.uniform_filter(cover, max(2, canvas.pixels(0.08, pose)), mode="constant")[inside]
    below *= 1 - np.float32(0.3) * near
    below += (lit[(slice(None), *inside)] - below) * cover[inside]


def _develop(picture: Rgb, dice: Dice) -> Image:
    """Exposure, the lens's blur, the sensor's noise; (R, R, 3) uint8."""
    exposed = np.sqrt(np.clip(picture * np.float32(dice.real(1.25, 1.65)), 0, None))
    exposed = exposed / (1 + np.clip(exposed - np.float32(0.8), 0, None) * np.float32(0.55))
    sharp = dice.real(0.3, 0.6)
    blurred = ndimage.gaussian_filter(exposed, (0, sharp, sharp), truncate=3)
    generator = np.random.Generator(np.random.PCG64([dice.below(1 << 32)]))
    grain = generator.standard_normal(blurred.shape, dtype=np.float32)
    noisy = blurred + grain * np.float32(dice.real(0.006, 0.02))
    return np.ascontiguousarray((np.clip(noisy, 0, 1) * 255 + np.float32(0.5)).astype(np.uint8).transpose(1, 2, 0))
