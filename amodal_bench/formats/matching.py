"""Detections without the ids of instances: each is given to at most one instance, by the overlap of visible masks."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from amodal_bench.errors import BadRecord
from amodal_bench.formats.json_files import whole
from amodal_bench.masks import rle
from amodal_bench.types import parse_id

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


class Detection(NamedTuple):
    """One entry of a detector's file. `image` and `category` are names; `number` is where the entry stands."""

    number: int
    image: str
    category: str | None
    score: float
    segmentation: Any  # in any spelling that `rle.from_annotation` reads


class Truth(NamedTuple):
    """The visible mask of one instance; `number` is that of its id in the dataset."""

    number: int
    id: str
    category: str | None
    visible: rle.Code


@dataclass(slots=True)
class Matching:
    """`given`: index of an instance -> its detection. The rest is what became of the others, for the user."""

    given: dict[int, Detection] = field(default_factory=dict)
    detections: int = 0
    elsewhere: int = 0  # detections of images that the dataset does not have
    malformed: list[str] = field(default_factory=list)


def match(
    truths: Iterable[Truth], detections: Sequence[Detection], iou: float, class_aware: bool, where: str
) -> Matching:
    """Match instances and detections of each image one to one, so that the sum of their IoU is largest.

    Pairs with an IoU below `iou`, and with `class_aware` those of two categories, are never made. Detections of a
    higher score come first, then those whose mask sorts first, so that the order of the file changes nothing. `where`
    names the file in `Matching.malformed`.
    """
    by_image: dict[str, list[Truth]] = defaultdict(list)
    for truth in truths:
        by_image[parse_id(truth.id).image].append(truth)
    plain = _by_plain_name(by_image)
    found: dict[str, list[Detection]] = defaultdict(list)
    matching = Matching(detections=len(detections))
    for detection in detections:
        known = detection.image in by_image
        image = detection.image if known else plain.get(plain_image(detection.image))
        if image is None:
            matching.elsewhere += 1
        else:
            found[image].append(detection)
    for image, entries in found.items():
        _match_image(by_image[image], entries, iou, class_aware, where, matching)
    return matching


def plain_image(name: str) -> str:
    """An image's name with whole numbers as such, so that `000017` is 17 and `000002:000003` is `2:3`."""
    return ":".join(part if (number := whole(part)) is None else str(number) for part in name.split(":"))


def _by_plain_name(images: Iterable[str]) -> Mapping[str, str]:
    """Images by their names with numbers as such, where that is the name of one of them only."""
    plain: dict[str, list[str]] = defaultdict(list)
    for image in images:
        plain[plain_image(image)].append(image)
    return {name: alike[0] for name, alike in plain.items() if len(alike) == 1}


def _match_image(
    truths: Sequence[Truth],
    detections: Sequence[Detection],
    iou: float,
    class_aware: bool,
    where: str,
    matching: Matching,
) -> None:
    height, width = truths[0].visible["size"]
    usable: list[tuple[Detection, rle.Code]] = []
    for detection in detections:
        entry = f"{where}: entry {detection.number}"
        try:
            usable.append((detection, rle.from_annotation(detection.segmentation, height, width, entry)))
        except BadRecord as error:
            matching.malformed.append(str(error))
    usable.sort(key=lambda pair: (-pair[0].score, pair[1]["counts"]))
    overlaps = _overlaps([truth.visible for truth in truths], [code for _, code in usable])
    allowed = overlaps >= iou
    if class_aware:
        kinds = np.array([detection.category for detection, _ in usable], dtype=object)
        allowed &= np.array([truth.category for truth in truths], dtype=object)[:, None] == kinds[None, :]
    for row, column in assign(overlaps, allowed):
        matching.given[truths[row].number] = usable[column][0]


def _overlaps(truths: list[rle.Code], detections: list[rle.Code]) -> Floats:
    """IoU (truths, detections)."""
    if not detections:
        return np.zeros((len(truths), 0))
    return np.asarray(coco.iou(truths, detections, [0] * len(detections)), dtype=np.float64)


def assign(overlaps: Floats, allowed: Bools) -> list[tuple[int, int]]:
    """(row, column) pairs, each row and column at most once, all `allowed`, whose overlaps have the largest sum."""
    weights = np.where(allowed, overlaps, 0.0)
    from scipy.optimize import linear_sum_assignment  # heavy, and few commands need it

    rows, columns = linear_sum_assignment(weights, maximize=True)
    return [(int(r), int(c)) for r, c in zip(rows, columns, strict=True) if allowed[r, c] and weights[r, c] > 0]
