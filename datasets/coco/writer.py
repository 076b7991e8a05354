"""COCO instances with amodal and visible masks: the layout for tools that know COCO."""

from typing import Any

from amodal_bench.formats.writers.base import WriterCard
from amodal_bench.formats.writers.coco import CocoWriter, PhotoEntry, rle_json, visible_annotation
from amodal_bench.types import AmodalSample


class OwnJsonWriter(CocoWriter):
    """SPLIT.json beside images/."""

    card = WriterCard(
        title="COCO instances (segmentation is amodal, with visible_mask)",
        image_ids="numbers",
        annotation_ids="whole numbers",
        category=True,
        stuff=True,
    )

    def file(self) -> str:
        return f"{self.split}.json"

    def image_file(self, photo: PhotoEntry) -> tuple[str, str]:
        return "images", f"{photo.number:06d}.png"

    def masks(self, sample: AmodalSample) -> dict[str, Any]:
        return visible_annotation(sample, rle_json(sample.amodal)) | {"isStuff": int(bool(sample.is_stuff))}
