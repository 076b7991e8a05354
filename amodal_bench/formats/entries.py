"""The images of an annotation file, and ids as files have them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from amodal_bench.formats.json_files import identity
from amodal_bench.formats.records import NO_FORMAT, NO_IMAGE, Malformed

NO_SIZE = "the size of its image is not stated"
BAD_IMAGE = f"the entry of its image is {NO_FORMAT}"
SEVERAL = "several images have the id of its image"
Side = Annotated[int, Meta(ge=1, le=30_000)]  # pixels; more is no photo but a damaged header
Id = int | float | str  # as files have it: `spelled` makes it one


class ImageEntry(Struct, gc=False):
    """One photo."""

    id: Id
    file_name: str
    height: Side | None = None
    width: Side | None = None


@dataclass(frozen=True, slots=True)
class Images:
    """The images of a file by id; `unusable` says why the annotations of others are none, `copies` stand twice."""

    known: dict[str, ImageEntry]
    unusable: dict[str, tuple[str, str]]
    copies: list[str]

    def lacking(self, id: str) -> tuple[str, str] | None:
        """Why an annotation of this image is no instance, and in detail; None where the image is there."""
        return None if id in self.known else self.unusable.get(id, (NO_IMAGE, f"image {id}"))


def images_by_id(images: Sequence[ImageEntry], malformed: Sequence[Malformed] = ()) -> Images:
    """Images by id: identical entries are one, entries that differ are none."""
    found = Images({}, {bad.known.name: (BAD_IMAGE, f"images[{bad.number}]: {bad.text}") for bad in malformed}, [])
    for image in images:
        id = spelled(image.id)
        first = found.known.setdefault(id, image)
        if first is image:
            continue
        if _facts(first) == _facts(image):
            found.copies.append(id)
        else:
            found.unusable[id] = SEVERAL, f"{first.file_name} and {image.file_name}"
    for id in found.unusable:
        found.known.pop(id, None)
    return found


def _facts(image: ImageEntry) -> tuple[str, int | None, int | None]:
    return image.file_name, image.height, image.width


def image_size(image: ImageEntry, mask: bytes) -> tuple[int, int] | None:
    """(height, width) of an image, from a mask of it where its entry states none."""
    return (image.height, image.width) if image.height and image.width else size_of(mask)


class _Sized(Struct):
    """What is read of a mask beside its text."""

    size: tuple[Side, Side]


def size_of(mask: bytes) -> tuple[int, int] | None:
    """(height, width) of a mask as JSON text that states it: an RLE, or a list of one."""
    try:
        return msgspec.json.decode(mask.strip(b"[] "), type=_Sized, strict=False).size
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def spelled(id: Id) -> str:
    """An id as text; one that is none, such as 7.5, as it stands."""
    try:
        return identity(id)
    except ValueError:
        return str(id)
