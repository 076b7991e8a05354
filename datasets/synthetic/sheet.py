"""The contact sheet: `python -m amodal_bench.datasets.synthetic.sheet docs/images/synthetic.png`."""

import sys
from pathlib import Path
from typing import Final

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from amodal_bench.text import streams
from amodal_bench.types import Image, Mask

from .scene import render_object, render_scene

COLUMNS, ROWS, CELL, GAP = 6, 2, 256, 4  # each row of scenes has a row of answers below it
SHOWN: Final = 208  # pixels of a cell in the file
_HIDDEN = (255, 40, 40)


def _tinted(image: Image, mask: Mask, tint: tuple[int, int, int]) -> Image:
    out = image.copy()
    out[mask] = (0.55 * out[mask] + 0.45 * np.array(tint)).astype(np.uint8)
    return out


def _outlined(image: Image, mask: Mask) -> Image:
    """The image with a thin white line just inside the mask."""
    inner = mask.copy()
    inner[1:] &= mask[:-1]
    inner[:-1] &= mask[1:]
    inner[:, 1:] &= mask[:, :-1]
    inner[:, :-1] &= mask[:, 1:]
    return _tinted(image, mask & ~inner, (255, 255, 255))


def sheet(split: str = "test") -> NDArray[np.uint8]:
    """Scenes with the target's visible outline; below each, the target whole, what was hidden in red."""
    pitch = CELL + GAP
    page = np.full((2 * ROWS * pitch - GAP, COLUMNS * pitch - GAP, 3), 24, dtype=np.uint8)
    for index in range(COLUMNS * ROWS):
        scene = render_scene(split, index, CELL)
        target = scene.objects[scene.target]
        whole, amodal = render_object(split, index, CELL)
        answer = _outlined(_tinted(whole, amodal & ~target.visible, _HIDDEN), amodal)
        top, left = 2 * (index // COLUMNS) * pitch, index % COLUMNS * pitch
        page[top : top + CELL, left : left + CELL] = _outlined(scene.image, target.visible)
        page[top + pitch : top + pitch + CELL, left : left + CELL] = answer
    return page


def main(arguments: list[str]) -> None:
    """Write the sheet to the path given."""
    (path,) = arguments
    page = PIL.Image.fromarray(sheet())
    size = (page.width * SHOWN // CELL, page.height * SHOWN // CELL)
    small = page.resize(size, PIL.Image.Resampling.LANCZOS)
    coarse = (np.asarray(small) & 0xF8) + 3  # a third of the bytes, and nothing to see
    PIL.Image.fromarray(coarse.astype(np.uint8)).save(Path(path), optimize=True)


if __name__ == "__main__":
    streams.guard()
    main(sys.argv[1:])
