"""The pickles and lists of C2F-Seg (Gao et al., ICCV 2023): objects that detectors found in KINS and COCOA-cls.

A pickle holds, per image and object, the true masks and the visible mask that a detector predicted; a text list
beside it says which objects count. The keys of images are `IMAGE` or `DETECTOR_IMAGE`. Rows of a list:

    IMAGE_OBJECT            an object of the pickle
    DETECTOR,IMAGE,OBJECT   the same, under the key DETECTOR_IMAGE
    IMAGE_PLACE_CATEGORY    the annotation at this place among those of the image in a JSON file (KINS)
    PLACE,PATH              the annotation at this place in a JSON file (COCOA-cls)

Objects of the last two kinds have no predicted mask.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, NamedTuple

import msgspec
import numpy as np
from msgspec import Raw, Struct

from amodal_bench.errors import DatasetNotReady
from amodal_bench.formats.coco import A, AnnotationMasks, CocoFile, annotations_by_image, masks_of, record_of
from amodal_bench.formats.entries import NO_SIZE, size_of
from amodal_bench.formats.json_files import number as optional_number
from amodal_bench.formats.json_files import whole, words
from amodal_bench.formats.pickles import load
from amodal_bench.formats.records import NO_FORMAT, NO_IMAGE, Record, unreadable

ROWS = {  # how a row is spelled
    "object": re.compile(r"([0-9]{1,18})_([0-9]{1,18})"),
    "detector": re.compile(r"([^,]+),([0-9]{1,18}),([0-9]{1,18})"),
    "of_image": re.compile(r"([0-9]{1,18})_([0-9]{1,18})_[0-9]+"),
    "of_file": re.compile(r"([0-9]{1,18}),[^,]+"),
}


class Key(NamedTuple):
    """An object of the pickle."""

    detector: str | None
    image: int
    number: int

    @property
    def outer(self) -> str | int:
        """Its image's key."""
        return self.image if self.detector is None else f"{self.detector}_{self.image}"

    @property
    def annotation(self) -> str:
        """As it stands in ids."""
        if self.detector is None:
            return str(self.number)
        return f"{words(self.detector)}.{self.number}".replace("/", "%2F")


class Reference(NamedTuple):
    """An annotation of a JSON file: at this place among those of an image, or of the whole file (None)."""

    image: int | None
    number: int


class AnnotationFile(Generic[A]):
    """The JSON file (if it is there) whose annotations a list names by their place; read when the first row does."""

    def __init__(
        self,
        listing: Path,
        files: Sequence[Path],
        read: Callable[[Path], CocoFile[A]],
        masks: Callable[[A], AnnotationMasks],
    ) -> None:
        self._listing = listing
        self._files = files
        self._read = read
        self._masks = masks

    @cached_property
    def _found(self) -> tuple[CocoFile[A], dict[str, list[A]]]:
        file = self._read(self._files[0])
        if file.malformed:
            index, _, text = file.malformed[0]
            raise DatasetNotReady(
                f"{self._files[0]}: annotations[{index}]: {text}. {self._listing.name} names annotations by their "
                "place, so none may be left out."
            )
        return file, annotations_by_image(file.annotations)

    def record(self, reference: Reference, where: str) -> Record:
        """The annotation at a place; raises `DatasetNotReady` where there is none."""
        if not self._files:
            raise DatasetNotReady(
                f"{self._listing.parent / where}: names an annotation of the official JSON file, which is not there"
            )
        file, by_image = self._found
        annotations = file.annotations if reference.image is None else by_image.get(str(reference.image), [])
        if reference.number >= len(annotations):
            raise DatasetNotReady(f"{self._listing.parent / where}: {self._files[0].name} has no such annotation")
        annotation = annotations[reference.number]
        return record_of(self._files[0], file, annotation, self._masks(annotation))


class Found(Struct):
    """An object of the pickle."""

    gt_full_mask: Any
    gt_visible_mask: Any
    pred_visible_mask: Any
    occlude_rate: Any = None


@dataclass(frozen=True, slots=True)
class ListedPickle:
    """A pickle with its list; `predicted`: whether the detector's mask is to be given to a method.

    `file_of` tells an image's file name from its id (None: not known), `annotation` the record that a row
    names by its place; `where` is that row, for errors.
    """

    pickle: Path
    listing: Path
    predicted: bool
    file_of: Callable[[int], str | None]
    annotation: Callable[[Reference, str], Record]

    def records(self) -> Iterator[Record]:
        """The objects of the list, those of one image together; those of the pickle that it leaves out are dropped.

        Raises `DatasetNotReady` naming file and row.
        """
        objects = self._objects()
        listed: set[Key | Reference] = set()
        images: dict[str, list[Record]] = {}
        for number, row in enumerate(self.listing.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
            if row.strip():
                where = f"{self.listing.name} line {number} ({row.strip()})"
                source = self._parse(row.strip(), where)
                record = self._read(source, objects, where)
                images.setdefault(record.image, []).append(
                    replace(record, dropped="listed twice") if source in listed else record
                )
                listed.add(source)
        for key, value in objects.items():
            if key not in listed:
                record = replace(self._object(key, value), dropped=f"not in {self.listing.name}")
                images.setdefault(record.image, []).append(record)
        for records in images.values():
            yield from records

    def _objects(self) -> dict[Key, Any]:
        found: dict[Key, Any] = {}
        for outer, objects in self._mapping(load(self.pickle), "the pickle").items():
            detector, _, image = str(outer).rpartition("_")
            for number, value in self._mapping(objects, f"the value of key {outer!r}").items():
                numbers = whole(image), whole(str(number))
                if numbers[0] is None or numbers[1] is None:
                    raise DatasetNotReady(
                        f"{self.pickle}: the keys {outer!r}, {number!r} are not IMAGE or DETECTOR_IMAGE, OBJECT"
                    )
                found[Key(detector or None, numbers[0], numbers[1])] = value
        return found

    def _mapping(self, value: Any, what: str) -> dict[Any, Any]:
        if not isinstance(value, dict):
            raise DatasetNotReady(f"{self.pickle}: {what} must be a dict, got {type(value).__name__}")
        return value

    def _parse(self, row: str, where: str) -> Key | Reference:
        for kind, pattern in ROWS.items():
            if match := pattern.fullmatch(row):
                first, *rest = match.groups()
                if kind == "detector":
                    return Key(first, int(rest[0]), int(rest[1]))
                if kind == "object":
                    return Key(None, int(first), int(rest[0]))
                return Reference(int(first), int(rest[0])) if rest else Reference(None, int(first))
        raise DatasetNotReady(
            f"{self.listing.parent / where}: expected IMAGE_OBJECT, DETECTOR,IMAGE,OBJECT, IMAGE_PLACE_CATEGORY "
            "or PLACE,PATH"
        )

    def _read(self, source: Key | Reference, objects: Mapping[Key, Any], where: str) -> Record:
        if isinstance(source, Reference):
            return self.annotation(source, where)
        if source not in objects:
            raise DatasetNotReady(
                f"{self.listing.parent / where}: {self.pickle.name} has no object {source.number} "
                f"under the key {source.outer!r}"
            )
        return self._object(source, objects[source])

    def _object(self, key: Key, value: Any) -> Record:
        where = f"{self.pickle.name}: {key.outer}, object {key.number}"
        file = self.file_of(key.image)
        if file is None:
            return unreadable(str(key.image), key.annotation, where, NO_IMAGE, where)
        try:
            found = msgspec.convert(value, Found)
            amodal, visible, given = map(_text, (found.gt_full_mask, found.gt_visible_mask, found.pred_visible_mask))
        except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
            return unreadable(str(key.image), key.annotation, where, NO_FORMAT, f"{where}: {error}")
        masks = masks_of(Raw(amodal), Raw(visible), "no visible mask (gt_visible_mask)")
        size = size_of(given)
        if size is None:
            return unreadable(str(key.image), key.annotation, where, NO_SIZE, f"{where}: pred_visible_mask has no size")
        return Record(
            image=str(key.image),
            annotation=key.annotation,
            file=file,
            where=where,
            height=size[0],
            width=size[1],
            amodal=masks.amodal,
            visible=masks.visible,
            lacking=masks.lacking,
            dropped=masks.dropped,
            given=given if self.predicted else None,
            declared_rate=optional_number(found.occlude_rate),
        )


def _text(mask: Any) -> bytes:
    """A mask as JSON, as all other formats have it."""
    if isinstance(mask, dict) and isinstance(mask.get("counts"), bytes):
        mask = {**mask, "counts": mask["counts"].decode("latin1")}
    return msgspec.json.encode(mask, enc_hook=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} where masks and numbers are expected")
