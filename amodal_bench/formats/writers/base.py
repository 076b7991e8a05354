"""What a writer of an official layout is: images come one by one, files go into a folder."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from amodal_bench.funnel import Funnel
from amodal_bench.types import AmodalSample, Image

_DIGITS = 9  # of a frame's number, which becomes a file's name


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """One image with its instances, at least one. Outside videos `clip` is the image and `frame` is 0."""

    image_id: str
    clip: str
    frame: int
    image: Image
    samples: Sequence[AmodalSample]


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterCard:
    """What a layout carries beside images and masks. Both masks of every instance come back to the pixel.

    `ids`: as they are (`names`), or as whole numbers (`numbers`: kept where they are such, else counted).
    """

    title: str
    image_ids: Literal["names", "numbers"]
    annotation_ids: str  # in words
    category: bool
    stuff: bool = False
    remark: str = ""  # what the layout asks for that a dataset may not have


class Writer(ABC):
    """Write one layout into an empty folder. datasets/NAME/writer.py holds one subclass.

    `ids` are those of all instances that will come, in order. Images come one by one and are not kept; a file
    that can only be whole at the end is written in `finish`.
    """

    card: ClassVar[WriterCard]

    def __init__(self, out: Path, split: str, ids: Sequence[str]) -> None:
        self.out = out
        self.split = split
        self.ids = ids
        self.funnel = Funnel()

    @abstractmethod
    def add(self, scene: Scene) -> list[str | None]:
        """Write one image; IMAGE/ANN of each sample as the layout's reader spells it, None for one left out.

        What is left out is counted in `funnel`.
        """

    def finish(self) -> None:  # noqa: B027
        """Write what needed all images. Not called after an error."""

    def splits(self, names: Sequence[str]) -> Sequence[str]:
        """The split that each IMAGE/ANN is read back in, for a layout that does not leave it to the writer."""
        return [self.split] * len(names)

    def close(self) -> None:  # noqa: B027
        """Let go of open files, whatever happened."""


def clip_and_frame(image_id: str, group: str) -> tuple[str, int]:
    """`CLIP:FRAME` of an image that belongs to a video, else the image and 0."""
    clip, colon, frame = image_id.rpartition(":")
    numbered = colon and clip == group and frame.isdecimal() and len(frame) <= _DIGITS
    return (clip, int(frame)) if numbered else (image_id, 0)
