"""What FishBowl's layouts have in common: fish with masks by frame, in clips."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from amodal_bench.errors import BadRecord
from amodal_bench.masks import rle
from amodal_bench.types import MOST_PIXELS, Image


@dataclass(frozen=True, slots=True)
class FrameMasks:
    """Masks of one fish by frame number, spelled as in the file; a frame may be missing."""

    file: Path
    by_frame: Mapping[int, Any]


@dataclass(frozen=True, slots=True)
class Fish:
    """One fish of one clip. `amodal` is None where the fish was not rendered alone."""

    id: str
    category: str | None
    visible: FrameMasks
    amodal: FrameMasks | None
    rates: Mapping[int, float] = field(default_factory=dict)  # occlusion rates that the file states

    def frames(self) -> list[int]:
        """The frames in which it has a mask of either kind, sorted."""
        return sorted(self.visible.by_frame.keys() | (self.amodal.by_frame.keys() if self.amodal else ()))

    def size(self) -> tuple[int, int]:
        """(height, width) of its first mask; raises `BadRecord`."""
        value = next((value for value in self.visible.by_frame.values() if value is not None), None)
        only = value[0] if isinstance(value, list) and len(value) == 1 else value
        size = only.get("size") if isinstance(only, dict) else None
        if not (isinstance(size, list | tuple) and len(size) == 2 and all(type(n) in (int, float) for n in size)):
            raise BadRecord(f"{self.visible.file}: fish {self.id}: its first mask is not an RLE of a known size")
        if not all(1 <= n <= MOST_PIXELS and n == int(n) for n in size):
            raise BadRecord(f"{self.visible.file}: fish {self.id}: its first mask is of size {size}")
        return int(size[0]), int(size[1])

    def code(self, masks: FrameMasks, frame: int) -> rle.Code | None:
        """A mask of this fish as RLE, None where the file has none for that frame; raises `BadRecord`."""
        value = masks.by_frame.get(frame)
        if value is None:
            return None
        height, width = self.size()
        return rle.from_annotation(value, height, width, f"{masks.file}: fish {self.id}, frame {frame}")


class FishLayout(ABC):
    """Where the clips of one split lie, and how to read one."""

    @abstractmethod
    def clips(self) -> list[str]:
        """Names of the clips, sorted."""

    @abstractmethod
    def fish(self, clip: str) -> Iterator[Fish]:
        """The fish of a clip in the order of the file; raises `BadRecord`."""

    @abstractmethod
    def one(self, clip: str, fish: str) -> Fish:
        """One fish that the index names; raises `BadRecord`."""

    @abstractmethod
    def image(self, clip: str, frame: int) -> Image:
        """RGB uint8 (H, W, 3) of a frame; raises `BadRecord`."""

    @abstractmethod
    def fingerprint(self) -> str:
        """sha256 (hex) of what the masks are read from."""
