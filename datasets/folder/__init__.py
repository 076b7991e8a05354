"""Your own data as image files: the image, and for every object what is seen of it and the whole of it.

docs/datasets.md tells how the files are named.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from amodal_bench.errors import BadRecord, DatasetNotReady
from amodal_bench.files.cache import contents, manifest_digest
from amodal_bench.files.paths import id_part
from amodal_bench.formats.areas import APART, NO_AMODAL, NO_VISIBLE
from amodal_bench.formats.index import cached, unchanged
from amodal_bench.formats.missing import missing, some
from amodal_bench.formats.walk import files_below
from amodal_bench.masks.images import SUFFIXES, image_size, read_image, read_mask
from amodal_bench.plugin import Dataset, DatasetCard, Location, Settings
from amodal_bench.types import AmodalQuery, AmodalSample, Mask, parse_id

from .id_map import read_id_map
from .pairing import ObjectNames, paired

log = logging.getLogger(__name__)

CARD = DatasetCard(
    title="your own data in folders",
    licence="your own",
    get="put it there yourself: for every object one image and two masks of the same name and size",
    tree="""
[<split>/]image/NAME.png     (.jpg, .jpeg, .bmp, .gif, .tif, .webp, .ppm; or images/; sub-folders too)
[<split>/]visible/NAME.png   what is seen: two values, of which 0 is outside
[<split>/]amodal/NAME.png    the whole object: likewise
or, of several objects:      visible/NAME_1.png and amodal/NAME_1.png, NAME_2.png, ...
""",
    splits={"train": {}, "val": {}, "test": {}},
    default_split="test",
)
IMAGE_FOLDERS = ("image", "images")
SCHEMA = pa.schema(
    [
        pa.field("image", pa.string(), nullable=False),
        pa.field("annotation", pa.string(), nullable=False),
        pa.field("visible", pa.int64()),  # areas in pixels; null: not readable, or of another size than its image
        pa.field("amodal", pa.int64()),
        pa.field("outside", pa.int64()),  # visible pixels outside the amodal mask
    ],
    metadata={"revision": "2"},
)
Files = dict[str, Path]  # by name below the folder, without suffix


class FolderOptions(Settings):
    """`id_maps`: a mask holds the numbers of all objects of its image, 0 is nobody's, and each becomes an instance."""

    id_maps: bool = False


@dataclass(frozen=True, slots=True)
class MaskFile:
    """Where a mask stands: a file of its own, or one value of an id map."""

    path: Path
    number: int | None = None

    def read(self) -> Mask:
        """The mask; raises `BadRecord`."""
        if self.number is None:
            return read_mask(self.path)
        mask: Mask = read_id_map(self.path) == self.number
        return mask


class Object(NamedTuple):
    """The files of one object."""

    image: Path
    visible: MaskFile
    amodal: MaskFile

    def masks(self) -> tuple[Mask, Mask]:
        """Both masks; raises `BadRecord` where one cannot be read or is not of the image's size."""
        size = image_size(self.image)
        masks = self.visible.read(), self.amodal.read()
        for source, mask in zip((self.visible, self.amodal), masks, strict=True):
            if mask.shape != size:
                raise BadRecord(
                    f"{source.path} is {mask.shape[1]} x {mask.shape[0]}, its image {self.image} is "
                    f"{size[1]} x {size[0]} (width x height): they must be equal"
                )
        return masks


class Folder(Dataset[FolderOptions]):
    """Ids are `folder/SPLIT/NAME/NUMBER`. The first time, every mask is decoded once to find the empty ones."""

    card = CARD
    Options = FolderOptions

    def __init__(self, location: Location, split: str, options: FolderOptions) -> None:
        super().__init__(location, split, options)
        root = location.root
        base = root / split
        if not base.is_dir():
            base = root
            if split != CARD.default_split:
                log.warning("%s has no folder %s: all of it is read as that split", root, split)
        self._files = {
            "image": _list(location.images or _first_of(base, IMAGE_FOLDERS), SUFFIXES, root),
            "visible": _list(base / "visible", SUFFIXES, root),
            "amodal": _list(base / "amodal", SUFFIXES, root),
        }
        self._names = _pairs(self._files, base)
        self._fingerprint = self._digest()
        measure = unchanged(self._measure, self._digest, self._fingerprint)
        maps = "-maps" if options.id_maps else ""
        self._table = cached(location.cache / "index" / f"folder-{self._fingerprint}{maps}.arrow", SCHEMA, measure)
        self._ids = self._choose(self._table)

    def ids(self) -> Sequence[str]:
        """By image and number."""
        return self._ids

    def fingerprint(self) -> str:
        """Of the names and bytes of images and masks."""
        return self._fingerprint

    def __getitem__(self, index: int) -> AmodalSample:
        id = self._ids[index]
        image, annotation = parse_id(id)[2:]
        found = self._object(image, annotation)
        visible, amodal = found.masks()
        query = AmodalQuery(id, image, read_image(found.image), visible)
        return AmodalSample(query, amodal)

    def _object(self, image: str, annotation: str) -> Object:
        names = self._names[image, "0" if self.options.id_maps else annotation]
        number = int(annotation) if self.options.id_maps else None
        return Object(
            self._files["image"][image],
            MaskFile(self._files["visible"][names.visible], names.number if number is None else number),
            MaskFile(self._files["amodal"][names.amodal], number),
        )

    def _digest(self) -> str:
        entries: list[tuple[str, str]] = []
        for kind, files in self._files.items():
            name, path = next(iter(files.items()))
            folder = path.parents[name.count("/")]
            names = [path.relative_to(folder).as_posix() for path in files.values()]
            entries += contents(folder, names, self.location.cache, f"{kind}/")
        return manifest_digest(entries)

    def _measure(self) -> pa.Table:
        rows = [
            {"image": image, "annotation": number, **self._areas(image, number)}
            for image, annotation in self._names
            for number in (self._numbers(image, annotation) if self.options.id_maps else [annotation])
        ]
        return pa.Table.from_pylist(rows, schema=SCHEMA)

    def _numbers(self, image: str, annotation: str) -> Sequence[str]:
        """The objects of an image's id maps; one that cannot be read is kept as object 0, which tells why."""
        names = self._names[image, annotation]
        files = self._files["visible"][names.visible], self._files["amodal"][names.amodal]
        try:
            values = set().union(*(np.unique(read_id_map(file)).tolist() for file in files))
        except BadRecord:
            return ["0"]
        return [str(value) for value in sorted(values - {0})]

    def _areas(self, image: str, annotation: str) -> dict[str, int]:
        try:
            visible, amodal = self._object(image, annotation).masks()
        except BadRecord:
            return {}  # kept, so that it shows as an error of this instance, with its message
        areas = {"visible": visible, "amodal": amodal, "outside": visible & ~amodal}
        return {what: int(np.count_nonzero(mask)) for what, mask in areas.items()}

    def _choose(self, table: pa.Table) -> list[str]:
        ids = []
        for row in table.to_pylist():
            self.funnel.read += 1
            if fault := _fault_of(row):
                self.funnel.drop(fault)
            else:
                ids.append(self.id_of(row["image"], row["annotation"]))
                if row["visible"] is None:
                    self.funnel.note("not readable, or sizes differ")
                elif row["outside"]:
                    self.funnel.note("visible mask sticks out of the amodal mask")
        return ids


def _fault_of(row: Mapping[str, Any]) -> str | None:
    """Why masks are no instance's, by their areas; None where they are, or were not read."""
    if row["amodal"] == 0:
        return NO_AMODAL
    if row["visible"] == 0:
        return NO_VISIBLE
    return APART if row["outside"] is not None and row["outside"] == row["visible"] else None


def _first_of(base: Path, names: Sequence[str]) -> Path:
    """The first of some folders that is there, else the first."""
    return next((base / name for name in names if (base / name).is_dir()), base / names[0])


def _list(folder: Path, suffixes: tuple[str, ...], root: Path) -> Files:
    """Files with one of the suffixes by name, sorted; raises `DatasetNotReady` for none or a name twice."""
    kinds = ", ".join(suffixes)
    if not folder.is_dir():
        raise missing(CARD, root, f"the folder {folder.name}/ ({folder})")
    files: Files = {}
    for path in files_below(folder):
        if path.suffix.lower() not in suffixes:
            continue
        name = id_part(path.relative_to(folder).with_suffix("").as_posix())
        if name in files:
            raise DatasetNotReady(f"{folder} holds {name!r} twice: {files[name].name} and {path.name}")
        files[name] = path
    if not files:
        raise missing(CARD, root, f"a file {kinds} in {folder}")
    return files


def _pairs(files: Mapping[str, Files], base: Path) -> dict[tuple[str, str], ObjectNames]:
    """The objects by image and number; raises `DatasetNotReady` with some of the names that lack a partner."""
    objects, lacking = paired(*(list(files[kind]) for kind in ("image", "visible", "amodal")))
    unpaired = [f"{name} (not in {', '.join(kinds)})" for name, kinds in sorted(lacking.items())]
    if unpaired:
        raise DatasetNotReady(
            f"{base}: {len(unpaired)} of {len(unpaired) + len(objects)} names are not in all of image/, visible/ and "
            f"amodal/: {some(unpaired)}. Each object needs one file in each of the three."
        )
    return {(names.image, names.annotation): names for names in objects}
