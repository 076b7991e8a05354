"""JSON files in the manner of COCO: images, annotations and categories side by side, one annotation an object.

What they call the masks differs from dataset to dataset: an adapter subclasses `Annotation` with its keys and
says how they become `AnnotationMasks`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from msgspec import Raw, Struct

from amodal_bench.formats.entries import NO_SIZE, Id, ImageEntry, Images, image_size, images_by_id, spelled
from amodal_bench.formats.json_files import OtherFormat, decode, number, read_json, read_text, words
from amodal_bench.formats.missing import missing
from amodal_bench.formats.records import NO_FORMAT, Malformed, Record, each, once, present, unreadable
from amodal_bench.plugin import DatasetCard, Location

TWICE = "another annotation has the same id"


class Category(Struct, gc=False):
    """What an object is."""

    id: Id
    name: str | int | float | bool | None = None


class Annotation(Struct, gc=False):
    """What every annotation has; the subclass of a dataset adds its masks as Raw, so that none is parsed here."""

    id: Id
    image_id: Id
    category_id: Id | None = None
    occlude_rate: float | str | bool | None = None

    @property
    def rate(self) -> float | None:
        """The declared occlusion rate, where it is a number."""
        return number(self.occlude_rate)


class VisibleAnnotation(Annotation, gc=False, kw_only=True):
    """The spelling of COCOA-cls, D2SA and others: `segmentation` is the amodal mask."""

    segmentation: Raw
    visible_mask: Raw = Raw()
    invisible_mask: Raw = Raw()

    def masks(self, lacking: str | None) -> "AnnotationMasks":
        """`lacking`: why such an object without a visible and an invisible mask is no instance, None where it is."""
        return masks_of(self.segmentation, self.visible_mask, lacking, self.invisible_mask)


A = TypeVar("A", bound=Annotation)


class _Strict(Struct, Generic[A]):
    """The whole JSON file, where all of it is in the official format."""

    images: list[ImageEntry]
    annotations: list[A]
    categories: list[Category] = []


class _Loose(Struct):
    """The whole JSON file, where some of it may not be."""

    images: list[Raw]
    annotations: list[Raw]
    categories: list[Raw] = []


class ImagesOnly(Struct):
    """A file of which nothing but the images is needed."""

    images: list[ImageEntry]


@dataclass(frozen=True, slots=True)
class CocoFile(Generic[A]):
    """What was read of a JSON file; `malformed` are annotations that were not."""

    images: Images
    annotations: list[A]
    categories: dict[str, str | None]
    malformed: list[Malformed]


class AnnotationMasks(NamedTuple):
    """JSON text of an annotation's masks, and why it can not be an instance, if so."""

    amodal: bytes
    visible: bytes | None
    invisible: bytes | None
    lacking: str | None
    dropped: str | None


def masks_of(amodal: Raw, visible: Raw, lacking: str | None, invisible: Raw | None = None) -> AnnotationMasks:
    """`lacking`: why an annotation without visible and invisible mask is none; None where nothing hides such one."""
    whole, seen = present(amodal), present(visible)
    hidden = present(invisible) if seen is None and invisible is not None else None
    is_known = seen is not None or hidden is not None
    return AnnotationMasks(
        whole or b"[]", seen, hidden, None if is_known else lacking, None if whole else "amodal mask is empty"
    )


def read_coco(path: Path, kind: type[A], text: bytes | None = None) -> CocoFile[A]:
    """Parse a file (or its `text`) with annotations of a kind; raises `DatasetNotReady` naming file and record.

    What is not in the official format is left out one by one; where all annotations or all images are, the file
    is refused.
    """
    text = read_text(path) if text is None else text
    try:
        strict: _Strict[A] = decode(text, _Strict[kind], path)  # type: ignore[valid-type]
        images, annotations, categories = strict.images, strict.annotations, strict.categories
        bad_images: list[Malformed] = []
        malformed: list[Malformed] = []
    except OtherFormat:
        loose = decode(text, _Loose, path)
        images, bad_images = each(loose.images, ImageEntry)
        annotations, malformed = each(loose.annotations, kind)
        categories, _ = each(loose.categories, Category)
        if (malformed and not annotations) or (bad_images and not images):
            raise
    names = {spelled(category.id): words(category.name) for category in categories}
    return CocoFile(images_by_id(images, bad_images), annotations, names, malformed)


def annotations_by_image(annotations: Sequence[A]) -> dict[str, list[A]]:
    """Annotations of each image, both in the order of the file."""
    found: dict[str, list[A]] = {}
    for annotation in annotations:
        found.setdefault(spelled(annotation.image_id), []).append(annotation)
    return found


def coco_records(path: Path, file: CocoFile[A], masks: Callable[[A], AnnotationMasks]) -> Iterator[Record]:
    """Every annotation, joined to its image by `image_id`; ids are `image_id/annotation id`."""
    yield from spoiled(path, file.images, file.malformed)
    for annotations in annotations_by_image(file.annotations).values():
        yield from once([record_of(path, file, annotation, masks(annotation)) for annotation in annotations], TWICE)


def spoiled(path: Path, images: Images, malformed: Sequence[Malformed]) -> Iterator[Record]:
    """What can not be read of a file, so that it is counted."""
    for bad in malformed:
        where = f"{path.name}: annotations[{bad.number}]"
        name = bad.known.name or f"[{bad.number}]"
        yield unreadable(bad.known.image or "?", name, where, NO_FORMAT, f"{where}: {bad.text}")
    for id in images.copies:
        yield unreadable(id, "image entry", path.name, "identical copy of another image entry", f"image {id}")


def record_of(path: Path, file: CocoFile[A], annotation: A, masks: AnnotationMasks) -> Record:
    """The record of one annotation."""
    image_id, id = spelled(annotation.image_id), spelled(annotation.id).replace("/", "%2F")
    where = f"{path.name}: image {image_id}, annotation {id}"
    lacking = file.images.lacking(image_id)
    if lacking:
        return unreadable(image_id, id, where, lacking[0], f"{where}: {lacking[1]}")
    image = file.images.known[image_id]
    size = image_size(image, masks.amodal)
    if size is None:
        return unreadable(image_id, id, where, NO_SIZE, where)
    category = annotation.category_id
    return Record(
        image=image_id,
        annotation=id,
        file=image.file_name,
        where=where,
        height=size[0],
        width=size[1],
        amodal=masks.amodal,
        visible=masks.visible,
        invisible=masks.invisible,
        lacking=masks.lacking,
        category=None if category is None else file.categories.get(spelled(category)),
        declared_rate=annotation.rate,
        dropped=masks.dropped,
    )


class _CategoriesOnly(Struct):
    categories: list[Raw] = []


def categories_of(files: Sequence[Path]) -> dict[str, str]:
    """Names of the categories by their numbers, of the first JSON file among some; empty where there is none."""
    path = next((file for file in files if file.suffix in (".json", ".gz")), None)
    entries, _ = each(read_json(path, _CategoriesOnly).categories if path else [], Category)
    names = {spelled(entry.id): words(entry.name) for entry in entries}
    return {number: name for number, name in names.items() if name}


def find_file(root: Path, folders: Sequence[str], *names: str) -> Path | None:
    """The first of ROOT/FOLDER/NAME that is there; a JSON file may be packed with gzip, as NAME.gz."""
    packed = [f"{name}.gz" for name in names if name.endswith(".json")]
    paths = (root / folder / name for name in (*names, *packed) for folder in folders)
    return next((path for path in paths if path.is_file()), None)


def check_images(card: DatasetCard, location: Location, folders: Sequence[Path], what: str) -> None:
    """Raise `DatasetNotReady` unless one of the image folders is there; `what` names it as the card does."""
    if not any(folder.is_dir() for folder in folders):
        raise missing(card, location.images or location.root, what, [folder.name for folder in folders])
