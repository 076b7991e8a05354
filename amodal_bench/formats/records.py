"""What an adapter tells of each annotation, and what becomes of annotations that can not be read."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

import msgspec
import pyarrow as pa
from msgspec import Raw, Struct

T = TypeVar("T")

INDEX = pa.schema(
    [
        ("image", pa.string()), ("annotation", pa.string()), ("file", pa.string()), ("where", pa.string()),
        ("height", pa.int32()), ("width", pa.int32()), ("amodal", pa.binary()), ("visible", pa.binary()),
        ("invisible", pa.binary()), ("lacking", pa.string()), ("given", pa.binary()), ("category", pa.string()),
        ("is_stuff", pa.bool_()), ("declared_rate", pa.float64()), ("scene", pa.string()), ("front", pa.int64()),
        ("dropped", pa.string()), ("detail", pa.string()),
    ],
    metadata={"revision": "5"},
)  # fmt: skip
_PART = 20_000  # records
_LONGEST_NOTHING = 20  # bytes
NOTHING = (b"null", b"false", b"{}", b'""')

MALFORMED = "malformed mask"
NO_FORMAT = "not in the official format"
NO_IMAGE = "its image is not in images"
COPY = "identical copy of another annotation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One annotation. Masks are JSON text in any spelling that `rle.read_json` reads; `[]` is an empty one.

    `visible` None: where `invisible` is there, what is amodal less that; else, where `lacking` is None, the whole
    object: nothing hides it. `lacking`: why an object without either mask is no instance, unless the depth order
    tells what is seen of it. `given`: the visible mask to give to the method where the format
    brings a detector's beside the truth. `front`: place in the depth order of its `scene` (an image as one
    annotator saw it), 1 = front-most, where the format states one. `dropped`: why it can not be an instance,
    where that is known without its mask; `detail`: the words for it, where they are its own. `where` names it in
    errors.
    """

    image: str
    annotation: str
    file: str
    where: str
    height: int
    width: int
    amodal: bytes
    visible: bytes | None
    invisible: bytes | None = None
    lacking: str | None = None
    given: bytes | None = None
    category: str | None = None
    is_stuff: bool | None = None
    declared_rate: float | None = None
    scene: str | None = None
    front: int | None = None
    dropped: str | None = None
    detail: str | None = None


def unreadable(image: str, annotation: str, where: str, dropped: str, detail: str) -> Record:
    """The record of an annotation of which nothing can be told but that it is there, so that it is counted."""
    return Record(
        image=image, annotation=annotation, file="", where=where, height=1, width=1, amodal=b"[]", visible=None,
        dropped=dropped, detail=detail,
    )  # fmt: skip


def to_index(records: Iterable[Record]) -> pa.Table:
    """Records as the table that is cached; a part at a time, so that a million are not held twice."""
    rest = iter(records)
    parts = [INDEX.empty_table()]
    names = INDEX.names
    while kept := list(itertools.islice(rest, _PART)):
        columns = [_column([getattr(r, name) for r in kept], INDEX.field(name).type) for name in names]
        parts.append(pa.Table.from_arrays(columns, schema=INDEX))
    return pa.concat_tables(parts)


def _column(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """An Arrow array; half a surrogate pair, which pickles may hold and no file can, becomes a question mark."""
    try:
        return pa.array(values, kind)
    except UnicodeEncodeError:
        return pa.array([None if text is None else text.encode(errors="replace").decode() for text in values], kind)


def once(records: Sequence[Record], twice: str) -> Iterator[Record]:
    """The records of an image with each annotation once: of identical copies the first stays.

    Records of one annotation that differ are all dropped, by the reason `twice`: nothing tells which is meant.
    """
    by_name: dict[str, list[Record]] = {}
    for record in records:
        by_name.setdefault(record.annotation, []).append(record)
    for record in records:
        same = by_name[record.annotation]
        if len(same) == 1 or record.dropped:
            yield record
        elif any(_content(other) != _content(record) for other in same):
            yield replace(record, dropped=twice, detail=record.where)
        else:
            yield record if record is same[0] else replace(record, dropped=COPY)


def _content(record: Record) -> tuple[Any, ...]:
    """All of a record, with masks that differ only in spaces made equal."""
    masks = (record.amodal, record.visible, record.invisible, record.given)
    return tuple(map(_without_spaces, masks)), replace(record, amodal=b"", visible=None, invisible=None, given=None)


def _without_spaces(mask: bytes | None) -> bytes | None:
    """JSON text without spaces; as it stands where it is none, or is nested deeper than is read."""
    try:
        return None if mask is None else msgspec.json.format(mask, indent=-1)
    except (msgspec.DecodeError, RecursionError):
        return mask


class KnownFields(Struct):
    """What can be read of such an item."""

    id: Any = None
    image_id: Any = None

    @property
    def name(self) -> str:
        """Its id as far as it is one, else empty."""
        return str(self.id)[:40] if isinstance(self.id, (int, float, str)) else ""

    @property
    def image(self) -> str:
        """The id of its image as far as it is one, else empty."""
        return str(self.image_id)[:40] if isinstance(self.image_id, (int, float, str)) else ""


class Malformed(NamedTuple):
    """An item of a list that is not in the official format: its number, what tells of it, and what is wrong."""

    number: int
    known: KnownFields
    text: str


def each(items: Sequence[Raw], kind: type[T]) -> tuple[list[T], list[Malformed]]:
    """The items of a list one by one, for a file in which some are not in the official format."""
    good: list[T] = []
    bad: list[Malformed] = []
    for index, item in enumerate(items):
        try:
            good.append(msgspec.json.decode(item, type=kind, strict=False))
        except (msgspec.ValidationError, ValueError, RecursionError) as error:
            bad.append(Malformed(index, _known(item), str(error)))
    return good, bad


def _known(item: Raw) -> KnownFields:
    try:
        return msgspec.json.decode(item, type=KnownFields)
    except (msgspec.ValidationError, ValueError, RecursionError):
        return KnownFields()


def present(value: Raw) -> bytes | None:
    """The JSON text of a mask; None where there is none: no key, null, false, `{}`, `[]`, `[[]]` or ""."""
    text = bytes(value)
    if len(text) > _LONGEST_NOTHING:
        return text
    bare = text.translate(None, b" \t\r\n")
    return None if bare in NOTHING or not bare.strip(b"[]") else text
