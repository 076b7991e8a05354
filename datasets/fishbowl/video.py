"""Frames of a video file, for clips that are read in order."""

import threading
from collections import OrderedDict
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from amodal_bench.errors import BadRecord, DatasetNotReady
from amodal_bench.files.stamp import remembered
from amodal_bench.masks.file_kind import unlike
from amodal_bench.masks.images import check_size
from amodal_bench.types import Image

KEPT_FRAMES = 4


def need_decoder(path: Path) -> None:
    """Raise `DatasetNotReady` where the frames of `path` cannot be decoded for want of PyAV."""
    if find_spec("av") is None:
        raise DatasetNotReady(
            f"{path}: decoding video frames needs PyAV: pip install 'amodal-bench[video]' "
            "(or extract them beside it: frames/00000.png, frames/00001.png, ...)"
        )


def read_frame(path: Path, index: int) -> Image:
    """RGB uint8 (H, W, 3), read-only: the frame shown at `index`, from 0.

    Frames read in order are decoded once. Raises `BadRecord` naming the file where it is missing, damaged or
    has no such frame.
    """
    return _open(path).read(index)


@remembered(2)
def _open(path: Path) -> "_Video":
    return _Video(path)


class _Video:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, Image] = OrderedDict()
        self._frames: Iterator[Image] = iter(())
        self._next: int | None = None  # None: nothing is being decoded

    def read(self, index: int) -> Image:
        with self._lock:
            if index not in self._kept:
                self._decode_to(index)
            return self._kept[index]

    def _decode_to(self, index: int) -> None:
        if self._next is None or index < self._next:
            self._frames, self._next = _decode(self._path), 0
        while self._next <= index:
            try:
                frame = next(self._frames)
            except StopIteration:
                count, self._next = self._next, None
                raise BadRecord(f"{self._path}: frame {index} was asked for, it has {count} frames") from None
            except BadRecord:
                self._next = None
                raise
            self._kept[self._next] = frame
            self._next += 1
            if len(self._kept) > KEPT_FRAMES:
                self._kept.popitem(last=False)


def _decode(path: Path) -> Iterator[Image]:
    need_decoder(path)
    import av

    damage = (av.error.FFmpegError, IndexError)  # looked up now: a generator may be closed after av is gone
    try:
        # Of the kinds that the generator writes: others may name further files or addresses to open.
        with av.open(str(path), format="mp4") as container:
            stream = container.streams.video[0]
            check_size(stream.height, stream.width, str(path))
            for frame in container.decode(video=0):
                yield _as_rgb(frame)
    except damage as error:
        raise BadRecord(f"{path}: not a readable video{unlike(path, 'a video')} ({error})") from None


def _as_rgb(frame: Any) -> Image:
    image: Image = frame.to_ndarray(format="rgb24")
    image.setflags(write=False)
    return image
