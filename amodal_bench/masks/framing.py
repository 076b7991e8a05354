"""A photo in the frame whose pixels its annotation counts: cut or filled at right and bottom, never resized."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from amodal_bench.errors import BadRecord
from amodal_bench.types import Image

RESIZED = 1 / 32  # sides that differ by more, and in one proportion, are those of a resized copy


class Facts(NamedTuple):
    """What the file of a photo says: pixels, and the EXIF orientation (1: as stored)."""

    height: int
    width: int
    orientation: int
    several: bool  # frames or pages, of which the first is read


def framed(path: Path, image: Image, facts: Facts, height: int, width: int, margin: float) -> Image:
    """`image` in a frame of `height` x `width`, what is not in it black.

    Raises `BadRecord` where a side differs by more than `margin` of it, and where the file is a resized copy.
    """
    if (facts.height, facts.width) == (height, width):
        return image
    if not fits(facts, height, width, margin):
        raise BadRecord(
            f"{path} is {facts.width} x {facts.height}, its annotation says {width} x {height} (width x height): "
            f"{misfit(facts, height, width)}"
        )
    frame = np.zeros((height, width, 3), dtype=np.uint8)
    part = image[:height, :width]
    frame[: part.shape[0], : part.shape[1]] = part
    return frame


def fits(facts: Facts, height: int, width: int, margin: float) -> bool:
    """Whether no side has to change by more than `margin` of it, and not as a resized copy's would."""
    off = max(abs(facts.width / width - 1), abs(facts.height / height - 1))
    return off <= margin and not _resized(facts, height, width)


def misfit(facts: Facts, height: int, width: int) -> str:
    """Why a photo is not in its annotation's frame, in words."""
    if facts.orientation >= 5 and (facts.width, facts.height) == (height, width):
        return (
            f"its EXIF entry (orientation {facts.orientation}) asks viewers to turn it, and turned it would fit. No "
            "EXIF rotation is applied: save the image with its pixels turned"
        )
    if _resized(facts, height, width):
        return "a resized copy; annotations count pixels of the original, and images are not resized"
    return "another shape, so it is not the image that was annotated"


def _resized(facts: Facts, height: int, width: int) -> bool:
    wide, high = facts.width / width, facts.height / height
    return min(abs(wide - 1), abs(high - 1)) > RESIZED and abs(wide - high) <= 1 / min(height, width)
