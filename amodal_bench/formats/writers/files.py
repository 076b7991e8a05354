"""Images, and JSON files that are larger than memory should hold."""

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import PIL.Image

from amodal_bench.types import Image, Mask


def write_image(path: Path, image: Image) -> None:
    """RGB uint8 (H, W, 3) without loss; the kind is the suffix, .png or .bmp."""
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(image).save(path, compress_level=1)


def write_mask(path: Path, mask: Mask) -> None:
    """Bool (H, W) as a grey PNG, 0 and 255."""
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(mask.astype(np.uint8) * np.uint8(255)).save(path, compress_level=1)


def link(path: Path, other: Path) -> None:
    """Have the same file under another name, copied where the disk knows no links."""
    if path == other:
        return
    other.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, other)
    except OSError:
        other.write_bytes(path.read_bytes())


class Records:
    """A JSON file {"annotations": [...], ...}, its records on disk as they come; it appears when it is whole."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._part = path.with_name(f".{path.name}.part")
        self._file: io.BufferedWriter = self._part.open("wb")
        self._file.write(b'{"annotations": [')
        self._separator = b"\n"

    def add(self, record: Mapping[str, Any]) -> None:
        """One more annotation."""
        self._file.write(self._separator + orjson.dumps(record))
        self._separator = b",\n"

    def finish(self, **rest: Sequence[Mapping[str, Any]]) -> None:
        """The other lists of the file."""
        tail = b"".join(b",\n" + orjson.dumps(name) + b": " + orjson.dumps(value) for name, value in rest.items())
        self._file.write(b"\n]" + tail + b"}\n")
        self.close()
        self._part.replace(self._path)

    def close(self) -> None:
        """Let go of the file, whole or not."""
        self._file.close()
