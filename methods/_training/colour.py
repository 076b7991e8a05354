"""What may happen to the colours of a training image."""

import io

import numpy as np
from PIL import Image as Pillow
from scipy import ndimage

from amodal_bench.types import Image, Mask


def recoloured(image: Image, strength: float, rng: np.random.Generator) -> Image:
    """Brightness, contrast, saturation and each channel scaled by up to 1 +- strength."""
    brightness, contrast, saturation, *channels = 1 + strength * rng.uniform(-1, 1, 6)
    pixels = image.astype(np.float32)
    grey = pixels.mean(axis=2, keepdims=True)
    pixels = grey + saturation * (pixels - grey)
    pixels = grey.mean() + contrast * (pixels - grey.mean())
    pixels *= brightness * np.asarray(channels, dtype=np.float32)
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def greyed(image: Image) -> Image:
    """The mean of the channels in each of them."""
    return np.repeat(np.rint(image.mean(axis=2, keepdims=True)).astype(np.uint8), 3, axis=2)


def blurred(image: Image, sigma: float) -> Image:
    """Gaussian, `sigma` in pixels."""
    return np.rint(ndimage.gaussian_filter(image.astype(np.float32), (sigma, sigma, 0))).astype(np.uint8)


def with_noise(image: Image, sigma: float, rng: np.random.Generator) -> Image:
    """Normal noise of `sigma` (of 255), for each pixel and channel."""
    noise = sigma * rng.standard_normal(image.shape, dtype=np.float32)
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


def as_jpeg(image: Image, quality: int) -> Image:
    """Stored as JPEG and read again."""
    file = io.BytesIO()
    Pillow.fromarray(image).save(file, "JPEG", quality=quality)
    with Pillow.open(file) as stored:
        return np.array(stored)


def on_own_colours(image: Image, mask: Mask, sigma: float, rng: np.random.Generator) -> Image:
    """An object (H, W, 3) before pixels drawn from it and blurred by `sigma`: what the pipeline's Eq. 8 makes of it."""
    drawn = rng.choice(image[mask], mask.shape).astype(np.float32)
    behind = np.rint(ndimage.gaussian_filter(drawn, (sigma, sigma, 0))).astype(np.uint8)
    return np.where(mask[..., None], image, behind)


def before_another(
    image: Image, mask: Mask, black: float, blurred: float, sigma: float, rng: np.random.Generator
) -> Image:
    """An object before black with probability `black`, before its own blurred colours with `blurred`, else as it is."""
    draw = rng.random()
    if draw < black:
        return np.where(mask[..., None], image, np.uint8(0))
    return on_own_colours(image, mask, sigma, rng) if draw < black + blurred else image
