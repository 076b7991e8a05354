"""SAIL-VOS in one JSON file: the COCO-like one of its authors, or the list of clips of Diffusion-VAS.

The COCO-like file names frames "SCENE/FRAME.bmp" and objects `obj_id`, a number within the scene. A clip is one
object in 25 frames, with a list for each of masks, visible masks and file names. In both, `segmentation` is the
amodal mask.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import msgspec
from msgspec import Raw, Struct

from amodal_bench.errors import DatasetNotReady

from ._coco_like import Side, VisibleAnnotation, masks_of, read_coco, record_of
from ._images import parts_of
from ._records import Record, present, read_json

FRAME = re.compile(r"\d{1,18}$")
LACKING = "occluded, but there is no visible mask"


class Place(NamedTuple):
    """Where a frame belongs; sorts by scene, and within a scene by time."""

    scene: str
    frame: int
    stem: str

    @property
    def image(self) -> str:
        """As it stands in ids."""
        return f"{self.scene}:{self.stem}"


class Annotation(VisibleAnnotation, gc=False, kw_only=True):
    """One object in one frame; `obj_id` follows it through the scene."""

    obj_id: int | None = None


class Sized(Struct, gc=False):
    """What is read of a clip's mask beside its text."""

    size: tuple[Side, Side]


class Clip(Struct):
    """One object in some frames; the lists belong together place by place."""

    segmentation: list[Raw]
    visible_mask: list[Raw]
    image_file_names: list[str]
    obj_id: int
    category_id: int | None = None


def json_records(path: Path) -> Iterator[Record]:
    """All objects in all frames, by scene and frame; raises `DatasetNotReady` naming file and record."""
    with path.open("rb") as file:
        clips = file.read(100).lstrip()[:1] == b"["
    return _clip_records(path) if clips else _annotation_records(path)


def place_of(file_name: str, where: str) -> Place:
    """Scene and frame of "SCENE/FRAME.bmp" or "SCENE/images/FRAME.bmp", under any root; raises `DatasetNotReady`."""
    *folders, file = parts_of(file_name) or ("",)
    stem = PurePosixPath(file).stem
    number = FRAME.search(stem)
    if folders[-1:] == ["images"]:
        folders.pop()
    if not folders or number is None or ".." in folders:
        raise DatasetNotReady(
            f"{where}: file_name {file_name!r} is not of the form SCENE/FRAME.bmp with a frame number"
        )
    return Place(folders[-1], int(number[0]), stem)


def _annotation_records(path: Path) -> Iterator[Record]:
    file = read_coco(path, Annotation)
    images = {image.id: image for image in file.images}
    places = {image.id: place_of(image.file_name, f"{path}: image {image.id}") for image in file.images}
    names = {category.id: category.name.strip() for category in file.categories}
    file.annotations.sort(key=lambda annotation: places[annotation.image_id])  # stable: the file's order in a frame
    seen: set[tuple[str, str]] = set()
    for annotation in file.annotations:
        lacking = LACKING if annotation.occlude_rate else None
        masks = masks_of(annotation.segmentation, annotation.visible_mask, lacking)
        record = replace(
            record_of(path, images[annotation.image_id], annotation, masks, names),
            image=places[annotation.image_id].image,
            annotation=str(annotation.id if annotation.obj_id is None else annotation.obj_id),
        )
        yield _once(record, seen)


def _clip_records(path: Path) -> Iterator[Record]:
    clips = read_json(path, list[Clip])
    rows = []
    for number, clip in enumerate(clips):
        where = f"{path}: clip {number}"
        lengths = [len(clip.segmentation), len(clip.visible_mask), len(clip.image_file_names)]
        if len(set(lengths)) > 1:
            raise DatasetNotReady(
                f"{where}: {lengths[0]} masks, {lengths[1]} visible masks and {lengths[2]} file names: "
                "the lists belong together place by place, so they must be of one length"
            )
        rows += [(place_of(name, where), number, k) for k, name in enumerate(clip.image_file_names)]
    rows.sort()
    seen: set[tuple[str, str]] = set()
    for place, number, k in rows:
        yield _once(_of_clip(path, place, number, k, clips[number]), seen)


def _of_clip(path: Path, place: Place, number: int, k: int, clip: Clip) -> Record:
    where = f"{path.name}: clip {number}, frame {k} ({clip.image_file_names[k]})"
    masks = masks_of(clip.segmentation[k], clip.visible_mask[k], "no visible mask")
    height, width = _size(clip.segmentation[k], where, path) if present(clip.segmentation[k]) else (1, 1)
    return Record(
        image=place.image,
        annotation=str(clip.obj_id),
        file=clip.image_file_names[k],
        where=where,
        height=height,
        width=width,
        amodal=masks.amodal,
        visible=masks.visible,
        category=None if clip.category_id is None else str(clip.category_id),
        dropped=masks.dropped,
    )


def _size(mask: Raw, where: str, path: Path) -> tuple[int, int]:
    try:
        return msgspec.json.decode(mask, type=Sized).size
    except msgspec.ValidationError as error:
        raise DatasetNotReady(f"{path.parent / where}: segmentation must be an RLE with its size ({error})") from None


def _once(record: Record, seen: set[tuple[str, str]]) -> Record:
    """The first of several records of one object in one frame counts: clips may overlap."""
    key = record.image, record.annotation
    if key in seen:
        return replace(record, dropped="another annotation is of the same object and frame")
    seen.add(key)
    return record
