"""MP3D-Amodal: a pickle of two lists that belong together place by place."""

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from amodal_bench.formats.writers.base import Scene, Writer, WriterCard
from amodal_bench.formats.writers.coco import Categories
from amodal_bench.formats.writers.files import write_image
from amodal_bench.formats.writers.names import image_numbers
from amodal_bench.masks import rle
from amodal_bench.types import AmodalSample


class Mp3dWriter(Writer):
    """mp3d_SPLIT/*.png and MP3D_seleted_SPLIT_10.29.pkl, which is spelled like that."""

    card = WriterCard(
        title="MP3D-Amodal",
        image_ids="numbers",
        annotation_ids="counted from 0 in each image",
        category=False,
        stuff=True,
        remark="categories become numbers; the official files hold occluded objects only",
    )

    def __init__(self, out: Path, split: str, ids: Sequence[str]) -> None:
        super().__init__(out, split, ids)
        self._numbers = image_numbers(ids)
        self._categories = Categories({})
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []

    def add(self, scene: Scene) -> list[str | None]:
        number = self._numbers[scene.image_id]
        name = f"{number:06d}.png"
        write_image(self.out / f"mp3d_{self.split}" / name, scene.image)
        height, width = scene.image.shape[:2]
        self._images.append({"id": number, "file_name": name, "height": height, "width": width})
        self._annotations.append({"image_id": number, "regions": [self._region(sample) for sample in scene.samples]})
        return [f"{number}/{index}" for index in range(len(scene.samples))]

    def _region(self, sample: AmodalSample) -> dict[str, Any]:
        category = sample.query.category
        number = int(category) if category and category.isdecimal() else None
        return {
            "segmentation": dict(rle.encode(sample.amodal)),
            "visible_mask": dict(rle.encode(sample.visible)),
            "category_id": self._categories.number(category) if number is None else number,
            "isStuff": int(bool(sample.is_stuff)),
            "occlusion_rate": sample.occlusion_rate,
        }

    def finish(self) -> None:
        path = self.out / f"MP3D_seleted_{self.split}_10.29.pkl"
        path.write_bytes(pickle.dumps({"images": self._images, "annotations": self._annotations}, protocol=4))
