"""The one place that opens image files: photos as RGB, masks as bool.

What is wrong with a file is a `BadRecord` that names it and says what it is. Only the formats of `FORMATS` are
tried, whatever a file is called: Pillow's full list hands PostScript to Ghostscript.
"""

import logging
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageFile
from numpy.typing import NDArray

from amodal_bench.errors import BadRecord
from amodal_bench.files.stamp import remembered
from amodal_bench.masks.file_kind import kind_of, not_there
from amodal_bench.masks.framing import Facts, framed
from amodal_bench.types import MOST_PIXELS, Image, Mask

log = logging.getLogger(__name__)

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")  # a camera's MPO opens as JPEG
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
ORIENTATION = 0x0112  # the EXIF entry that asks viewers to turn an image

PHOTO_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
BOMBS = (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning)
DAMAGE = (  # what Pillow raises on damaged files
    OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, EOFError, MemoryError,
    NotImplementedError, struct.error, zlib.error, *BOMBS,
)  # fmt: skip


@remembered(2)
def read_image(path: Path, height: int | None = None, width: int | None = None, margin: float = 0) -> Image:
    """RGB uint8 (H, W, 3), read-only; the last ones are kept, for the other instances of the same image.

    Of 16 bits a channel the high eight are taken, grey is repeated, a palette looked up, alpha left out, of several
    frames the first is read. No EXIF rotation is applied: annotations are in stored pixels. Where the annotation
    states another size, the image is cut or filled with black at the right and the bottom if each side differs by
    at most `margin` of it; nothing is ever resized. Raises `BadRecord` naming the file.
    """
    with opened(path) as image:
        facts = _facts(image)
        array = _as_rgb(path, image)
    for remark in remarks(facts):
        _say_once(remark, path)
    array = framed(path, array, facts, height or facts.height, width or facts.width, margin)
    array.setflags(write=False)
    return array


def read_mask(path: Path, threshold: int | None = None) -> Mask:
    """Bool (H, W) of a mask in an image file: two values, of which one is 0 or black; the other is inside.

    Any depth, with a palette or in colour. Where a format states a `threshold`, a mask of more grey values is read
    too if these go from 0 to 255: inside is what lies above. Raises `BadRecord` naming file, mode and values for
    all else, for a mask in an alpha channel, and for one value that may be an id.
    """
    with opened(path) as image:
        if _several(image):
            raise BadRecord(f"{path}: {_description(image)} of several frames, where a mask has one")
        values, alpha = _mask_values(path, image)
        description = _description(image)
    mask = _two_valued(path, description, values, threshold)
    if alpha is not None and alpha.min() != alpha.max() and not np.array_equal(mask, alpha > 0):
        raise BadRecord(
            f"{path}: {description} whose alpha channel varies and whose colours do not say the same: which is the "
            "mask? "
            "Alpha is not read as one: save it as a grey image of 0 and 255"
        )
    return mask


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) from the header alone. Raises `BadRecord` naming the file."""
    with opened(path) as image:
        return image.height, image.width


def examine(path: Path) -> Facts:
    """Decode the whole image and tell what its file says; raises `BadRecord` naming the file."""
    with opened(path) as image:
        facts = _facts(image)
        _as_rgb(path, image)
    return facts


def remarks(facts: Facts) -> Iterator[str]:
    """What is odd about a photo that is read all the same."""
    if facts.orientation != 1:
        yield "image carries an EXIF rotation, which is not applied"
    if facts.several:
        yield "image has several frames, of which the first is read"


def check_size(height: int, width: int, where: str) -> None:
    """Raise `BadRecord` for more pixels than an image may have here."""
    if height * width > MOST_PIXELS:
        raise BadRecord(f"{where}: {width} x {height} pixels (width x height); at most {MOST_PIXELS:,} are read")


@contextmanager
def opened(path: Path) -> Iterator[PIL.ImageFile.ImageFile]:
    """The image with its header read; whatever goes wrong with it while it is open is a `BadRecord`."""
    try:
        with PIL.Image.open(path, formats=FORMATS) as image:
            check_size(image.height, image.width, str(path))
            yield image
    except BadRecord:
        raise
    except DAMAGE as error:
        raise BadRecord(_fault(path, error)) from None


def _fault(path: Path, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"image {not_there(path)}"
    if isinstance(error, OSError) and error.errno is not None:
        return f"{path}: not a readable image: {error.strerror}"
    try:
        kind = kind_of(path)
    except OSError as unreadable:
        return f"{path}: not a readable image: {unreadable.strerror}"
    if isinstance(error, BOMBS):
        return f"{path}: not a readable image: its header promises more pixels than any photo has ({error})"
    if isinstance(error, PIL.UnidentifiedImageError):
        return f"{path}: not a readable image: {kind}"
    return f"{path}: not a readable image: {kind} ({error or type(error).__name__})"


def _facts(image: PIL.ImageFile.ImageFile) -> Facts:
    return Facts(image.height, image.width, _orientation(image), _several(image))


def _orientation(image: PIL.ImageFile.ImageFile) -> int:
    try:
        found = image.getexif().get(ORIENTATION, 1)
    except DAMAGE:  # of the entry alone: the pixels may be whole
        return 1
    return found if found in range(1, 9) else 1


def _several(image: PIL.ImageFile.ImageFile) -> bool:
    """An MPO is a camera's photo with its previews."""
    return image.format != "MPO" and bool(getattr(image, "is_animated", False))


def _description(image: PIL.ImageFile.ImageFile) -> str:
    return f"a {image.format} of mode {image.mode}"


def _as_rgb(path: Path, image: PIL.ImageFile.ImageFile) -> Image:
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        grey = (np.asarray(image) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode not in PHOTO_MODES:
        raise BadRecord(
            f"{path}: {_description(image)}: photos are read with 8 or 16 bits a channel, for in others no value is "
            "agreed "
            "to be white. Save it as one of those"
        )
    image.info.pop("transparency", None)  # for a palette Pillow would warn
    return np.asarray(image.convert("RGB"))


@cache
def _said() -> set[str]:
    """The remarks of this process: a set of photos may carry the same one on each."""
    return set()


def _say_once(remark: str, path: Path) -> None:
    if remark not in _said():
        _said().add(remark)
        log.warning("%s: %s; others like it are not named here, doctor lists them", path, remark)


def _mask_values(path: Path, image: PIL.ImageFile.ImageFile) -> tuple[NDArray[Any], NDArray[np.uint8] | None]:
    """Grey values, or colours as whole numbers with black as 0; alpha, where there is any."""
    if image.mode in ("1", "L", "I", "F") or image.mode.startswith("I;16"):
        return np.asarray(image), None
    if image.mode not in ("LA", "P", "PA", "RGB", "RGBA"):
        raise BadRecord(f"{path}: {_description(image)}, in which a mask can not be told: save it as grey, 0 and 255")
    if any("16" in str(tile[3]) for tile in image.tile):
        raise BadRecord(f"{path}: {_description(image)} with 16 bits a colour: save the mask as grey, 0 and 255")
    indices = np.asarray(image) if image.mode == "P" else None
    colours = image.convert("RGBA")
    red, green, blue, alpha = (np.asarray(colours.getchannel(channel)) for channel in "RGBA")
    values: NDArray[Any] = red
    if not (np.array_equal(red, green) and np.array_equal(red, blue)):
        values = red.astype(np.int32)
        for channel in (green, blue):  # in place: a mask may have 50 million pixels
            values <<= 8
            values |= channel
    if indices is not None and len(np.unique(values)) < len(np.unique(indices)):
        raise BadRecord(f"{path}: {_description(image)} whose palette shows different values in one colour")
    return values, alpha


WHOLE = (1, 255, 65535, 0xFFFFFF)  # what the whole frame inside looks like


def _two_valued(path: Path, description: str, values: NDArray[Any], threshold: int | None) -> Mask:
    low, top = values.min(), values.max()
    inside: Mask = values == top
    if low == top and (top == 0 or top in WHOLE):
        return np.full(values.shape, top != 0)
    if low == 0 and top > 0 and (inside | (values == 0)).all():
        return inside
    if threshold is not None and (low, top) == (0, 255):
        return np.asarray(values > threshold)
    raise BadRecord(f"{path}: {description} {_many(values)}")


def _many(values: NDArray[Any]) -> str:
    found = np.unique(values).tolist()
    listed = ", ".join(f"{value:g}" for value in found[:5])
    if len(found) == 1:
        return f"in which every pixel is {listed}: the whole frame, or an id? A mask has two values, 0 and another"
    if len(found) == 2:
        return f"has the values {listed}, none of them 0: a map of ids? A mask has two values, 0 and another"
    more = f", ... {found[-1]:g}" if len(found) > 5 else ""
    return (
        f"has {len(found)} values ({listed}{more}): a map of ids, or grey levels of a JPEG or a resized mask? "
        "A mask has two values, 0 and another: save each object's as a PNG of its own"
    )
