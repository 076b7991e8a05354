"""The areas of every mask of a FishBowl split: what the filters need, so that masks are read once."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from amodal_bench.errors import BadRecord
from amodal_bench.formats.index import cached, unchanged
from amodal_bench.formats.json_files import whole
from amodal_bench.masks import rle

from .fish import Fish, FishLayout

log = logging.getLogger(__name__)

Ints = NDArray[np.int32]
Rows = NDArray[np.int64]  # positions in an index, rising
SCHEMA = pa.schema(
    [
        pa.field("clip", pa.string(), nullable=False),
        pa.field("frame", pa.int32(), nullable=False),
        pa.field("fish", pa.string(), nullable=False),
        pa.field("visible", pa.int32(), nullable=False),  # areas in pixels
        pa.field("amodal", pa.int32()),  # null: the fish was not rendered alone
        pa.field("outside", pa.int32(), nullable=False),  # visible pixels outside the amodal mask
        pa.field("malformed", pa.string()),  # what is wrong with one of the masks
    ],
    metadata={"revision": "1"},
)


@dataclass(frozen=True, slots=True)
class Index:
    """One row an object-frame, sorted by clip, frame, fish. Names are indices into lists: there are millions."""

    clips: list[str]
    fishes: list[str]
    clip: Ints
    frame: Ints
    fish: Ints
    visible: Ints
    amodal: Ints  # -1: the fish was not rendered alone
    outside: Ints
    malformed: NDArray[np.bool_]

    @classmethod
    def of(cls, table: pa.Table) -> "Index":
        """From a table of `SCHEMA`."""
        numbers = {name: table[name].fill_null(-1).to_numpy() for name in ("frame", "visible", "amodal", "outside")}
        clip, clips = _coded(table["clip"])
        fish, fishes = _coded(table["fish"])
        malformed = table["malformed"].is_valid().to_numpy()
        if malformed.any():
            first = table["malformed"].drop_null()[0].as_py()
            log.warning("%d malformed masks are left out; the first: %s", malformed.sum(), first)
        return cls(clips=clips, fishes=fishes, clip=clip, fish=fish, malformed=malformed, **numbers)


class Ids(Sequence[str]):
    """The ids of some rows of an index, spelled when asked for: millions of strings would fill the memory."""

    def __init__(self, spell: Callable[[str, str], str], index: Index, rows: Rows) -> None:
        self._id_of = spell
        self._index = index
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self._spell(row) for row in self._rows[index]]
        return self._spell(self._rows[index])

    def _spell(self, row: np.int64) -> str:
        index = self._index
        clip, fish = index.clips[index.clip[row]], index.fishes[index.fish[row]]
        return self._id_of(f"{clip}:{index.frame[row]:05d}", fish)


def _coded(column: Any) -> tuple[Ints, list[str]]:
    coded = column.combine_chunks().dictionary_encode()
    return coded.indices.to_numpy(), coded.dictionary.to_pylist()


def read_index(layout: FishLayout, path: Path, fingerprint: str) -> Index:
    """The index in the cached file `path`, made from every mask where it is not there; raises `BadRecord`."""
    return Index.of(cached(path, SCHEMA, unchanged(lambda: _build(layout), layout.fingerprint, fingerprint)))


def _build(layout: FishLayout) -> pa.Table:
    clips = layout.clips()
    tables = [SCHEMA.empty_table()]
    for done, clip in enumerate(clips):
        if done % 100 == 0 and done:
            log.info("%d of %d clips indexed", done, len(clips))
        tables.append(_clip_table(layout, clip))
    return pa.concat_tables(tables)


def _clip_table(layout: FishLayout, clip: str) -> pa.Table:
    rows = []
    for fish in sorted(layout.fish(clip), key=_by_number):
        rows += [{"clip": clip, "frame": frame, "fish": fish.id, **_areas(fish, frame)} for frame in fish.frames()]
    rows.sort(key=lambda row: row["frame"])  # stable: the fish of a frame stay in their order
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _by_number(fish: Fish) -> tuple[bool, int, str]:
    number = whole(fish.id)
    return number is None, number or 0, fish.id


def _areas(fish: Fish, frame: int) -> dict[str, Any]:
    try:
        visible = fish.code(fish.visible, frame)
        amodal = fish.code(fish.amodal, frame) if fish.amodal else None
    except BadRecord as error:
        return {"visible": 0, "amodal": 0, "outside": 0, "malformed": str(error)}
    seen = rle.area(visible) if visible else 0
    if fish.amodal is None:
        return {"visible": seen, "amodal": None, "outside": 0}
    whole = rle.area(amodal) if amodal else 0
    return {"visible": seen, "amodal": whole, "outside": _outside(visible, seen, amodal, whole)}


def _outside(visible: rle.Code | None, seen: int, amodal: rle.Code | None, whole: int) -> int:
    """|visible and not amodal|. Where nothing hides the fish, the codes are the same and need no merging."""
    if not visible or not amodal or not whole:
        return seen
    return 0 if visible == amodal else rle.area(rle.union([visible, amodal], *visible["size"])) - whole
