"""KINS, release 2020: both masks as lists of polygons, here along the borders of pixels."""

from typing import Any

from amodal_bench.export import WriterCard
from amodal_bench.types import AmodalSample

from ._coco import box
from ._kins import KinsWriter
from ._outline import polygons


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
