"""The objects of a COCO instances file: indexed once, cut out of their photos when asked for."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.compute as pc
from msgspec import Raw
from numpy.typing import NDArray

from amodal_bench.errors import DatasetNotReady
from amodal_bench.files.paths import shown
from amodal_bench.formats.coco import Annotation, AnnotationMasks, coco_records, read_coco
from amodal_bench.formats.indexed import Indexed, InstanceOptions
from amodal_bench.formats.missing import missing, some
from amodal_bench.formats.records import Record, present
from amodal_bench.masks import rle
from amodal_bench.masks.images import read_image
from amodal_bench.plugin import DatasetCard, Location
from amodal_bench.types import Image, Mask

FOLDERS = ("", "images", "train2017", "val2017", "train2014", "val2014")
CROWD = "crowd"


class Cutout(NamedTuple):
    """An object in its photo: RGB uint8 (H, W, 3), the mask (H, W), what it is."""

    image: Image
    mask: Mask
    category: str | None


class Instance(Annotation, gc=False, kw_only=True):
    """An annotation as COCO has it; `whole` states that nothing of the object is hidden (1), or may be (0)."""

    segmentation: Raw
    iscrowd: int | bool = 0
    whole: int | bool | None = None

    @property
    def rate(self) -> float | None:
        """An object stated to be whole has a declared occlusion rate of 0; one stated not to be has NaN."""
        return None if self.whole is None else (0.0 if self.whole else float("nan"))


class _Instances(Indexed[InstanceOptions]):
    """The index behind `Cutouts`: what is seen of each object is taken for all of it here."""

    Options = InstanceOptions

    def annotation_files(self) -> Sequence[Path]:
        return [_file(self.card, self.location.root)]

    def image_folders(self) -> Sequence[Path]:
        if self.location.images:
            return [self.location.images]
        folder = self._files[0].parent
        bases = [folder, folder.parent] if folder.name == "annotations" else [folder]
        return [base / name for base in bases for name in FOLDERS if (base / name).is_dir()]

    def records(self, files: Sequence[Path]) -> Iterator[Record]:
        yield from coco_records(files[0], read_coco(files[0], Instance), _masks)

    def beside(self, what: str) -> Path:
        return self._path.with_name(f"{self._path.stem}-{what}.arrow")

    def code_of(self, index: int) -> rle.Code:
        """The mask of an instance as run-length code."""
        row = int(self._rows[index])
        size = [int(self._index[name][row].as_py()) for name in ("height", "width")]
        return {"size": size, "counts": self._masks["amodal_counts"][row].as_py()}

    def photo_of(self, index: int) -> Image:
        """The photo of an instance; raises `BadRecord` naming one that can not be read."""
        row = self._index.slice(int(self._rows[index]), 1).to_pylist()[0]
        return read_image(self._photos.find(row["file"], row["where"]), row["height"], row["width"])

    def texts(self, name: str) -> NDArray[np.object_]:
        """A text column of the index for every instance."""
        return np.asarray(self._index[name].take(self._rows).to_pylist(), dtype=object)

    def numbers(self, name: str) -> NDArray[np.float64]:
        """A column of the index or of the masks for every instance; null is NaN."""
        return self.column(name).astype(np.float64)[self._rows]

    def states(self) -> NDArray[np.bool_]:
        """Whether an annotation says anything of its being whole."""
        return np.asarray(pc.is_valid(self._index["declared_rate"]).to_numpy()[self._rows])


def _masks(annotation: Instance) -> AnnotationMasks:
    mask = present(annotation.segmentation)
    return AnnotationMasks(mask or b"[]", None, None, None, CROWD if annotation.iscrowd else None)


class Cutouts:
    """Every annotation that has a mask and is no crowd, by number."""

    def __init__(self, location: Location, card: DatasetCard) -> None:
        # Its index has a name of its own in the cache; the split names nothing here.
        inner = Location(
            name=f"{location.name}-cutouts", root=location.root, images=location.images, cache=location.cache
        )
        kind = type("Instances", (_Instances,), {"card": card})
        self._instances: _Instances = kind(inner, next(iter(card.splits)), InstanceOptions())
        self.file = self._instances.annotation_files()[0]
        self.digest = self._instances.fingerprint()

    def __len__(self) -> int:
        return len(self._instances)

    def read(self, number: int) -> Cutout:
        """The object in its photo; raises `BadRecord` naming a photo that can not be read."""
        mask = rle.decode(self._instances.code_of(number))
        return Cutout(self._instances.photo_of(number), mask, self._instances.category_of(number))

    def beside(self, what: str) -> Path:
        """Where a table about all objects is kept: beside the index, under the digest of the annotation file."""
        return self._instances.beside(what)

    def code(self, number: int) -> rle.Code:
        """Its mask as run-length code: no photo is read."""
        return self._instances.code_of(number)

    @cached_property
    def photo_names(self) -> NDArray[np.object_]:
        """The id of each object's photo."""
        return self._instances.texts("image")

    @cached_property
    def photo_numbers(self) -> NDArray[np.int64]:
        """Objects of one photo have one number."""
        places = {name: number for number, name in enumerate(dict.fromkeys(self.photo_names))}
        return np.array([places[name] for name in self.photo_names], dtype=np.int64)

    @cached_property
    def category_names(self) -> NDArray[np.object_]:
        """What each object is."""
        return self._instances.texts("category")

    @cached_property
    def area(self) -> NDArray[np.float64]:
        """Pixels of each object."""
        return self._instances.numbers("amodal_area")

    @cached_property
    def stated(self) -> NDArray[np.object_]:
        """True or False where the annotation says whether the object is whole, else None."""
        whole = self._instances.numbers("declared_rate") == 0
        stated: NDArray[np.object_] = whole.astype(object)
        stated[~self._instances.states()] = None
        return stated

    @property
    def dropped(self) -> dict[str, int]:
        """Annotations that are no object, by reason."""
        return dict(self._instances.funnel.dropped)


def _file(card: DatasetCard, root: Path) -> Path:
    if root.is_file():
        return root
    folders = [folder for folder in (root, root / "annotations") if folder.is_dir()]
    found = [path for folder in folders for path in shown(folder) if _is_instances(path)]
    if not found:
        raise missing(card, root, "a COCO instances file")
    if len(found) > 1:
        names: list[Any] = [str(path.relative_to(root)) for path in found]
        raise DatasetNotReady(f"{card.title}: {root} holds {some(names)}: which is meant? Name it: --root {found[0]}")
    return found[0]


def _is_instances(path: Path) -> bool:
    name = path.name.lower()
    return path.is_file() and name.startswith("instances") and name.endswith((".json", ".json.gz"))
