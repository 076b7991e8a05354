"""The cache on disk: rendered scenes in chunk files, each written whole or not at all, read by memory map."""

import io
import itertools
import logging
import multiprocessing
import os
import sys
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from amodal_bench.files import processes
from amodal_bench.files.cache import write_atomic
from amodal_bench.types import Image, Mask

from .draw import GENERATOR_VERSION
from .families import FAMILIES
from .layout import plan
from .scene import render_object, render_scene

log = logging.getLogger(__name__)

CHUNK: Final = 25  # scenes a file: 5 MB at 256 pixels
MOST_OPEN: Final = 256  # memory maps held at once
_NAMES: Final = tuple(family.name for family in FAMILIES)

Rows = NDArray[np.void]


def row_type(resolution: int) -> np.dtype[Any]:
    """One scene on disk: image, packed masks of the target, its family's number, a check sum of these."""
    packed = (resolution * resolution // 8,)
    fields = [
        ("image", "u1", (resolution, resolution, 3)),
        ("amodal", "u1", packed),
        ("visible", "u1", packed),
    ]
    return np.dtype([*fields, ("family", "u1"), ("check", "<u4")])


def _check(row: np.void) -> int:
    """crc32 of all that stands before the check sum."""
    return zlib.crc32(row.tobytes()[:-4])


def render_rows(split: str, start: int, stop: int, resolution: int, complete: bool = False) -> Rows:
    """Scenes `start` to `stop` (not included) as rows of a chunk; `complete`: without what hides the target."""
    rows = np.zeros(stop - start, dtype=row_type(resolution))
    for row, index in zip(rows, range(start, stop), strict=True):
        image, amodal, visible, family = (_complete if complete else _occluded)(split, index, resolution)
        row["image"], row["family"] = image, _NAMES.index(family)
        row["amodal"], row["visible"] = np.packbits(amodal), np.packbits(visible)
        row["check"] = _check(row)
    return rows


def _occluded(split: str, index: int, resolution: int) -> tuple[Image, Mask, Mask, str]:
    scene = render_scene(split, index, resolution)
    target = scene.objects[scene.target]
    return scene.image, target.amodal, target.visible, target.category


def _complete(split: str, index: int, resolution: int) -> tuple[Image, Mask, Mask, str]:
    image, whole = render_object(split, index, resolution)
    layout = plan(split, index)
    return image, whole, whole, layout.things[layout.target].family.name


class Store:
    """The cached scenes of one split at one resolution, made where they are missing or damaged.

    Chunks do not depend on how many scenes a split is asked to have, but for the last one, which has a name
    of its own. Two processes that make the same chunk write the same bytes, and each rename is atomic.
    """

    def __init__(self, cache: Path, split: str, resolution: int, count: int, complete: bool = False) -> None:
        kind = "-complete" if complete else ""
        self.folder = cache / "synthetic" / f"v{GENERATOR_VERSION}-{split}-{resolution}{kind}"
        self.complete = complete
        self.split = split
        self.resolution = resolution
        self.count = count
        self._open: dict[int, Rows] = {}
        self._announced = False

    def __getstate__(self) -> dict[str, Any]:
        """Without the memory maps, which would travel to another process as arrays."""
        return {**self.__dict__, "_open": {}}

    def read(self, index: int) -> tuple[Image, Mask, Mask, str]:
        """Image, amodal mask, visible mask and family of a scene."""
        number, position = divmod(index, CHUNK)
        row = self._chunk(number)[position]
        if _check(row) != int(row["check"]):
            log.warning("%s: scene %d is damaged; rendered anew", self.path(number), index)
            self._open.pop(number, None)
            self.path(number).unlink(missing_ok=True)
            row = self._chunk(number)[position]
        shape = (self.resolution, self.resolution)
        amodal, visible = (np.unpackbits(row[name]).reshape(shape).view(np.bool_) for name in ("amodal", "visible"))
        return np.array(row["image"]), amodal, visible, _NAMES[int(row["family"])]

    def span(self, number: int) -> tuple[int, int]:
        """First scene of a chunk and the one after its last."""
        return number * CHUNK, min((number + 1) * CHUNK, self.count)

    def path(self, number: int) -> Path:
        """The file of a chunk."""
        start, stop = self.span(number)
        return self.folder / f"{start:07d}-{stop:07d}.npy"

    def make_all(self) -> None:
        """Have every chunk on disk."""
        self.make(range(-(-self.count // CHUNK)))

    def make(self, numbers: Sequence[int]) -> None:
        """Have these chunks on disk: rendered on all cores, those that exist are left alone."""
        missing = [number for number in numbers if not self.path(number).exists()]
        if not missing:
            return
        level = logging.DEBUG if self._announced else logging.INFO  # of a large split, chunk by chunk: once is enough
        self._announced = True
        log.log(level, "rendering %d x %d synthetic %s scenes into %s", len(missing), CHUNK, self.split, self.folder)
        started = time.monotonic()
        self.folder.mkdir(parents=True, exist_ok=True)
        workers = min(len(missing), os.cpu_count() or 1)
        if workers > 1 and sys.executable and multiprocessing.parent_process() is None:
            self._in_parallel(missing, workers)
        for number in missing:
            if not self.path(number).exists():
                self.render(number)
        log.log(level, "rendered in %.0f s", time.monotonic() - started)

    def render(self, number: int) -> None:
        """Render one chunk in this process and put it in its place."""
        rows = render_rows(self.split, *self.span(number), self.resolution, self.complete)
        write_atomic(self.path(number), _file_bytes(rows))

    def _in_parallel(self, missing: Sequence[int], workers: int) -> None:
        """Share the chunks out to processes; one that fails leaves its chunks to the caller, where its error shows."""
        arguments = [str(self.folder.parent.parent), self.split]
        arguments += [str(self.resolution), str(self.count), str(int(self.complete))]
        commands = [[*arguments, *map(str, missing[k::workers])] for k in range(workers)]
        codes = processes.run(f"{__package__}.worker", commands)
        if any(codes):
            log.warning(
                "%d of %d render workers failed; their scenes are rendered in this process",
                sum(map(bool, codes)),
                workers,
            )

    def _chunk(self, number: int) -> Rows:
        if number not in self._open:
            if not self.path(number).exists():
                self.make(self._next(number))
            if len(self._open) >= MOST_OPEN:
                self._open.pop(next(iter(self._open)))
            self._open[number] = self._map(number)
        return self._open[number]

    def _next(self, number: int) -> list[int]:
        """What to make when a chunk is missing: all of a small split, as many as there are cores of a large one."""
        chunks = -(-self.count // CHUNK)
        if chunks <= 12:
            return list(range(chunks))
        ahead = ((number + k) % chunks for k in range(chunks))
        missing = (k for k in ahead if not self.path(k).exists())
        return list(itertools.islice(missing, os.cpu_count() or 1))

    def _map(self, number: int) -> Rows:
        path = self.path(number)
        expected = (row_type(self.resolution), (self.span(number)[1] - self.span(number)[0],))
        for _ in range(2):
            try:
                rows: Rows = np.load(path, mmap_mode="r")
                if (rows.dtype, rows.shape) == expected:
                    return rows
                found = f"{rows.dtype} {rows.shape}"
            except (OSError, ValueError, EOFError) as error:
                found = str(error)
            log.warning("%s is damaged (%s); rendered anew", path, found)
            self.render(number)
        raise OSError(f"{path} was written and cannot be read back: {found}")


def _file_bytes(rows: Rows) -> bytes:
    file = io.BytesIO()
    np.save(file, rows)
    return file.getvalue()
