"""Chance in training, instance by instance: a function of (seed, epoch, index) alone."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageFilter

from amodal_bench.types import Image, Mask

from .params import Augment

Floats = NDArray[np.float32]


def recoloured(image: Image, strength: float, rng: np.random.Generator) -> Image:
    """Brightness, contrast, saturation and each channel scaled by up to 1 +- strength."""
    brightness, contrast, saturation, *channels = 1 + strength * rng.uniform(-1, 1, 6)
    pixels = image.astype(np.float32)
    grey = pixels.mean(axis=2, keepdims=True)
    pixels = grey + saturation * (pixels - grey)
    pixels = grey.mean() + contrast * (pixels - grey.mean())
    pixels *= brightness * np.asarray(channels, dtype=np.float32)
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def morphed(mask: Mask, rng: np.random.Generator) -> Mask:
    """The mask dilated or eroded by one or two pixels; unchanged where nothing would be left of it."""
    size = int(rng.choice((3, 5)))
    grow = rng.random() < 0.5
    picture = Pillow.fromarray(mask.view(np.uint8) * np.uint8(255))
    changed = np.asarray(picture.filter(ImageFilter.MaxFilter(size) if grow else ImageFilter.MinFilter(size))) > 127
    return changed if changed.any() else mask


def crop_chance(augment: Augment, rng: np.random.Generator) -> tuple[float | None, tuple[float, float]]:
    """The crop's factor (None: the method's own) and how far its centre moves, as shares of its sides."""
    enlarge = None if augment.enlarge is None else float(rng.uniform(*augment.enlarge))
    down, right = augment.shift * rng.uniform(-1, 1, 2)
    return enlarge, (float(down), float(right))


def changed(
    image: Image, visible: Mask, amodal: Mask, augment: Augment, rng: np.random.Generator
) -> tuple[Image, Mask, Mask]:
    """A training triple in the network's frame after flip, colour and morphology."""
    if rng.random() < augment.flip:
        image, visible, amodal = image[:, ::-1], visible[:, ::-1], amodal[:, ::-1]
    if augment.colour:
        image = recoloured(image, augment.colour, rng)
    if rng.random() < augment.vm_morph:
        visible = morphed(np.ascontiguousarray(visible), rng)
    return image, visible, amodal
