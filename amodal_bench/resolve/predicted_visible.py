"""Visible masks from elsewhere: the method gets a detector's, the metric keeps the ground truth's.

`--visible predicted:FILE` names COCO results: a JSON list of `{"image_id", "segmentation", "category_id", "score"}`
(an RLE of any spelling), or a Parquet table of `image_id, size, counts, category_id, score`. Image ids are the IMAGE
part of ours. Entries with `ann_id`, the ANN part, are given to that instance; entries without are matched to the true
visible masks. `predicted:FILE,iou=0.6,class_aware=true` changes how.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from amodal_bench.errors import BadRecord, Refused
from amodal_bench.files.cache import file_digest
from amodal_bench.formats.matching import Detection, Matching, Truth, match
from amodal_bench.formats.visible_entries import VisibleEntry, read_entries
from amodal_bench.funnel import Funnel
from amodal_bench.masks import rle
from amodal_bench.plugin import AnyDataset, Dataset, Settings
from amodal_bench.resolve.presets import build
from amodal_bench.types import AmodalSample, parse_id

TRUTH = "gt"


class MatchOptions(Settings):
    """How entries without `ann_id` are matched: least IoU, and whether the categories must be equal."""

    iou: float = Field(default=0.5, gt=0, le=1)
    class_aware: bool = False


@dataclass(frozen=True, slots=True)
class VisibleFile:
    """`predicted:FILE[,KEY=VALUE ...]`; `asked` is all after the file, as it was given."""

    path: Path
    options: MatchOptions
    asked: str = ""


def parse(text: str) -> VisibleFile | None:
    """What `predicted:FILE[,KEY=VALUE ...]` asks for, None for `gt`; raises `Refused`."""
    if text == TRUTH:
        return None
    kind, colon, rest = text.partition(":")
    if kind != "predicted" or not colon or not rest:
        raise Refused(f"--visible takes gt or predicted:FILE, got {text!r}")
    name = rest
    values: dict[str, str] = {}
    while not Path(name).is_file():
        head, comma, last = name.rpartition(",")
        key, equals, value = last.partition("=")
        if not (comma and equals):
            raise Refused(f"--visible predicted:{name}: no such file")
        name, values = head, {key.strip(): value.strip(), **values}
    options = build(MatchOptions, values, "--visible predicted:FILE,KEY=VALUE")
    return VisibleFile(Path(name), MatchOptions(**dict(options)), rest.removeprefix(name))


def absolute(text: str) -> str:
    """`text` with an absolute file, which still holds when a worker starts in another folder; raises `Refused`."""
    source = parse(text)
    return text if source is None else f"predicted:{source.path.absolute()}{source.asked}"


def spelled(text: str) -> str:
    """What the spec records: `gt`, or `predicted:` and the file's sha256, and how its masks are matched."""
    source = parse(text)
    if source is None:
        return TRUTH
    how = [f"{name}={json.dumps(value)}" for name, value in source.options.model_dump().items()]
    return ",".join([f"predicted:{file_digest(source.path)}", *how])


def with_visible(dataset: AnyDataset, text: str) -> AnyDataset:
    """The dataset with the masks of `--visible` in its queries; instances that have none are `unmatched` samples.

    Raises `Refused` where the file cannot be read, or holds no mask of any instance.
    """
    source = parse(text)
    if source is None:
        return dataset
    entries = read_entries(source.path)
    ids = {entry.annotation is not None for entry in entries}
    if len(ids) > 1:
        index = next(k for k, entry in enumerate(entries) if entry.annotation is None)
        raise Refused(f"{source.path}: entry {index} has no ann_id, but others have: give it to all, or to none")
    if ids == {True}:
        return _by_id(dataset, source, entries)
    return _by_overlap(dataset, source, entries)


def _by_id(dataset: AnyDataset, source: VisibleFile, entries: Sequence[VisibleEntry]) -> AnyDataset:
    if source.asked:
        raise Refused(f"{source.path}: its entries have ann_id, so nothing is matched: leave {source.asked[1:]} out")
    masks: dict[tuple[str, str | None], Any] = {}
    for index, entry in enumerate(entries):
        key = entry.image, entry.annotation
        if key in masks:
            raise Refused(f"{source.path}: entry {index}: a second mask for image {key[0]}, annotation {key[1]}")
        masks[key] = entry.mask
    keys = [(index, parse_id(id)) for index, id in enumerate(dataset.ids())]
    masks_by_index = {index: masks[id.image, id.annotation] for index, id in keys if (id.image, id.annotation) in masks}
    remark = (
        f"visible masks of {source.path.name}, by ann_id: {len(masks_by_index):,} of {len(keys):,} instances have one"
    )
    return _given(dataset, source.path, masks_by_index, "no predicted visible mask", [remark])


def _by_overlap(dataset: AnyDataset, source: VisibleFile, entries: Sequence[VisibleEntry]) -> AnyDataset:
    iou, class_aware = source.options.iou, source.options.class_aware
    names = dataset.categories() if class_aware else {}
    truths = list(_truths(dataset, class_aware))
    detections = [
        Detection(index, entry.image, names.get(entry.category or "", entry.category), entry.score, entry.mask)
        for index, entry in enumerate(entries)
    ]
    if class_aware:
        _check_categories(source.path, truths, detections)
    matching = match(truths, detections, iou, class_aware, str(source.path))
    rule = f"IoU >= {iou:g}{', equal category' if class_aware else ''}"
    masks_by_index = {index: detection.segmentation for index, detection in matching.given.items()}
    remarks = list(_told(source.path, matching, len(dataset), rule))
    return _given(dataset, source.path, masks_by_index, f"no detection matched ({rule})", remarks)


def _truths(dataset: AnyDataset, class_aware: bool) -> Iterator[Truth]:
    """The true visible masks; an instance that cannot be read is none, and fails when a run asks for it."""
    indices = {id: index for index, id in enumerate(dataset.ids())}
    for id, _, visible in dataset.codes():
        index = indices[id]
        yield Truth(index, id, dataset.category_of(index) if class_aware else None, visible)


def _check_categories(path: Path, truths: Sequence[Truth], detections: Sequence[Detection]) -> None:
    categories = {truth.category for truth in truths} - {None}
    if not categories & {detection.category for detection in detections}:
        listed = [
            ", ".join(sorted(map(str, names))[:5]) or "none" for names in (categories, {d.category for d in detections})
        ]
        raise Refused(
            f"{path}: class_aware=true, but no entry has a category of the dataset (which has {listed[0]}; the file "
            f'{listed[1]}). Where the dataset states no numbers, an entry names its category: "category": "car"'
        )


def _told(path: Path, matching: Matching, instances: int, rule: str) -> Iterator[str]:
    used = len(matching.given)
    yield (
        f"visible masks of {path.name}, matched one to one ({rule}): {used:,} of {instances:,} instances have one; of "
        f"{matching.detections:,} detections {matching.detections - used:,} are left over, "
        f"{matching.elsewhere:,} of them in images that are not here"
    )
    if matching.malformed:
        yield f"malformed and left out: {len(matching.malformed):,} detections, the first: {matching.malformed[0]}"


def _given(inner: AnyDataset, path: Path, masks: Mapping[int, Any], lacking: str, remarks: Sequence[str]) -> AnyDataset:
    """`inner` with the masks of a file in its queries, by index; `lacking` says why others have none."""
    if not masks:
        raise Refused(f"{path}: no instance of {inner.card.title} {inner.split} has a mask here: {'; '.join(remarks)}")

    class Given(Dataset[Any]):
        """`inner` with other visible masks in its queries."""

        card = inner.card

        def __init__(self) -> None:
            super().__init__(inner.location, inner.split, inner.options)
            funnel = inner.funnel
            self.funnel = Funnel(funnel.read, Counter(funnel.dropped), Counter(funnel.noted))
            self.funnel.note(lacking, len(inner) - len(masks))

        def ids(self) -> Sequence[str]:
            return inner.ids()

        def group(self, id: str) -> str:
            return inner.group(id)

        def fingerprint(self) -> str:
            return inner.fingerprint()

        def remarks(self) -> Iterator[str]:
            yield from inner.remarks()
            yield from remarks

        def __getitem__(self, index: int) -> AmodalSample:
            sample = inner[index]
            return replace(sample, unmatched=True) if index not in masks else _replaced(sample, path, masks[index])

    return Given()


def _replaced(sample: AmodalSample, path: Path, mask: Any) -> AmodalSample:
    id = parse_id(sample.query.id)
    height, width = sample.amodal.shape
    where = f"{path}: image {id.image}, annotation {id.annotation}"
    given = rle.decode(rle.from_annotation(mask, height, width, where))
    if not np.any(given):
        raise BadRecord(f"{where}: the predicted visible mask is empty")
    return replace(sample, query=replace(sample.query, visible=given), true_visible=sample.visible)
