"""MP3D-Amodal: occluded objects in Matterport3D views, with amodal masks from the 3D scans."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from msgspec import Raw, Struct

from amodal_bench.errors import DatasetNotReady
from amodal_bench.formats.coco import check_images, find_file, masks_of, spoiled
from amodal_bench.formats.entries import (
    BAD_IMAGE,
    NO_SIZE,
    Id,
    ImageEntry,
    Images,
    image_size,
    images_by_id,
    size_of,
    spelled,
)
from amodal_bench.formats.indexed import Indexed, InstanceOptions
from amodal_bench.formats.json_files import flag, number
from amodal_bench.formats.missing import missing
from amodal_bench.formats.records import NO_FORMAT, Record, once, unreadable
from amodal_bench.plugin import DatasetCard

from .plain import convert, read_pickle, text

AGAIN = "Get the official file again."
LACKING = "no visible mask (visible_mask)"


class RegionEntry(Struct):
    """One object. The released files call the rate `occlusion_rate`; COCO-A's name for it is read too."""

    segmentation: Any  # an RLE: the whole object
    visible_mask: Any = None  # always there in the released files: every object is occluded
    invisible_mask: Any = None
    category_id: Id | None = None
    isStuff: bool | int | float | str | None = None  # the format's own key
    occlusion_rate: float | str | bool | None = None
    occlude_rate: float | str | bool | None = None

    @property
    def rate(self) -> float | None:
        """The declared occlusion rate under either name."""
        return number(self.occlude_rate if self.occlusion_rate is None else self.occlusion_rate)


class Regions(Struct):
    """The objects of the image at the same place in `images`."""

    regions: list[Any]
    image_id: Id | None = None


class Mp3dFile(Struct):
    """The whole pickle: two lists that belong together place by place."""

    images: list[Any]
    annotations: list[Any]


class Mp3d(Indexed[InstanceOptions]):
    """Ids are `mp3d/SPLIT/IMAGE_ID/REGION`, with regions counted from 0 in the order of the file."""

    card = DatasetCard(
        title="MP3D-Amodal (Zhan et al., Amodal Ground Truth and Completion in the Wild, CVPR 2024)",
        paper="https://arxiv.org/abs/2312.17247",
        licence="Matterport3D terms of use",
        get="the links in the README of github.com/Championchess/Amodal-Completion-in-the-Wild: "
        "mp3d_eval.zip, mp3d_train.zip (unpack both) and the two pickles, whose name is spelled like that",
        tree="""
MP3D_seleted_eval_10.29.pkl   (and MP3D_seleted_train_10.29.pkl; also in annotations/)
mp3d_eval/                    the images of mp3d_eval.zip (and mp3d_train/; elsewhere: --image-root)
""",
        splits={"train": {}, "eval": {}},
        default_split="eval",
    )
    Options = InstanceOptions

    def annotation_files(self) -> Sequence[Path]:
        """The split's pickle."""
        name = f"MP3D_seleted_{self.split}_10.29.pkl"
        path = find_file(self.location.root, ("", "annotations"), name)
        if path is None:
            raise missing(self.card, self.location.root, name, [name])
        check_images(self.card, self.location, self.image_folders()[:1], f"mp3d_{self.split}/")
        return [path]

    def image_folders(self) -> Sequence[Path]:
        """The unpacked archive; --image-root may hold it or be it."""
        folder = f"mp3d_{self.split}"
        base = self.location.images or self.location.root
        if self.location.images and not (base / folder).is_dir():
            return [base]
        return [base / folder, base]

    def records(self, files: Sequence[Path]) -> Iterator[Record]:
        """All regions."""
        path = files[0]
        file = read_pickle(path, Mp3dFile)
        views, annotations = _converted(path, file)
        images = images_by_id([view for view in views if isinstance(view, ImageEntry)])
        yield from spoiled(path, images, [])
        records: dict[str, list[Record]] = {}
        for index, (view, annotation) in enumerate(zip(views, annotations, strict=True)):
            for record in _records(path, index, view, annotation, images):
                records.setdefault(record.image, []).append(record)
        _check_sizes(path, [record for found in records.values() for record in found])
        for found in records.values():
            yield from once(found, "another region has the same image and place")


def _converted(path: Path, file: Mp3dFile) -> tuple[list[ImageEntry | str], list[Regions | str]]:
    """Both lists, with what is wrong in the place of an item that is not in the official format.

    Raises `DatasetNotReady` where pairing by place would give masks to the wrong images.
    """
    if len(file.images) != len(file.annotations):
        raise DatasetNotReady(
            f"{path}: {len(file.images)} images and {len(file.annotations)} annotations: the lists belong "
            f"together place by place, so they must be of one length. {AGAIN}"
        )
    views = [convert(view, ImageEntry) for view in file.images]
    annotations = [convert(annotation, Regions) for annotation in file.annotations]
    for index, (view, annotation) in enumerate(zip(views, annotations, strict=True)):
        if isinstance(view, str) or isinstance(annotation, str) or annotation.image_id is None:
            continue
        if spelled(annotation.image_id) != spelled(view.id):
            raise DatasetNotReady(
                f"{path}: annotations[{index}] is of image {annotation.image_id}, but images[{index}] has the id "
                f"{view.id}: the lists are out of step. {AGAIN}"
            )
    return views, annotations


def _records(
    path: Path, index: int, view: ImageEntry | str, annotation: Regions | str, images: Images
) -> Iterator[Record]:
    where = f"{path.name}: annotations[{index}]"
    if isinstance(annotation, str):
        yield unreadable(f"[{index}]", "?", where, NO_FORMAT, f"{where}: {annotation}")
        return
    if isinstance(view, str):
        for k in range(len(annotation.regions)):
            yield unreadable(f"[{index}]", str(k), where, BAD_IMAGE, f"{path.name}: images[{index}]: {view}")
        return
    id = spelled(view.id)
    for k, value in enumerate(annotation.regions):
        region = convert(value, RegionEntry)
        lacking = images.lacking(id)
        if lacking or isinstance(region, str):
            name = f"{path.name}: image {id}, region {k}"
            reason, detail = lacking or (NO_FORMAT, str(region))
            yield unreadable(id, str(k), name, reason, f"{name}: {detail}")
        else:
            yield _record(path, view, k, region)


def _record(path: Path, view: ImageEntry, index: int, region: RegionEntry) -> Record:
    parts = (region.segmentation, region.visible_mask, region.invisible_mask)
    amodal, visible, invisible = (Raw(text(part)) for part in parts)
    masks = masks_of(amodal, visible, LACKING, invisible)
    where = f"{path.name}: image {spelled(view.id)}, region {index}"
    size = image_size(view, masks.amodal)
    if size is None:
        return unreadable(spelled(view.id), str(index), where, NO_SIZE, where)
    return Record(
        image=spelled(view.id),
        annotation=str(index),
        file=view.file_name,
        where=where,
        height=size[0],
        width=size[1],
        amodal=masks.amodal,
        visible=masks.visible,
        invisible=masks.invisible,
        lacking=masks.lacking,
        category=None if region.category_id is None else spelled(region.category_id),
        is_stuff=None if region.isStuff is None else flag(region.isStuff),
        declared_rate=region.rate,
        dropped=masks.dropped,
    )


def _check_sizes(path: Path, records: Sequence[Record]) -> None:
    """Raise `DatasetNotReady` where most masks are of another size than their images: then the lists do not match."""
    sizes = [(record, size_of(record.amodal)) for record in records]
    other = [(record, size) for record, size in sizes if size and size != (record.height, record.width)]
    if 2 * len(other) > len(records):
        record, size = other[0]
        raise DatasetNotReady(
            f"{path}: {len(other)} of {len(records)} masks are of another size than their images, the first is of "
            f"{record.where}: {size}, its image {(record.height, record.width)} (height, width). Perhaps images and "
            f"annotations are out of step. {AGAIN}"
        )
