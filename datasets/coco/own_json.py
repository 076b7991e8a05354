"""Which keys of a COCO-like file hold which masks, found in the file itself."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import msgspec
from msgspec import Raw, Struct

from amodal_bench.errors import BadRecord
from amodal_bench.formats.areas import NO_AMODAL, NO_VISIBLE
from amodal_bench.formats.coco import (
    TWICE,
    Annotation,
    AnnotationMasks,
    CocoFile,
    annotations_by_image,
    read_coco,
    record_of,
    spoiled,
)
from amodal_bench.formats.codes import code_text
from amodal_bench.formats.entries import image_size, spelled
from amodal_bench.formats.json_files import decode, flag, number, read_text
from amodal_bench.formats.records import MALFORMED, Record, each, once, present
from amodal_bench.masks import rle

SEGMENTATION = "segmentation"
AMODAL = ("amodal_mask", "amodal_segmentation", "amodal_segm", "amodal_seg", "a_segm", "full_mask")
VISIBLE = (
    "visible_mask", "inmodal_seg", "visible_segmentation", "visible_segm", "visible_seg", "inmodal_segm", "i_segm",
    "modal_mask", "modal_segmentation",
)  # fmt: skip
INVISIBLE = ("invisible_mask", "invisible_segmentation", "occluded_mask", "occluded_segmentation", "hidden_mask")
HIDDEN_SHARES = ("occlude_rate", "occlusion_rate", "occluded_rate")
SEEN_SHARES = ("visib_fract", "bop_visib_fract", "visible_fraction")
FACTS = ("order", "iscrowd", "isStuff")
CROWD = "a crowd (iscrowd), not one object"
LACKING = "no visible mask, and neither an invisible one nor the depth order tells what is seen"
HIDDEN = "no visible mask, but an occlusion rate above 0"
NO_WHOLE = "no amodal mask, but an occlusion rate above 0"
MOST_ORDER = 2**31


@dataclass(frozen=True, slots=True)
class Keys:
    """Where the masks of a file stand: of each kind the keys that are looked at, in this order.

    `modal`: `segmentation` holds what is seen, and the whole object stands under a key of `amodal` or follows from
    the invisible part.
    """

    modal: bool
    amodal: Sequence[str]
    visible: Sequence[str]
    invisible: Sequence[str]


class _AnnotationsOnly(Struct):
    annotations: list[Raw]


def key_counts(path: Path, text: bytes | None = None) -> Counter[str]:
    """How many annotations of a file have each key with something in it; raises `DatasetNotReady`."""
    file = decode(read_text(path) if text is None else text, _AnnotationsOnly, path)
    items, _ = each(file.annotations, dict[str, Raw])
    return Counter(key for item in items for key, value in item.items() if present(value) is not None)


class OwnFile:
    """A COCO-like file whose masks stand under `keys`; raises `DatasetNotReady` where it can not be read."""

    def __init__(self, path: Path, keys: Keys) -> None:
        masks = [SEGMENTATION, *keys.amodal, *keys.visible, *keys.invisible]
        facts = [*HIDDEN_SHARES[1:], *SEEN_SHARES, *FACTS]
        self._fields = {key: f"field_{k}" for k, key in enumerate(dict.fromkeys([*masks, *facts]))}
        kinds: dict[str, tuple[Any, Any]] = dict.fromkeys(masks, (Raw, Raw()))
        fields = [
            (name, kind, msgspec.field(default=default, name=key))
            for key, name in self._fields.items()
            for kind, default in [kinds.get(key, (Any, None))]
        ]
        struct = msgspec.defstruct("OwnAnnotation", fields, bases=(Annotation,), kw_only=True)
        self._path, self._keys = path, keys
        self._file: CocoFile[Annotation] = read_coco(path, cast(type[Annotation], struct))
        self._ordered = any(self._order(annotation) is not None for annotation in self._file.annotations)

    def records(self) -> Iterator[Record]:
        """Every annotation, joined to its image by `image_id`."""
        yield from spoiled(self._path, self._file.images, self._file.malformed)
        for annotations in annotations_by_image(self._file.annotations).values():
            yield from once([self._record(annotation) for annotation in annotations], TWICE)

    def _record(self, annotation: Annotation) -> Record:
        rate = self._rate(annotation)
        masks, detail = self._masks(annotation, rate)
        record = record_of(self._path, self._file, annotation, masks)
        if not record.file:
            return record
        stuff = self._value(annotation, "isStuff")
        return replace(
            record,
            declared_rate=rate,
            is_stuff=None if stuff is None else flag(stuff),
            scene=record.image if self._ordered else None,
            front=self._order(annotation),
            dropped=CROWD if flag(self._value(annotation, "iscrowd")) else record.dropped,
            detail=detail or record.detail,
        )

    def _masks(self, annotation: Annotation, rate: float | None) -> tuple[AnnotationMasks, str | None]:
        """The masks, and what is wrong with one that had to be looked at."""
        if self._keys.modal:
            return self._from_seen(annotation, rate)
        whole = self._first(annotation, [SEGMENTATION, *self._keys.amodal])
        seen, hidden = self._first(annotation, self._keys.visible), self._first(annotation, self._keys.invisible)
        is_known = seen is not None or hidden is not None
        lacking = (None if rate == 0 else LACKING) if self._ordered else HIDDEN if rate else None
        dropped = None if whole else NO_AMODAL
        return AnnotationMasks(
            whole or b"[]", seen, None if seen else hidden, None if is_known else lacking, dropped
        ), None

    def _from_seen(self, annotation: Annotation, rate: float | None) -> tuple[AnnotationMasks, str | None]:
        """`segmentation` is what is seen: the whole is another mask, or what is seen with what is not."""
        seen = self._first(annotation, [SEGMENTATION, *self._keys.visible])
        whole, hidden = self._first(annotation, self._keys.amodal), self._first(annotation, self._keys.invisible)
        if seen is None:
            return AnnotationMasks(whole or b"[]", seen, None, NO_VISIBLE, None if whole else NO_AMODAL), None
        if whole is not None or hidden is None:
            return AnnotationMasks(whole or seen, seen, None, None, NO_WHOLE if rate and whole is None else None), None
        try:
            return AnnotationMasks(self._joined(annotation, seen, hidden), seen, None, None, None), None
        except BadRecord as error:
            return AnnotationMasks(seen, seen, None, None, MALFORMED), str(error)

    def _joined(self, annotation: Annotation, seen: bytes, hidden: bytes) -> bytes:
        image_id = spelled(annotation.image_id)
        image = self._file.images.known.get(image_id)
        size = image and image_size(image, seen)
        if not size:
            return seen  # the record is dropped for want of an image
        where = f"{self._path.name}: image {image_id}, annotation {annotation.id}"
        return code_text(rle.union([rle.read_json(text, *size, where)[0] for text in (seen, hidden)], *size))

    def _first(self, annotation: Annotation, keys: Sequence[str]) -> bytes | None:
        """JSON text of the first of some masks that the annotation has."""
        texts = (present(self._value(annotation, key)) for key in keys)
        return next((text for text in texts if text is not None), None)

    def _value(self, annotation: Annotation, key: str) -> Any:
        return getattr(annotation, self._fields[key])

    def _order(self, annotation: Annotation) -> int | None:
        """`order` where it is a whole number; 1 is in front."""
        depth = number(self._value(annotation, "order"))
        return int(depth) if depth is not None and depth.is_integer() and abs(depth) < MOST_ORDER else None

    def _rate(self, annotation: Annotation) -> float | None:
        """The declared occlusion rate, or 1 less the share that is declared to be seen."""
        hidden = [annotation.rate, *(number(self._value(annotation, key)) for key in HIDDEN_SHARES[1:])]
        seen = [number(self._value(annotation, key)) for key in SEEN_SHARES]
        rates = [*hidden, *(None if share is None else 1 - share for share in seen)]
        return next((rate for rate in rates if rate is not None), None)
