"""What the JSON files in the manner of COCO share: images, annotations and categories, numbered."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from pycocotools import mask as coco

from amodal_bench.formats.writers.base import Scene, Writer
from amodal_bench.formats.writers.files import Records, write_image
from amodal_bench.formats.writers.names import annotation_numbers, image_numbers
from amodal_bench.masks import rle
from amodal_bench.types import AmodalSample, Mask

NO_CATEGORY = "object"  # these files need one


def rle_json(mask: Mask) -> dict[str, Any]:
    """A compressed code as JSON files hold it."""
    code = rle.encode(mask)
    return {"size": code["size"], "counts": code["counts"].decode()}


def box(mask: Mask) -> list[float]:
    """[x, y, width, height]; zeros for an empty mask."""
    edges: list[float] = coco.toBbox(rle.encode(mask)).tolist()
    return edges


class PhotoEntry(NamedTuple):
    """An image and its number."""

    scene: Scene
    number: int


class Categories:
    """Numbers of categories: the dataset's own for those it knows, else as they come."""

    def __init__(self, known: Mapping[str, int]) -> None:
        self._numbers = dict(known)

    def number(self, name: str | None) -> int:
        """The number of a category."""
        return self._numbers.setdefault(name or NO_CATEGORY, 1 + max(self._numbers.values(), default=0))

    def entries(self) -> list[dict[str, Any]]:
        """The file's list."""
        return [{"id": number, "name": name} for name, number in self._numbers.items()]


class CocoWriter(Writer):
    """One JSON file beside the images; a layout says where they lie and how it spells the masks."""

    known: ClassVar[Mapping[str, int]] = {}  # categories that have numbers in this dataset

    def __init__(self, out: Path, split: str, ids: Sequence[str]) -> None:
        super().__init__(out, split, ids)
        self.images = image_numbers(ids)
        self.annotations = annotation_numbers(ids)
        self.categories = Categories(self.known)
        self._entries: list[dict[str, Any]] = []
        self._records = Records(out / self.file())

    @abstractmethod
    def file(self) -> str:
        """The JSON file, below the root."""

    @abstractmethod
    def image_file(self, photo: PhotoEntry) -> tuple[str, str]:
        """The image's folder, below the root, and its `file_name`."""

    @abstractmethod
    def masks(self, sample: AmodalSample) -> dict[str, Any]:
        """All keys that tell of masks."""

    def further(self, photo: PhotoEntry, sample: AmodalSample) -> tuple[str, dict[str, Any]]:
        """IMAGE/ANN as it is read back, and keys that other layouts have not."""
        return f"{photo.number}/{self.annotations[sample.query.id]}", {}

    def add(self, scene: Scene) -> list[str | None]:
        photo = PhotoEntry(scene, self.images[scene.image_id])
        folder, name = self.image_file(photo)
        write_image(self.out / folder / name, scene.image)
        height, width = scene.image.shape[:2]
        self._entries.append({"id": photo.number, "file_name": name, "height": height, "width": width})
        return [self._add(photo, sample) for sample in scene.samples]

    def _add(self, photo: PhotoEntry, sample: AmodalSample) -> str:
        name, keys = self.further(photo, sample)
        record = {
            "id": self.annotations[sample.query.id],
            "image_id": photo.number,
            "category_id": self.categories.number(sample.query.category),
            "iscrowd": 0,
        }
        self._records.add(record | keys | self.masks(sample))
        return name

    def finish(self) -> None:
        self._records.finish(images=self._entries, categories=self.categories.entries())

    def close(self) -> None:
        self._records.close()


def visible_annotation(sample: AmodalSample, amodal: Any) -> dict[str, Any]:
    """The spelling of COCOA-cls, D2SA and SAIL-VOS: `segmentation` is the amodal mask, given here."""
    hidden = sample.amodal & ~sample.visible
    keys = {
        "segmentation": amodal,
        "bbox": box(sample.amodal),
        "area": int(sample.amodal.sum()),
        "visible_mask": rle_json(sample.visible),
        "occlude_rate": sample.occlusion_rate,
    }
    return keys | ({"invisible_mask": rle_json(hidden)} if hidden.any() else {})
