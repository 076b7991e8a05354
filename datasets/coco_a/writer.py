"""COCO-A, as the amodalAPI packs it."""

from amodal_bench.formats.writers.base import WriterCard
from amodal_bench.formats.writers.regions import RegionWriter


class CocoAWriter(RegionWriter):
    """Photos beside annotations/COCO_amodal_SPLIT2014.json."""

    card = WriterCard(
        title="COCO-A", image_ids="numbers", annotation_ids="ANNOTATOR.ORDER", category=True, stuff=True,
        remark="annotators and orders are kept where ids have them, else the masks tell the depth order",
    )  # fmt: skip

    def file(self) -> str:
        return f"annotations/COCO_amodal_{self.split}2014.json"

    def image_file(self, number: int) -> tuple[str, str]:
        return f"{self.split}2014", f"COCO_{self.split}2014_{number:012d}.png"
