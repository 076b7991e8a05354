"""Reading images the one way that every dataset shares."""

import logging
from functools import lru_cache
from pathlib import Path

import numpy as np
import PIL.Image

from amodal_bench.errors import BadRecord
from amodal_bench.types import Image, Mask

log = logging.getLogger(__name__)

MOST_PIXELS = 100_000_000  # a header that promises more is not a dataset's photo
ASPECT_TOLERANCE = 0.02


@lru_cache(maxsize=2)
def read_image(path: Path, height: int | None = None, width: int | None = None) -> Image:
    """RGB uint8 (H, W, 3), read-only; the last ones are kept, for the other instances of the same image.

    No EXIF rotation is applied: annotations are in stored pixels. Where the annotation states another size,
    its size rules and the image is resized (bilinear) with a warning, unless the shapes differ so much that
    the annotation must belong to another image. Raises `BadRecord` naming the file.
    """
    image = _open(path).convert("RGB")
    wanted = (width or image.width, height or image.height)
    if image.size != wanted:
        found = f"{path} is {image.width} x {image.height}, its annotation says {wanted[0]} x {wanted[1]}"
        if abs(image.width * wanted[1] / (image.height * wanted[0]) - 1) > ASPECT_TOLERANCE:
            raise BadRecord(f"{found}: another shape, so it is not the image that was annotated")
        log.warning("%s: resized to the annotation", found)
        image = image.resize(wanted, PIL.Image.Resampling.BILINEAR)
    array = np.asarray(image)
    array.setflags(write=False)
    return array


def read_mask(path: Path, threshold: int = 127) -> Mask:
    """Bool (H, W) of a grey image: True above `threshold`. Raises `BadRecord` naming the file."""
    return np.asarray(_open(path).convert("L")) > threshold


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) from the header alone. Raises `BadRecord` naming the file."""
    try:
        with PIL.Image.open(path) as image:
            return image.height, image.width
    except FileNotFoundError:
        raise BadRecord(f"image not found: {path}") from None
    except (OSError, PIL.Image.DecompressionBombError) as error:
        raise BadRecord(f"{path}: not a readable image ({error})") from None


def _open(path: Path) -> PIL.Image.Image:
    height, width = image_size(path)
    if height * width > MOST_PIXELS:
        raise BadRecord(f"{path}: its header says {width} x {height} pixels; at most {MOST_PIXELS:,} are read")
    try:
        image = PIL.Image.open(path)
        image.load()
    except OSError as error:
        raise BadRecord(f"{path}: not a readable image ({error})") from None
    return image
