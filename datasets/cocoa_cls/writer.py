"""COCOA-cls, release with_classes."""

from typing import Any

from amodal_bench.formats.writers.base import WriterCard
from amodal_bench.formats.writers.coco import CocoWriter, PhotoEntry, rle_json, visible_annotation
from amodal_bench.types import AmodalSample


class CocoaClsWriter(CocoWriter):
    """Photos beside annotations/COCO_amodal_SPLIT2014_with_classes.json."""

    card = WriterCard(
        title="COCOA-cls (with_classes)", image_ids="numbers", annotation_ids="whole numbers", category=True
    )

    def file(self) -> str:
        return f"annotations/COCO_amodal_{self.split}2014_with_classes.json"

    def image_file(self, photo: PhotoEntry) -> tuple[str, str]:
        return f"{self.split}2014", f"COCO_{self.split}2014_{photo.number:012d}.png"

    def masks(self, sample: AmodalSample) -> dict[str, Any]:
        return visible_annotation(sample, rle_json(sample.amodal))
