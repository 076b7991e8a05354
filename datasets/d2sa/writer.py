"""D2SA, as MVTec packs it."""

from typing import Any

from amodal_bench.formats.writers.base import WriterCard
from amodal_bench.formats.writers.coco import CocoWriter, PhotoEntry, rle_json, visible_annotation
from amodal_bench.types import AmodalSample

NAMES = {"train": "training_rot0", "train_augmented": "augmented", "val": "validation"}


class D2saWriter(CocoWriter):
    """d2s_amodal_images_v1/images/ and d2s_amodal_annotations_v1/."""

    card = WriterCard(title="D2SA", image_ids="numbers", annotation_ids="whole numbers", category=True)

    def file(self) -> str:
        return f"d2s_amodal_annotations_v1/D2S_amodal_{NAMES[self.split]}.json"

    def image_file(self, photo: PhotoEntry) -> tuple[str, str]:
        return "d2s_amodal_images_v1/images", f"D2S_{photo.number:06d}.png"

    def masks(self, sample: AmodalSample) -> dict[str, Any]:
        return visible_annotation(sample, rle_json(sample.amodal))
