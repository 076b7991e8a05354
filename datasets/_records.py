"""What an adapter tells of each annotation, and how annotation files are parsed."""

import itertools
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar

import msgspec
import pyarrow as pa

from amodal_bench import rle
from amodal_bench.errors import BadRecord, DatasetNotReady

T = TypeVar("T")
H = TypeVar("H", bound=Hashable)

INDEX = pa.schema(
    [
        ("image", pa.string()), ("annotation", pa.string()), ("file", pa.string()), ("where", pa.string()),
        ("height", pa.int32()), ("width", pa.int32()), ("amodal", pa.binary()), ("visible", pa.binary()),
        ("given", pa.binary()), ("category", pa.string()), ("is_stuff", pa.bool_()), ("declared_rate", pa.float64()),
        ("scene", pa.string()), ("front", pa.int32()), ("dropped", pa.string()),
    ],
    metadata={"revision": "3"},
)  # fmt: skip
_PART = 20_000  # records
_SHORT, _FEW = 200, 24  # bytes of JSON: a dozen points or uncompressed runs, a few compressed runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One annotation. Masks are JSON text in any spelling that `rle.from_annotation` reads.

    `visible` None: nothing hides the object. `given`: the visible mask to give to the method where the format
    brings a detector's beside the truth. `front`: place in the depth order of its `scene` (an image as one
    annotator saw it), 1 = front-most, where the format states one. `dropped`: why it can not be an instance,
    where that is known without its mask. `where` names it in errors.
    """

    image: str
    annotation: str
    file: str
    where: str
    height: int
    width: int
    amodal: bytes
    visible: bytes | None
    given: bytes | None = None
    category: str | None = None
    is_stuff: bool | None = None
    declared_rate: float | None = None
    scene: str | None = None
    front: int | None = None
    dropped: str | None = None


def to_index(records: Iterable[Record]) -> pa.Table:
    """Records as the table that is cached; a part at a time, so that a million are not held twice.

    Malformed and empty masks are looked for among those that are short, where they mostly are: it costs little.
    """
    rest = iter(records)
    parts = [INDEX.empty_table()]
    while kept := list(itertools.islice(rest, _PART)):
        columns = {field.name: [getattr(record, field.name) for record in kept] for field in fields(Record)}
        columns["dropped"] = [record.dropped or _fault(record) for record in kept]
        parts.append(pa.table(columns, schema=INDEX))
    return pa.concat_tables(parts)


def _fault(record: Record) -> str | None:
    for kind, text in (("amodal", record.amodal), ("visible", record.visible)):
        if text is None or _surely_mask(text, [record.height, record.width]):
            continue
        try:
            code = read_mask(text, record.height, record.width, record.where)
        except BadRecord:
            return "malformed mask"
        if rle.area(code) == 0:
            return f"{kind} mask is empty"
    return None


class _Code(msgspec.Struct, gc=False):
    size: list[int]
    counts: msgspec.Raw


def _surely_mask(text: bytes, size: list[int]) -> bool:
    """Whether it can be told without following the mask that it has pixels; false where it must be followed."""
    if text[:1] != b"{":
        return len(text) >= _SHORT
    try:
        code = msgspec.json.decode(text, type=_Code)
    except msgspec.DecodeError:
        return False
    counts = bytes(code.counts)
    return code.size == size and len(counts) > (_FEW if counts.startswith(b'"') else _SHORT)


def read_json(path: Path, kind: type[T]) -> T:
    """Parse a JSON file as `kind` (msgspec structs); raises `DatasetNotReady` naming file and record."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind, strict=False)
    except msgspec.ValidationError as error:
        raise DatasetNotReady(f"{path}: not in the official format: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DatasetNotReady(f"{path}: not valid JSON, perhaps cut off ({error})") from None


def present(value: msgspec.Raw) -> bytes | None:
    """The JSON text of an optional value, None where the key is missing or null."""
    text = bytes(value)
    return None if text in (b"", b"null") else text


def read_mask(text: bytes, height: int, width: int, where: str) -> rle.Code:
    """The code of a mask kept as JSON text; raises `BadRecord`."""
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise BadRecord(f"{where}: mask is not JSON ({error})") from None
    return rle.from_annotation(value, height, width, where)


def repeated(keys: Sequence[H]) -> set[H]:
    """Those that occur more than once."""
    return {key for key, times in Counter(keys).items() if times > 1}
