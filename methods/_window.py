"""The window of the image that the network sees, into the network's frame and back. No torch here."""

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from pydantic import Field

from amodal_bench.masks.boxes import Window, enlarged, extent
from amodal_bench.plugin import Settings
from amodal_bench.types import Image, Mask

Probability = NDArray[np.float32]  # (H, W) in [0, 1]


class CropSettings(Settings):
    """What part of the image the network sees.

    `box`: the visible mask's box, `enlarge` times as long and wide, cut at the image's edge. `square`: a square
    of `enlarge` times the box's longer side but at least `min_side` of the image's longer side, moved into the image
    and cut where it is larger. `none`: the whole image. All are resized to the network's size, `masks` by
    nearest pixel or by area.
    """

    old_names: ClassVar = {"least": "min_side"}
    kept_names: ClassVar = {"min_side": "least"}

    mode: Literal["box", "square", "none"] = "box"
    enlarge: float = Field(default=2.0, ge=1.0)
    min_side: float = Field(default=0.0, ge=0.0, le=1.0)
    masks: Literal["nearest", "area"] = "nearest"


class RegionSettings(CropSettings):
    """As `CropSettings`, but the whole image unless `mode` is given too, and masks by area."""

    mode: Literal["box", "square", "none"] = "none"
    masks: Literal["nearest", "area"] = "area"


def find_window(
    visible: Mask, crop: CropSettings, enlarge: float | None = None, shift: tuple[float, float] = (0, 0)
) -> Window:
    """The window around a visible mask; `enlarge` and `shift` (shares of its sides) are for augmentation."""
    factor = crop.enlarge if enlarge is None else enlarge
    if crop.mode == "none":
        return Window(0, 0, *visible.shape)
    if crop.mode == "box":
        return enlarged(visible, factor, shift)
    return _square(visible, factor, crop.min_side, shift)


def recall(amodal: Mask, window: Window) -> float:
    """|amodal inside the window| / |amodal|: no prediction can find more."""
    return float(amodal[window.slices].sum() / amodal.sum())


def _square(visible: Mask, factor: float, min_side: float, shift: tuple[float, float]) -> Window:
    """As `CropSettings` says: moved into the image first, cut only where it is larger than the image."""
    top, left, bottom, right = extent(visible)
    side = max(1, round(max(factor * max(bottom - top + 1, right - left + 1), min_side * max(visible.shape))))
    spans = []
    for first, last, limit, move in (
        (top, bottom, visible.shape[0], shift[0]),
        (left, right, visible.shape[1], shift[1]),
    ):
        length = min(side, limit)
        start = round((first + last + 1) / 2 + move * side - length / 2)
        start = min(max(0, start), limit - length)
        spans.append((start, start + length))
    return Window(spans[0][0], spans[1][0], spans[0][1], spans[1][1])


def cut_image(image: Image, window: Window, size: int) -> Image:
    """The window as uint8 (size, size, 3), bilinear with a wider filter where it shrinks; aspect is not kept."""
    part = Pillow.fromarray(np.ascontiguousarray(image[window.slices]))
    return np.asarray(part.resize((size, size), Pillow.Resampling.BILINEAR))


def cut_mask(mask: Mask, window: Window, size: int, by_area: bool) -> Mask:
    """The window as bool (size, size), by nearest pixel or by majority of the area."""
    part = Pillow.fromarray(np.ascontiguousarray(mask[window.slices]).view(np.uint8) * np.uint8(255))
    how = Pillow.Resampling.BOX if by_area else Pillow.Resampling.NEAREST
    return np.asarray(part.resize((size, size), how)) > 127


def cut_visible(mask: Mask, window: Window, size: int, by_area: bool) -> Mask:
    """As `cut_mask`, but a mask that would vanish keeps one pixel: where its middle is."""
    small = cut_mask(mask, window, size, by_area)
    if not small.any():
        rows, columns = np.nonzero(mask[window.slices])
        middle = len(rows) // 2
        height, width = window.shape
        small[rows[middle] * size // height, columns[middle] * size // width] = True
    return small


def paste(probability: Probability, window: Window, shape: tuple[int, int], above: float = 0.5) -> Mask:
    """Bring (size, size) back to the window, bilinear, and to a full frame of `shape`: over `above` is foreground.

    Probabilities are cut at a half, logits at 0.
    """
    height, width = window.shape
    part = Pillow.fromarray(probability).resize((width, height), Pillow.Resampling.BILINEAR)
    frame = np.zeros(shape, dtype=np.bool_)
    frame[window.slices] = np.asarray(part) > above
    return frame
