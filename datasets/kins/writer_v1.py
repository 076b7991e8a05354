"""KINS, release v1: the amodal mask as a list of polygons, here along the borders of pixels."""

from typing import Any

from amodal_bench.formats.writers.base import WriterCard
from amodal_bench.formats.writers.coco import box, rle_json
from amodal_bench.formats.writers.outline import polygons
from amodal_bench.types import AmodalSample

from .writing import KinsWriter

NAMES = {"train": "train", "test": "val"}


class KinsV1(KinsWriter):
    """`segmentation` (amodal) and `inmodal_seg` (visible)."""

    card = WriterCard(title="KINS v1", image_ids="numbers", annotation_ids="whole numbers", category=True)

    def file(self) -> str:
        return f"instances_{NAMES[self.split]}.json"

    def masks(self, sample: AmodalSample) -> dict[str, Any]:
        return {
            "segmentation": polygons(sample.amodal),
            "bbox": box(sample.amodal),
            "area": int(sample.amodal.sum()),
            "inmodal_seg": rle_json(sample.visible),
            "inmodal_bbox": box(sample.visible),
        }
