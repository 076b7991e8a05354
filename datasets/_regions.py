"""The region format of the amodalAPI (Zhu et al., CVPR 2017), which COCO-A and BSDS-A share.

One record per image and annotator, holding its regions in depth order: `order` 1 is front-most and may have
gaps. A region's polygon is its amodal outline; `visible_mask` is there if and only if something hides it.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Raw, Struct

from amodal_bench.errors import DatasetNotReady

from ._coco_like import ImageEntry, images_by_id
from ._records import Record, present, read_json, repeated


class Region(Struct):
    """One region. `size` of its record is not reliable and never read."""

    segmentation: Raw
    order: int
    name: str = ""
    isStuff: int = 0  # the format's own key
    occlude_rate: float | None = None
    visible_mask: Raw = Raw()


class Annotation(Struct):
    """The regions that one annotator drew in one image."""

    image_id: int
    regions: list[Region]


class RegionFile(Struct):
    """The whole JSON file."""

    images: list[ImageEntry]
    annotations: list[Annotation]


def region_records(path: Path) -> Iterator[Record]:
    """Every region, joined to its image by `image_id`, in the order of the file's annotations.

    The annotation part of an id is `annotator.order`, with annotators counted from 0 within an image.
    """
    file = read_json(path, RegionFile)
    images = images_by_id(path, file.images)
    annotators: dict[int, list[Annotation]] = {}
    for place, annotation in enumerate(file.annotations):
        if annotation.image_id not in images:
            raise DatasetNotReady(
                f"{path}: annotation {place} is of image {annotation.image_id}, which is not in images"
            )
        annotators.setdefault(annotation.image_id, []).append(annotation)
    for image_id, annotations in annotators.items():
        for annotator, annotation in enumerate(annotations):
            yield from _records_of(path, images[image_id], annotator, annotation.regions)


def _records_of(path: Path, image: ImageEntry, annotator: int, regions: Sequence[Region]) -> Iterator[Record]:
    twice = repeated([region.order for region in regions])
    for region in regions:
        yield Record(
            image=str(image.id),
            annotation=f"{annotator}.{region.order}",
            file=image.file_name,
            where=f"{path.name}: image {image.id}, annotator {annotator}, region of order {region.order}",
            height=image.height,
            width=image.width,
            amodal=bytes(region.segmentation),
            visible=present(region.visible_mask),
            category=region.name.strip() or None,
            is_stuff=bool(region.isStuff),
            declared_rate=region.occlude_rate,
            scene=f"{image.id}/{annotator}",
            front=region.order,
            dropped="another region has the same order" if region.order in twice else None,
        )
