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

from msgspec import Raw, Struct

from amodal_bench.errors import BadRecord, DatasetNotReady
from amodal_bench.formats.coco import CocoFile, VisibleAnnotation, masks_of, read_coco, record_of, spoiled
from amodal_bench.formats.entries import NO_SIZE, Id, size_of, spelled
from amodal_bench.formats.json_files import decode, read_text
from amodal_bench.formats.photos import parts_of
from amodal_bench.formats.records import NO_FORMAT, Record, each, unreadable

FRAME = re.compile(r"[0-9]{1,18}$")
LACKING = "occluded, but there is no visible mask"
NO_PLACE = "its image's file_name is not of the form SCENE/FRAME.bmp"


class FrameName(NamedTuple):
    """Where a frame belongs; sorts by scene, and within a scene by time."""

    scene: str
    frame: int
    stem: str

    @property
    def image(self) -> str:
        """As it stands in ids."""
        return f"{self.scene}:{self.stem}"


class SailVosAnnotation(VisibleAnnotation, gc=False, kw_only=True):
    """One object in one frame; `obj_id` follows it through the scene."""

    obj_id: Id | None = None


class ClipEntry(Struct):
    """One object in some frames; the lists belong together place by place."""

    segmentation: list[Raw]
    visible_mask: list[Raw]
    image_file_names: list[str]
    obj_id: Id
    category_id: Id | None = None


def json_records(path: Path) -> Iterator[Record]:
    """All objects in all frames, by scene and frame; raises `DatasetNotReady` naming file and record."""
    text = read_text(path)
    clips = text[:100].lstrip()[:1] == b"["
    return _clip_records(path, text) if clips else _annotation_records(path, read_coco(path, SailVosAnnotation, text))


def frame_name_of(file_name: str, where: str) -> FrameName:
    """Scene and frame of "SCENE/FRAME.bmp" or "SCENE/images/FRAME.bmp", under any root; raises `BadRecord`."""
    *folders, file = parts_of(file_name) or ("",)
    stem = PurePosixPath(file).stem
    number = FRAME.search(stem)
    if folders[-1:] == ["images"]:
        folders.pop()
    if not folders or number is None or ".." in folders:
        raise BadRecord(f"{where}: file_name {file_name!r} is not of the form SCENE/FRAME.bmp with a frame number")
    return FrameName(folders[-1], int(number[0]), stem)


def _annotation_records(path: Path, file: CocoFile[SailVosAnnotation]) -> Iterator[Record]:
    yield from spoiled(path, file.images, file.malformed)
    frames = _frames(path, file)
    placed = [annotation for annotation in file.annotations if spelled(annotation.image_id) in frames]
    placed.sort(key=lambda annotation: frames[spelled(annotation.image_id)])  # stable: the file's order in a frame
    seen: set[tuple[str, str]] = set()
    for annotation in placed:
        record = record_of(path, file, annotation, annotation.masks(LACKING if annotation.rate else None))
        name = record.annotation if annotation.obj_id is None else spelled(annotation.obj_id).replace("/", "%2F")
        yield _once(replace(record, image=frames[spelled(annotation.image_id)].image, annotation=name), seen)
    for annotation in file.annotations:
        if spelled(annotation.image_id) not in frames:
            record = record_of(path, file, annotation, annotation.masks(None))
            yield record if record.dropped else replace(record, dropped=NO_PLACE, detail=record.where)


def _frames(path: Path, file: CocoFile[SailVosAnnotation]) -> dict[str, FrameName]:
    """By image; raises `DatasetNotReady` where no image has one."""
    frames: dict[str, FrameName] = {}
    first: BadRecord | None = None
    for id, image in file.images.known.items():
        try:
            frames[id] = frame_name_of(image.file_name, f"{path}: image {id}")
        except BadRecord as error:
            first = first or error
    if first and not frames:
        raise DatasetNotReady(str(first))
    return frames


def _clip_records(path: Path, text: bytes) -> Iterator[Record]:
    clips, malformed = each(decode(text, list[Raw], path), ClipEntry)
    rows: list[tuple[FrameName, int, int]] = []
    bad = [f"{path.name}: clip {one.number}: {one.text}" for one in malformed]
    for number, clip in enumerate(clips):
        try:
            rows += _rows(f"{path.name}: clip {number}", number, clip)
        except BadRecord as error:
            bad.append(str(error))
    if bad and not rows:
        raise DatasetNotReady(f"{path.parent / bad[0]}")
    for index, what in enumerate(bad):
        yield unreadable("?", f"[{index}]", what, NO_FORMAT, what)
    rows.sort()
    seen: set[tuple[str, str]] = set()
    for frame, number, k in rows:
        yield _once(_of_clip(path, frame, number, k, clips[number]), seen)


def _rows(where: str, number: int, clip: ClipEntry) -> list[tuple[FrameName, int, int]]:
    """Name, number of the clip and index in the clip of each frame; raises `BadRecord`."""
    lengths = [len(clip.segmentation), len(clip.visible_mask), len(clip.image_file_names)]
    if len(set(lengths)) > 1:
        raise BadRecord(
            f"{where}: {lengths[0]} masks, {lengths[1]} visible masks and {lengths[2]} file names: "
            "the lists belong together place by place, so they must be of one length"
        )
    return [(frame_name_of(name, where), number, k) for k, name in enumerate(clip.image_file_names)]


def _of_clip(path: Path, frame: FrameName, number: int, k: int, clip: ClipEntry) -> Record:
    where = f"{path.name}: clip {number}, frame {k} ({clip.image_file_names[k]})"
    masks = masks_of(clip.segmentation[k], clip.visible_mask[k], "no visible mask")
    size = size_of(masks.amodal)
    name = spelled(clip.obj_id).replace("/", "%2F")
    if size is None:
        reason = masks.dropped or NO_SIZE
        return unreadable(frame.image, name, where, reason, f"{where}: segmentation must be an RLE with its size")
    return Record(
        image=frame.image,
        annotation=name,
        file=clip.image_file_names[k],
        where=where,
        height=size[0],
        width=size[1],
        amodal=masks.amodal,
        visible=masks.visible,
        lacking=masks.lacking,
        category=None if clip.category_id is None else spelled(clip.category_id),
        dropped=masks.dropped,
    )


def _once(record: Record, seen: set[tuple[str, str]]) -> Record:
    """The first of several records of one object in one frame counts: clips may overlap."""
    key = record.image, record.annotation
    if key in seen:
        return replace(record, dropped="another annotation is of the same object and frame")
    seen.add(key)
    return record
