"""Your own data: one image, one visible and one amodal mask an object, in three folders with equal names.

    ROOT/image/NAME.png     (or .jpg, .tif, .webp, ...)
    ROOT/visible/NAME.png   what is seen of the object: two values, of which 0 is outside
    ROOT/amodal/NAME.png    the whole object: likewise

Several splits go into ROOT/train, ROOT/val and ROOT/test, each with the three folders. Several objects in one
image: one NAME an object, with the image copied or linked under each (`ln -s street.jpg image/street-2.jpg`).
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from amodal_bench.cache import contents, manifest_digest
from amodal_bench.errors import BadRecord, DatasetNotReady
from amodal_bench.images import SUFFIXES, image_size, read_image, read_mask
from amodal_bench.paths import id_part, shown
from amodal_bench.plugin import Dataset, DatasetCard, Location, Settings
from amodal_bench.types import AmodalQuery, AmodalSample, Mask, parse_id

from ._index import cached, unchanged
from ._location import missing, some

log = logging.getLogger(__name__)

CARD = DatasetCard(
    title="your own data in folders",
    licence="your own",
    get="put it there yourself: for every object one image and two masks of the same name and size",
    tree="""
[<split>/]image/NAME.png     (.jpg, .jpeg, .bmp, .gif, .tif, .webp, .ppm)
[<split>/]visible/NAME.png   what is seen: two values, of which 0 is outside
[<split>/]amodal/NAME.png    the whole object: likewise
""",
    splits={"train": {}, "val": {}, "test": {}},
    default_split="test",
)
SCHEMA = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("visible", pa.int64()),  # areas in pixels; null: not readable, or of another size than its image
        pa.field("amodal", pa.int64()),
        pa.field("outside", pa.int64()),  # visible pixels outside the amodal mask
    ],
    metadata={"revision": "1"},
)
Files = dict[str, Path]  # by name without suffix, as it stands in ids


class Folder(Dataset[Settings]):
    """Ids are `folder/SPLIT/NAME/0`. The first time, every mask is decoded once to find the empty ones."""

    card = CARD

    def __init__(self, location: Location, split: str, options: Settings) -> None:
        super().__init__(location, split, options)
        root = location.root
        base = root / split
        if not base.is_dir():
            base = root
            if split != CARD.default_split:
                log.warning("%s has no folder %s: all of it is read as that split", root, split)
        self._images = _list(location.images or base / "image", SUFFIXES, root)
        self._visible = _list(base / "visible", SUFFIXES, root)
        self._amodal = _list(base / "amodal", SUFFIXES, root)
        _check_names({"image": self._images, "visible": self._visible, "amodal": self._amodal}, base)
        self._fingerprint = self._digest()
        measure = unchanged(self._measure, self._digest, self._fingerprint)
        table = cached(location.cache / "index" / f"folder-{self._fingerprint}.arrow", SCHEMA, measure)
        self._ids = self._choose(table)

    def ids(self) -> Sequence[str]:
        """By name."""
        return self._ids

    def fingerprint(self) -> str:
        """Of the names and bytes of images and masks."""
        return self._fingerprint

    def __getitem__(self, index: int) -> AmodalSample:
        id = self._ids[index]
        name = parse_id(id).image
        visible, amodal = self._masks(name)
        query = AmodalQuery(id, name, read_image(self._images[name]), visible)
        return AmodalSample(query, amodal)

    def _masks(self, name: str) -> tuple[Mask, Mask]:
        """Both masks; raises `BadRecord` where one cannot be read or is not of the image's size."""
        size = image_size(self._images[name])
        masks = read_mask(self._visible[name]), read_mask(self._amodal[name])
        for file, mask in zip((self._visible[name], self._amodal[name]), masks, strict=True):
            if mask.shape != size:
                raise BadRecord(
                    f"{file} is {mask.shape[1]} x {mask.shape[0]}, its image {self._images[name]} is "
                    f"{size[1]} x {size[0]} (width x height): they must be equal"
                )
        return masks

    def _digest(self) -> str:
        kinds = {"image": self._images, "visible": self._visible, "amodal": self._amodal}
        entries: list[tuple[str, str]] = []
        for kind, files in kinds.items():
            folder, names = next(iter(files.values())).parent, [file.name for file in files.values()]
            entries += contents(folder, names, self.location.cache, f"{kind}/")
        return manifest_digest(entries)

    def _measure(self) -> pa.Table:
        rows = [{"name": name, **self._areas(name)} for name in self._images]
        return pa.Table.from_pylist(rows, schema=SCHEMA)

    def _areas(self, name: str) -> dict[str, int]:
        try:
            visible, amodal = self._masks(name)
        except BadRecord:
            return {}  # kept, so that it shows as an error of this instance, with its message
        areas = {"visible": visible, "amodal": amodal, "outside": visible & ~amodal}
        return {what: int(np.count_nonzero(mask)) for what, mask in areas.items()}

    def _choose(self, table: pa.Table) -> list[str]:
        ids = []
        for row in table.to_pylist():
            self.funnel.read += 1
            if row["amodal"] == 0:
                self.funnel.drop("amodal mask is empty")
            elif row["visible"] == 0:
                self.funnel.drop("visible mask is empty")
            else:
                ids.append(f"folder/{self.split}/{row['name']}/0")
                if row["visible"] is None:
                    self.funnel.note("not readable, or sizes differ")
                elif row["outside"]:
                    self.funnel.note("visible mask sticks out of the amodal mask")
        return ids


def _list(folder: Path, suffixes: tuple[str, ...], root: Path) -> Files:
    """Files with one of the suffixes by name, sorted; raises `DatasetNotReady` for none or a name twice."""
    kinds = ", ".join(suffixes)
    if not folder.is_dir():
        raise missing(CARD, root, f"the folder {folder.name}/ ({folder})")
    files: Files = {}
    for path in shown(folder):
        if path.suffix.lower() not in suffixes:
            continue
        name = id_part(path.stem)
        if name in files:
            raise DatasetNotReady(f"{folder} holds {name!r} twice: {files[name].name} and {path.name}")
        files[name] = path
    if not files:
        raise missing(CARD, root, f"a file {kinds} in {folder}")
    return files


def _check_names(kinds: dict[str, Files], base: Path) -> None:
    names = sorted(set().union(*kinds.values()))
    lacking = {name: [kind for kind, files in kinds.items() if name not in files] for name in names}
    told = [f"{name} (not in {', '.join(kinds)})" for name, kinds in lacking.items() if kinds]
    if told:
        raise DatasetNotReady(
            f"{base}: {len(told)} of {len(names)} names are not in all of image/, visible/ and amodal/: "
            f"{some(told)}. Each object needs one file in each of the three."
        )
