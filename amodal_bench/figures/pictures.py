"""One instance as small pictures: cropped around the object, masks outlined or tinted, errors in five colours."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from amodal_bench.types import AmodalSample, Image, Mask

Rgb = tuple[int, int, int]
MARGIN = 0.35  # of the object's longer side, all around
VISIBLE_COLOUR: Rgb = (230, 159, 0)
TRUTH_COLOUR: Rgb = (0, 158, 115)
PREDICTED_COLOUR: Rgb = (86, 180, 233)
# What a pixel of the error map says; Okabe & Ito's colours, and `spill` is striped as well.
ERRORS: Mapping[str, Rgb] = {
    "visible, found": (158, 166, 176),
    "hidden, found": (0, 158, 115),
    "visible, missed": (240, 228, 66),
    "hidden, missed": (0, 114, 178),
    "spill": (213, 94, 0),
}


class CropBox(NamedTuple):
    """A square window in pixels of the image; it may reach outside."""

    top: int
    left: int
    side: int


def crop_around(mask: Mask, margin: float = MARGIN) -> CropBox:
    """The square around a mask's box with a margin, not wider than the image needs."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    height, width = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
    side = min(int(np.ceil(max(height, width) * (1 + 2 * margin))), max(mask.shape))
    top = _start(int(rows[0]) + height // 2, side, mask.shape[0])
    left = _start(int(columns[0]) + width // 2, side, mask.shape[1])
    return CropBox(top, left, side)


def _start(centre: int, side: int, length: int) -> int:
    """Where a window begins: inside the image where it fits, else centred on the image."""
    if side >= length:
        return (length - side) // 2
    return int(np.clip(centre - side // 2, 0, length - side))


def cut(image: Image, crop: CropBox, size: int) -> Image:
    """The window (size, size, 3) of an image; what lies outside is grey."""
    window = np.full((crop.side, crop.side, 3), 128, dtype=np.uint8)
    _put(window, image, crop)
    way = PIL.Image.Resampling.LANCZOS if crop.side > size else PIL.Image.Resampling.BILINEAR
    picture = PIL.Image.fromarray(window).resize((size, size), way)
    return np.asarray(picture)


def cut_mask(mask: Mask, crop: CropBox, size: int) -> Mask:
    """The window (size, size) of a mask."""
    window = np.zeros((crop.side, crop.side), dtype=np.uint8)
    _put(window, mask, crop)
    picture = PIL.Image.fromarray(window * np.uint8(255)).resize((size, size), PIL.Image.Resampling.BILINEAR)
    return np.asarray(picture) > 127


def _put(window: NDArray[np.uint8], whole: NDArray[np.uint8] | Mask, crop: CropBox) -> None:
    top, left = max(crop.top, 0), max(crop.left, 0)
    bottom, right = (min(s + crop.side, n) for s, n in zip(crop[:2], whole.shape[:2], strict=True))
    window[top - crop.top : bottom - crop.top, left - crop.left : right - crop.left] = whole[top:bottom, left:right]


def outline(mask: Mask, width: int) -> Mask:
    """The inner rim of a mask, `width` pixels wide."""
    inner = np.pad(mask, width, constant_values=True)
    for axis in (0, 1):
        rolled = [np.roll(inner, shift, axis) for shift in range(-width, width + 1)]
        inner = np.logical_and.reduce(rolled)
    rim: Mask = mask & ~inner[width:-width, width:-width]
    return rim


def tinted(picture: Image, mask: Mask, colour: Rgb, strength: float = 0.45) -> Image:
    """A picture with a mask filled in colour and outlined."""
    result = picture.astype(np.float64)
    result[mask] = (1 - strength) * result[mask] + strength * np.asarray(colour)
    width = max(1, len(picture) // 110)
    result[outline(mask, width)] = colour
    return np.asarray(result.round(), dtype=np.uint8)


def error_map(picture: Image, predicted: Mask, amodal: Mask, visible: Mask) -> Image:
    """What was found, missed and spilled, over a faint grey picture."""
    grey = picture.astype(np.float64) @ (0.299, 0.587, 0.114)
    result = np.repeat((255 - (255 - grey) * 0.22)[..., None], 3, axis=2)
    parts = {
        "visible, found": predicted & amodal & visible,
        "hidden, found": predicted & amodal & ~visible,
        "visible, missed": ~predicted & amodal & visible,
        "hidden, missed": ~predicted & amodal & ~visible,
        "spill": predicted & ~amodal,
    }
    for name, part in parts.items():
        result[part] = 0.12 * result[part] + 0.88 * np.asarray(ERRORS[name])
    rows, columns = np.indices(predicted.shape)
    stripes = parts["spill"] & ((rows + columns) // max(2, len(picture) // 90) % 4 == 0)
    result[stripes] = (120, 40, 0)
    return np.asarray(result.round(), dtype=np.uint8)


class Panels(NamedTuple):
    """Pictures (size, size, 3) of one instance; the two mappings have one entry a method."""

    image: Image
    visible: Image
    truth: Image
    predicted: dict[str, Image]
    errors: dict[str, Image]


def panels(sample: AmodalSample, predictions: Mapping[str, Mask], size: int, *, masks_too: bool = True) -> Panels:
    """All pictures of an instance; `visible` shows the mask that the methods were given.

    Without `masks_too` there are no pictures of the predictions alone, which the error maps show as well.
    """
    crop = crop_around(sample.amodal | sample.visible)
    picture = cut(sample.query.image, crop, size)
    amodal, visible = (cut_mask(mask, crop, size) for mask in (sample.amodal, sample.visible))
    query_visible = cut_mask(sample.query.visible, crop, size)
    masks = {name: cut_mask(mask, crop, size) for name, mask in predictions.items()}
    return Panels(
        image=picture,
        visible=tinted(picture, query_visible, VISIBLE_COLOUR),
        truth=tinted(picture, amodal, TRUTH_COLOUR),
        predicted={name: tinted(picture, mask, PREDICTED_COLOUR) for name, mask in masks.items() if masks_too},
        errors={name: error_map(picture, mask, amodal, visible) for name, mask in masks.items()},
    )
