"""SAIL-VOS in one COCO-like JSON file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from amodal_bench.formats.writers.base import WriterCard
from amodal_bench.formats.writers.coco import CocoWriter, PhotoEntry, rle_json, visible_annotation
from amodal_bench.formats.writers.names import TakenNames
from amodal_bench.types import AmodalSample, parse_id

from .writing import ObjectNumbers

FILES = {"train": "train.json", "val": "valid.json"}


class SailVosJson(CocoWriter):
    """SCENE/FRAME.bmp; objects are numbered within their scene (`obj_id`)."""

    card = WriterCard(
        title="SAIL-VOS, COCO-like JSON",
        image_ids="names",
        annotation_ids="whole numbers",
        category=True,
        remark="image ids become SCENE:FRAME",
    )

    def __init__(self, out: Path, split: str, ids: Sequence[str]) -> None:
        super().__init__(out, split, ids)
        self._scenes = TakenNames()
        self._objects = ObjectNumbers(ids)

    def file(self) -> str:
        return FILES[self.split]

    def image_file(self, photo: PhotoEntry) -> tuple[str, str]:
        return ".", f"{self._scenes[photo.scene.clip]}/{photo.scene.frame:06d}.bmp"

    def masks(self, sample: AmodalSample) -> dict[str, Any]:
        return visible_annotation(sample, rle_json(sample.amodal))

    def further(self, photo: PhotoEntry, sample: AmodalSample) -> tuple[str, dict[str, Any]]:
        scene = self._scenes[photo.scene.clip]
        number = self._objects.number(photo.scene.clip, parse_id(sample.query.id).annotation)
        return f"{scene}:{photo.scene.frame:06d}/{number}", {"obj_id": number, "video_id": scene}
