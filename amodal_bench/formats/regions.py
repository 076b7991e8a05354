"""The region format of the amodalAPI (Zhu et al., CVPR 2017), which COCO-A and BSDS-A share.

One record per image and annotator, holding its regions in depth order: `order` 1 is front-most and may have
gaps. A region's polygon is its amodal outline; `visible_mask` is there if and only if something hides it. Where a file
has it not, what is seen of a region follows from `invisible_mask`, or from the regions in front.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from msgspec import Raw, Struct

from amodal_bench.errors import DatasetNotReady
from amodal_bench.formats.coco import masks_of, spoiled
from amodal_bench.formats.entries import NO_SIZE, Id, ImageEntry, Images, image_size, images_by_id, spelled
from amodal_bench.formats.json_files import OtherFormat, decode, flag, number, read_text, words
from amodal_bench.formats.records import NO_FORMAT, Malformed, Record, each, once, unreadable

TWICE = "another region has the same order"
NO_ORDER = "no depth order (order), by which regions are told apart"
LACKING = "no visible mask, and neither invisible_mask nor the depth order tells what is seen"
MOST_ORDER = 2**31


class Region(Struct):
    """One region. `size` of its record is not reliable and never read."""

    segmentation: Raw
    order: Id | None = None
    name: str | int | float | bool | None = None
    isStuff: bool | int | float | str | None = None  # the format's own key
    occlude_rate: float | str | bool | None = None
    visible_mask: Raw = Raw()
    invisible_mask: Raw = Raw()

    @property
    def depth(self) -> int | None:
        """`order` where it is a whole number."""
        depth = number(self.order)
        return int(depth) if depth is not None and depth.is_integer() and abs(depth) < MOST_ORDER else None


class RegionAnnotation(Struct):
    """The regions that one annotator drew in one image."""

    image_id: Id
    regions: list[Raw]


class _Strict(Struct):
    """The whole JSON file, where all of it but single regions is in the official format."""

    images: list[ImageEntry]
    annotations: list[RegionAnnotation]


class _Loose(Struct):
    """The whole JSON file, where some of it may not be."""

    images: list[Raw]
    annotations: list[Raw]


class DrawnRegions(NamedTuple):
    """The regions of one annotator in one image, as far as they are regions; `where` names them in errors."""

    image: str
    annotator: int
    where: str
    regions: list[Region]
    malformed: list[Malformed]


def region_records(path: Path) -> Iterator[Record]:
    """Every region, joined to its image by `image_id`, in the order of the file's annotations.

    The annotation part of an id is `annotator.order`, with annotators counted from 0 within an image. Raises
    `DatasetNotReady` for a file in which nothing is in the official format.
    """
    images, annotations, malformed = _read(path)
    drawn = list(_drawn(path, annotations))
    bad = [
        f"{one.where}, regions[{one.malformed[0].number}]: {one.malformed[0].text}" for one in drawn if one.malformed
    ]
    if bad and not any(one.regions for one in drawn):
        raise DatasetNotReady(f"{path.parent}/{bad[0]}: not in the official format")
    yield from spoiled(path, images, malformed)
    for one in drawn:
        yield from _spoiled(one, images.lacking(one.image))
        if one.image in images.known:
            yield from once([_record(one, images.known[one.image], region) for region in one.regions], TWICE)


def _read(path: Path) -> tuple[Images, list[RegionAnnotation], list[Malformed]]:
    text = read_text(path)
    try:
        strict = decode(text, _Strict, path)
        images, annotations = strict.images, strict.annotations
        bad_images: list[Malformed] = []
        malformed: list[Malformed] = []
    except OtherFormat:
        loose = decode(text, _Loose, path)
        images, bad_images = each(loose.images, ImageEntry)
        annotations, malformed = each(loose.annotations, RegionAnnotation)
        if (malformed and not annotations) or (bad_images and not images):
            raise
    return images_by_id(images, bad_images), annotations, malformed


def _drawn(path: Path, annotations: Sequence[RegionAnnotation]) -> Iterator[DrawnRegions]:
    """By image, in the order in which the images first come."""
    by_image: dict[str, list[RegionAnnotation]] = {}
    for annotation in annotations:
        by_image.setdefault(spelled(annotation.image_id), []).append(annotation)
    for image, records in by_image.items():
        for annotator, record in enumerate(records):
            where = f"{path.name}: image {image}, annotator {annotator}"
            yield DrawnRegions(image, annotator, where, *each(record.regions, Region))


def _spoiled(drawn: DrawnRegions, missing: tuple[str, str] | None) -> Iterator[Record]:
    """What can not be read of an annotator's regions; all, and at least one record, where the image is not there."""
    for bad in drawn.malformed:
        where = f"{drawn.where}, regions[{bad.number}]"
        name = f"{drawn.annotator}.[{bad.number}]"
        yield unreadable(drawn.image, name, where, NO_FORMAT, f"{where}: {bad.text}")
    if missing:
        for index in range(len(drawn.regions) or not drawn.malformed):
            name, text = f"{drawn.annotator}.[{index}]", f"{drawn.where}: {missing[1]}"
            yield unreadable(drawn.image, name, drawn.where, missing[0], text)


def _record(drawn: DrawnRegions, image: ImageEntry, region: Region) -> Record:
    depth, rate = region.depth, number(region.occlude_rate)
    where = f"{drawn.where}, region of order {region.order}"
    masks = masks_of(region.segmentation, region.visible_mask, None if rate == 0 else LACKING, region.invisible_mask)
    size = image_size(image, masks.amodal)
    if size is None:
        return unreadable(drawn.image, f"{drawn.annotator}.{depth}", where, NO_SIZE, where)
    return Record(
        image=drawn.image,
        annotation=f"{drawn.annotator}.{'?' if depth is None else depth}",
        file=image.file_name,
        where=where,
        height=size[0],
        width=size[1],
        amodal=masks.amodal,
        visible=masks.visible,
        invisible=masks.invisible,
        lacking=masks.lacking,
        category=words(region.name),
        is_stuff=flag(region.isStuff),
        declared_rate=rate,
        scene=f"{drawn.image}/{drawn.annotator}",
        front=depth,
        dropped=masks.dropped or (NO_ORDER if depth is None else None),
        detail=where if depth is None else None,
    )
