"""Datasets whose masks stand in annotation files: one pass makes an index, and the index is all that is kept.

An adapter says which files it reads and yields a `Record` for each annotation. What all of them share is here:
the cached index, the funnel, the filters, decoding.
"""

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pycocotools import mask as coco

from amodal_bench import rle
from amodal_bench.cache import file_digest, manifest_digest
from amodal_bench.errors import BadRecord, DatasetNotReady
from amodal_bench.images import read_image
from amodal_bench.plugin import Dataset, Location, Settings
from amodal_bench.types import AmodalQuery, AmodalSample

from ._images import find_image
from ._index import cached

T = TypeVar("T")
O = TypeVar("O", bound=Settings)  # noqa: E741

_REVISION = {b"revision": b"1"}
INDEX = pa.schema(
    [
        ("image", pa.string()), ("annotation", pa.string()), ("file", pa.string()), ("where", pa.string()),
        ("height", pa.int32()), ("width", pa.int32()), ("category", pa.string()), ("is_stuff", pa.bool_()),
        ("declared_rate", pa.float64()), ("front", pa.int32()),
        ("amodal", pa.binary()), ("visible", pa.binary()), ("dropped", pa.string()),
    ],
    metadata=_REVISION,
)  # fmt: skip
AREAS = pa.schema(
    [(name, pa.int64()) for name in ("amodal", "visible", "hidden", "outside")]
    + [("behind", pa.int64()), ("malformed", pa.string())],
    metadata=_REVISION,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One annotation. Masks are JSON text in any spelling that `rle.from_annotation` reads.

    `visible` None: nothing hides the object. `front`: place in the depth order of its image, 1 = front-most,
    where the format states one. `dropped`: why it can not be an instance, where that is known without its mask.
    """

    image: str
    annotation: str
    file: str
    where: str
    height: int
    width: int
    amodal: bytes
    visible: bytes | None
    category: str | None = None
    is_stuff: bool | None = None
    declared_rate: float | None = None
    front: int | None = None
    dropped: str | None = None


class Indexed(Dataset[O]):
    """A dataset with annotation files; the funnel counts annotations."""

    name: ClassVar[str]

    def __init__(self, location: Location, split: str, options: O) -> None:
        super().__init__(location, split, options)
        self._files = list(self.annotation_files())
        stem = f"{self.name}-{split}-{self.fingerprint()[:32]}"
        folder = location.cache / "index"
        index = cached(folder / f"{stem}.parquet", INDEX, self._index)
        areas = cached(folder / f"{stem}-areas.parquet", AREAS, lambda: _areas(index))
        self._table = self._keep(index, areas)
        self._ids = [
            f"{self.name}/{split}/{image}/{annotation}"
            for image, annotation in zip(
                self._table["image"].to_pylist(), self._table["annotation"].to_pylist(), strict=True
            )
        ]

    @abstractmethod
    def annotation_files(self) -> Sequence[Path]:
        """The files of this split; raises `DatasetNotReady` where one is missing."""

    @abstractmethod
    def image_folders(self) -> Sequence[Path]:
        """Where images are looked for, in this order."""

    @abstractmethod
    def records(self, files: Sequence[Path]) -> Iterator[Record]:
        """All annotations, those of one image together; raises `DatasetNotReady` for a file that is broken."""

    def unwanted(self, table: pa.Table) -> Iterator[tuple[str, Any]]:
        """(reason, boolean column) of what this dataset's options leave out."""
        del table
        return iter(())

    def ids(self) -> Sequence[str]:
        """In the order of the file."""
        return self._ids

    def fingerprint(self) -> str:
        """sha256 of the annotation file, or of the names and sha256 of several."""
        digests = [(path.name, file_digest(path, self.location.cache)) for path in self._files]
        return digests[0][1] if len(digests) == 1 else manifest_digest(digests)

    def __getitem__(self, index: int) -> AmodalSample:
        row = self._table.slice(index, 1).to_pylist()[0]
        where, height, width = row["where"], row["height"], row["width"]
        image = read_image(find_image(self.image_folders(), row["file"], where), height, width)
        amodal = rle.decode(read_mask(row["amodal"], height, width, where))
        visible = amodal if row["visible"] is None else rle.decode(read_mask(row["visible"], height, width, where))
        query = AmodalQuery(self._ids[index], row["image"], image, visible, row["category"])
        return AmodalSample(query, amodal, is_stuff=row["is_stuff"], declared_rate=row["declared_rate"])

    def _index(self) -> pa.Table:
        return pa.Table.from_pylist([asdict(record) for record in self.records(self._files)], schema=INDEX)

    def _keep(self, index: pa.Table, areas: pa.Table) -> pa.Table:
        """The instances; everything else is counted in the funnel, each annotation under its first reason."""
        self.funnel.read = len(index)
        table = index
        for name in areas.column_names:
            table = table.append_column(f"area_{name}", areas[name])
        reasons: list[tuple[str, Any]] = [
            (reason, pc.equal(index["dropped"], reason))
            for reason in sorted(set(pc.drop_null(index["dropped"]).to_pylist()))
        ]
        reasons += [
            ("malformed mask", pc.is_valid(areas["malformed"])),
            ("amodal mask is empty", pc.equal(areas["amodal"], 0)),
            ("visible mask is empty", pc.equal(areas["visible"], 0)),
            *self.unwanted(table),
        ]
        kept = np.ones(len(table), dtype=np.bool_)
        for reason, column in reasons:
            now = kept & pc.fill_null(column, False).to_numpy(zero_copy_only=False)
            self.funnel.drop(reason, int(now.sum()))
            kept &= ~now
        table = table.filter(pa.array(kept))
        self._note(table)
        return table

    def _note(self, table: pa.Table) -> None:
        outside = int(pc.sum(pc.greater(table["area_outside"], 0)).as_py() or 0)
        self.funnel.note("visible mask sticks out of the amodal mask", outside)
        rate = pc.divide(pc.cast(table["area_hidden"], pa.float64()), table["area_amodal"])
        far = pc.greater(pc.abs(pc.subtract(rate, table["declared_rate"])), 0.01)
        self.funnel.note(
            "declared occlusion rate differs by more than .01 from the masks", int(pc.sum(far).as_py() or 0)
        )
        wrong = pc.greater(table["area_behind"], 0)
        self.funnel.note("visible mask is not the amodal one less what lies in front", int(pc.sum(wrong).as_py() or 0))


def read_json(path: Path, kind: type[T]) -> T:
    """Parse a JSON file as `kind` (msgspec structs); raises `DatasetNotReady` naming file and record."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind, strict=False)
    except msgspec.ValidationError as error:
        raise DatasetNotReady(f"{path}: not in the official format: {error}") from None
    except msgspec.DecodeError as error:
        raise DatasetNotReady(f"{path}: not valid JSON, perhaps cut off ({error})") from None


def read_mask(text: bytes, height: int, width: int, where: str) -> rle.Code:
    """The code of a mask kept as JSON text; raises `BadRecord`."""
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise BadRecord(f"{where}: mask is not JSON ({error})") from None
    return rle.from_annotation(value, height, width, where)


def present(value: msgspec.Raw) -> bytes | None:
    """The JSON text of an optional value, None where the key is missing or null."""
    text = bytes(value)
    return None if text in (b"", b"null") else text


def repeated(keys: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    """Those that occur more than once."""
    return {key for key, times in Counter(keys).items() if times > 1}


def _areas(index: pa.Table) -> pa.Table:
    """Pixel counts of every annotation; `behind` is what a stated depth order and `visible` disagree on."""
    rows: list[dict[str, Any]] = []
    names = ("image", "annotation", "where", "height", "width", "front", "amodal", "visible", "dropped")
    block: list[dict[str, Any]] = []
    for row in index.select(names).to_pylist():
        scene = (
            row["image"],
            row["annotation"].split(".")[0] if row["front"] is not None else row["annotation"],
        )
        if block and scene != block[0]["scene"]:
            rows.extend(_block_areas(block))
            block = []
        block.append({**row, "scene": scene})
    rows.extend(_block_areas(block))
    return pa.Table.from_pylist(rows, schema=AREAS)


def _block_areas(block: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Areas of annotations that share one depth order."""
    codes = [_codes(row) for row in block]
    for row, pair in zip(block, codes, strict=True):
        if isinstance(pair, str):
            yield {"malformed": None if row["dropped"] else pair}
            continue
        amodal, visible = pair
        inside = coco.merge([amodal, visible], True)
        a, v, both = (int(n) for n in coco.area([amodal, visible, inside]))
        front = [
            other[0]
            for peer, other in zip(block, codes, strict=True)
            if row["front"] is not None and not isinstance(other, str) and peer["front"] < row["front"]
        ]
        behind = 0
        if front:
            covered = coco.merge([amodal, coco.merge(front)], True)
            # A less what lies in front should be V: count the pixels of V that are covered, and of A that are neither.
            behind = int(coco.area(coco.merge([visible, covered], True)))
            behind += a - int(coco.area(coco.merge([covered, inside])))
        elif row["front"] is not None:
            behind = a - both
        yield {
            "amodal": a,
            "visible": v,
            "hidden": a - both,
            "outside": v - both,
            "behind": behind,
            "malformed": None,
        }


def _codes(row: dict[str, Any]) -> tuple[rle.Code, rle.Code] | str:
    """The amodal and visible codes of a row, or what is wrong with them."""
    if row["dropped"]:
        return str(row["dropped"])
    try:
        amodal = read_mask(row["amodal"], row["height"], row["width"], row["where"])
        if row["visible"] is None:
            return amodal, amodal
        return amodal, read_mask(row["visible"], row["height"], row["width"], row["where"])
    except BadRecord as error:
        return str(error)
