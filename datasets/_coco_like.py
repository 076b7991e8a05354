"""JSON files in the manner of COCO: images, annotations and categories side by side, one annotation an object.

What they call the masks differs from dataset to dataset: an adapter subclasses `Annotation` with its keys and
says how they become `Masks`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Generic, NamedTuple, TypeVar

from msgspec import Meta, Raw, Struct

from amodal_bench.errors import DatasetNotReady
from amodal_bench.plugin import DatasetCard, Location

from ._location import missing
from ._records import Record, present, read_json, repeated

TWICE = "another annotation has the same id"
Side = Annotated[int, Meta(ge=1, le=30_000)]  # pixels; more is no photo but a damaged header


class ImageEntry(Struct, gc=False):
    """One photo."""

    id: int
    file_name: str
    height: Side
    width: Side


class Category(Struct, gc=False):
    """What an object is."""

    id: int
    name: str


class Annotation(Struct, gc=False):
    """What every annotation has; the subclass of a dataset adds its masks as Raw, so that none is parsed here."""

    id: int
    image_id: int
    category_id: int | None = None
    occlude_rate: float | None = None


class VisibleAnnotation(Annotation, gc=False, kw_only=True):
    """The spelling of COCOA-cls, D2SA and others: `segmentation` is the amodal mask."""

    segmentation: Raw
    visible_mask: Raw = Raw()


A = TypeVar("A", bound=Annotation)


class CocoFile(Struct, Generic[A]):
    """The whole JSON file."""

    images: list[ImageEntry]
    annotations: list[A]
    categories: list[Category] = []


class ImagesOnly(Struct):
    """A file of which nothing but the images is needed."""

    images: list[ImageEntry]


class Masks(NamedTuple):
    """JSON text of an annotation's masks, and why it can not be an instance, if so."""

    amodal: bytes
    visible: bytes | None
    dropped: str | None


def masks_of(amodal: Raw, visible: Raw, lacking: str | None) -> Masks:
    """`lacking`: why an annotation without a visible mask is none; None where nothing hides such an object."""
    whole, seen = present(amodal), present(visible)
    if whole is None or _empty(whole):
        return Masks(b"[]", seen, "amodal mask is empty")
    if seen is None:
        return Masks(whole, None, lacking)
    return Masks(whole, seen, "visible mask is empty" if _empty(seen) else None)


def _empty(text: bytes) -> bool:
    """Whether a list of polygons holds none."""
    return not text.strip(b"[] \t\r\n")


def read_coco(path: Path, kind: type[A]) -> CocoFile[A]:
    """Parse a file with annotations of a kind; raises `DatasetNotReady` naming file and record."""
    file: CocoFile[A] = read_json(path, CocoFile[kind])  # type: ignore[valid-type]
    known = images_by_id(path, file.images)
    for place, annotation in enumerate(file.annotations):
        if annotation.image_id not in known:
            raise DatasetNotReady(
                f"{path}: annotation {place} (id {annotation.id}) is of image {annotation.image_id}, "
                "which is not in images"
            )
    return file


def images_by_id(path: Path, images: Sequence[ImageEntry]) -> dict[int, ImageEntry]:
    """Images by id; raises `DatasetNotReady` for an id twice."""
    twice = repeated([image.id for image in images])
    if twice:
        raise DatasetNotReady(f"{path}: {len(twice)} image ids stand for several images, the first is {min(twice)}")
    return {image.id: image for image in images}


def annotations_by_image(annotations: Sequence[A]) -> dict[int, list[A]]:
    """Annotations of each image, both in the order of the file."""
    found: dict[int, list[A]] = {}
    for annotation in annotations:
        found.setdefault(annotation.image_id, []).append(annotation)
    return found


def category_names(file: CocoFile[A]) -> dict[int, str]:
    """By id."""
    return {category.id: category.name.strip() for category in file.categories}


def coco_records(path: Path, file: CocoFile[A], masks: Callable[[A], Masks]) -> Iterator[Record]:
    """Every annotation, joined to its image by `image_id`; ids are `image_id/annotation id`."""
    images, names = {image.id: image for image in file.images}, category_names(file)
    for image_id, annotations in annotations_by_image(file.annotations).items():
        twice = repeated([annotation.id for annotation in annotations])
        for annotation in annotations:
            record = record_of(path, images[image_id], annotation, masks(annotation), names)
            yield replace(record, dropped=TWICE) if annotation.id in twice else record


def record_of(path: Path, image: ImageEntry, annotation: Annotation, masks: Masks, names: dict[int, str]) -> Record:
    """The record of one annotation."""
    return Record(
        image=str(image.id),
        annotation=str(annotation.id),
        file=image.file_name,
        where=f"{path.name}: image {image.id}, annotation {annotation.id}",
        height=image.height,
        width=image.width,
        amodal=masks.amodal,
        visible=masks.visible,
        category=names.get(annotation.category_id) if annotation.category_id is not None else None,
        declared_rate=annotation.occlude_rate,
        dropped=masks.dropped,
    )


def find_file(root: Path, folders: Sequence[str], *names: str) -> Path | None:
    """The first of ROOT/FOLDER/NAME that is there; a JSON file may be packed with gzip, as NAME.gz."""
    packed = [f"{name}.gz" for name in names if name.endswith(".json")]
    places = (root / folder / name for name in (*names, *packed) for folder in folders)
    return next((path for path in places if path.is_file()), None)


def check_images(card: DatasetCard, location: Location, folders: Sequence[Path], what: str) -> None:
    """Raise `DatasetNotReady` unless one of the image folders is there; `what` names it as the card does."""
    if not any(folder.is_dir() for folder in folders):
        raise missing(card, location.images or location.root, what, [folder.name for folder in folders])
