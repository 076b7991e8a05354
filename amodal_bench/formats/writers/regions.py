"""The region format of the amodalAPI: one record an image and annotator, its regions from front to back."""

import re
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from amodal_bench.formats.writers.base import Scene, Writer
from amodal_bench.formats.writers.coco import rle_json
from amodal_bench.formats.writers.depth import depth_order, occlusions
from amodal_bench.formats.writers.files import Records, write_image
from amodal_bench.formats.writers.names import image_numbers
from amodal_bench.formats.writers.outline import polygon
from amodal_bench.types import AmodalSample, parse_id

CARRIED = re.compile(r"(\d{1,9})\.(\d{1,9})")


class RegionName(NamedTuple):
    """Who drew a region, and its place in the depth order."""

    annotator: str
    order: int


class RegionWriter(Writer):
    """Annotators and orders are kept where all annotation parts of the ids are such; else the masks tell the order."""

    def __init__(self, out: Path, split: str, ids: Sequence[str]) -> None:
        super().__init__(out, split, ids)
        self._images = image_numbers(ids)
        self._carried = all(CARRIED.fullmatch(parse_id(id).annotation) for id in ids)
        self._records = Records(out / self.file())
        self._entries: list[dict[str, Any]] = []
        self._count = 0

    @abstractmethod
    def file(self) -> str:
        """The JSON file, below the root."""

    @abstractmethod
    def image_file(self, number: int) -> tuple[str, str]:
        """The image's folder, below the root, and its `file_name`."""

    def add(self, scene: Scene) -> list[str | None]:
        number = self._images[scene.image_id]
        folder, name = self.image_file(number)
        write_image(self.out / folder / name, scene.image)
        height, width = scene.image.shape[:2]
        self._entries.append({"id": number, "file_name": name, "height": height, "width": width})
        names = self._carried_names(scene) if self._carried else _names(scene.samples)
        annotators = list(dict.fromkeys(name.annotator for name in names))
        for annotator in annotators:
            pairs = zip(names, scene.samples, strict=True)
            self._add(number, [(name.order, sample) for name, sample in pairs if name.annotator == annotator])
        return [f"{number}/{annotators.index(name.annotator)}.{name.order}" for name in names]

    def finish(self) -> None:
        self._records.finish(images=self._entries)

    def close(self) -> None:
        self._records.close()

    def _carried_names(self, scene: Scene) -> list[RegionName]:
        parts = (parse_id(sample.query.id).annotation.split(".") for sample in scene.samples)
        return [RegionName(annotator, int(order)) for annotator, order in parts]

    def _add(self, image: int, regions: list[tuple[int, AmodalSample]]) -> None:
        regions.sort(key=lambda region: region[0])
        self._count += 1
        samples = [sample for _, sample in regions]
        pairs = sorted((regions[i][0], regions[j][0]) for i, j in occlusions(samples))
        record = {
            "id": self._count,
            "image_id": image,
            "author": "",
            "url": "",
            "size": len(regions),
            "depth_constraint": ",".join(f"{front}-{behind}" for front, behind in pairs),
            "regions": [_region(order, sample) for order, sample in regions],
        }
        self._records.add(record)


def _names(samples: Sequence[AmodalSample]) -> list[RegionName]:
    order = depth_order(len(samples), occlusions(samples))
    return [RegionName("0", 1 + order.index(index)) for index in range(len(samples))]


def _region(order: int, sample: AmodalSample) -> dict[str, Any]:
    """`visible_mask` stands only where it differs from the amodal one, as in the released files."""
    region = {
        "order": order,
        "name": sample.query.category or "",
        "isStuff": int(bool(sample.is_stuff)),
        "area": int(sample.amodal.sum()),
        "occlude_rate": sample.occlusion_rate,
        "segmentation": polygon(sample.amodal),
    }
    if (sample.visible != sample.amodal).any():
        region["visible_mask"] = rle_json(sample.visible)
        region["invisible_mask"] = rle_json(sample.amodal & ~sample.visible)
    return region
