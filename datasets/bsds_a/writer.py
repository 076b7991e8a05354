"""BSDS-A: the format of COCO-A beside the photos of BSDS500."""

from amodal_bench.formats.writers.base import WriterCard
from amodal_bench.formats.writers.regions import RegionWriter


class BsdsAWriter(RegionWriter):
    """Photos below BSR/BSDS500 and annotations/BSDS_amodal_SPLIT.json."""

    card = WriterCard(
        title="BSDS-A", image_ids="numbers", annotation_ids="ANNOTATOR.ORDER", category=True, stuff=True,
        remark="as coco_a; other annotators than the first are read with --set dataset.annotator=all",
    )  # fmt: skip

    def file(self) -> str:
        return f"annotations/BSDS_amodal_{self.split}.json"

    def image_file(self, number: int) -> tuple[str, str]:
        return f"BSR/BSDS500/data/images/{self.split}", f"{number}.png"
