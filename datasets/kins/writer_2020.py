"""KINS, release 2020: both masks as lists of polygons, here along the borders of pixels."""

from typing import Any

from amodal_bench.formats.writers.base import WriterCard
from amodal_bench.formats.writers.coco import box
from amodal_bench.formats.writers.outline import polygons
from amodal_bench.types import AmodalSample

from .writing import KinsWriter


class Kins2020(KinsWriter):
    """`a_segm` and `i_segm`. The clusters of occlusion (`oco_id`, `ico_id`) are not known and left out."""

    card = WriterCard(title="KINS 2020", image_ids="numbers", annotation_ids="whole numbers", category=True)

    def file(self) -> str:
        return f"update_{self.split}_2020.json"

    def masks(self, sample: AmodalSample) -> dict[str, Any]:
        return {
            "a_segm": polygons(sample.amodal),
            "a_bbox": box(sample.amodal),
            "a_area": int(sample.amodal.sum()),
            "i_segm": polygons(sample.visible),
            "i_bbox": box(sample.visible),
            "i_area": int(sample.visible.sum()),
        }
