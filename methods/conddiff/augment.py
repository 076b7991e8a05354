"""Chance in training, instance by instance: a function of (seed, epoch, index) alone."""

import numpy as np
from PIL import Image as Pillow
from PIL import ImageFilter

from amodal_bench.methods._training.colour import as_jpeg, blurred, greyed, recoloured, with_noise
from amodal_bench.types import Image, Mask

from .params import Augment


def morphed(mask: Mask, rng: np.random.Generator) -> Mask:
    """The mask dilated or eroded by one or two pixels; unchanged where nothing would be left of it."""
    size = int(rng.choice((3, 5)))
    grow = rng.random() < 0.5
    picture = Pillow.fromarray(mask.view(np.uint8) * np.uint8(255))
    changed = np.asarray(picture.filter(ImageFilter.MaxFilter(size) if grow else ImageFilter.MinFilter(size))) > 127
    return changed if changed.any() else mask


def _worn(image: Image, augment: Augment, rng: np.random.Generator) -> Image:
    """The image as a worse camera or file would have it."""
    if augment.grey and rng.random() < augment.grey:
        image = greyed(image)
    if augment.blur and rng.random() < augment.blur:
        image = blurred(image, rng.uniform(0.3, 1.5))
    if augment.noise and rng.random() < augment.noise:
        image = with_noise(image, rng.uniform(2, 20), rng)
    if augment.jpeg and rng.random() < augment.jpeg:
        image = as_jpeg(image, int(rng.integers(25, 91)))
    return image


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
    image = _worn(image, augment, rng)
    if rng.random() < augment.vm_morph:
        visible = morphed(np.ascontiguousarray(visible), rng)
    return image, visible, amodal
