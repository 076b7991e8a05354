"""Visible masks from elsewhere: the method gets a detector's, the metric keeps the truth's.

`--visible predicted:FILE` names a JSON list of `{"image_id", "ann_id", "segmentation"}` (an RLE of any spelling, as
in COCO results) or a Parquet table of `image_id, ann_id, size, counts`; ids are the IMAGE and ANN parts of ours.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from amodal_bench import rle
from amodal_bench.cache import file_digest
from amodal_bench.errors import BadRecord, Refused
from amodal_bench.json_files import identity, read_json
from amodal_bench.plugin import AnyDataset, Dataset
from amodal_bench.types import AmodalSample, parse_id

Key = tuple[str, str]  # image, annotation
TRUTH = "gt"


def visible_file(text: str) -> Path | None:
    """The file of `predicted:FILE`, None for `gt`; raises `Refused`."""
    if text == TRUTH:
        return None
    kind, colon, name = text.partition(":")
    if kind != "predicted" or not colon or not name:
        raise Refused(f"--visible takes gt or predicted:FILE, got {text!r}")
    path = Path(name)
    if not path.is_file():
        raise Refused(f"--visible predicted:{name}: no such file")
    return path


def spelled(text: str) -> str:
    """What the spec records: `gt`, or `predicted:` and the file's sha256."""
    path = visible_file(text)
    return TRUTH if path is None else f"predicted:{file_digest(path)}"


def with_visible(dataset: AnyDataset, text: str) -> AnyDataset:
    """The dataset with the masks of `--visible` in its queries; instances that have none are dropped and counted."""
    path = visible_file(text)
    return dataset if path is None else _given(dataset, path, read_masks(path))


def read_masks(path: Path) -> dict[Key, Any]:
    """Masks as they are spelled in the file; raises `Refused` naming the file and the entry."""
    masks: dict[Key, Any] = {}
    for place, (image, annotation, mask) in enumerate(_entries(path)):
        key = str(image), str(annotation)
        if key in masks:
            raise Refused(f"{path}: entry {place}: a second mask for image {image}, annotation {annotation}")
        masks[key] = mask
    return masks


def _entries(path: Path) -> Iterator[tuple[Any, Any, Any]]:
    if path.suffix == ".parquet":
        yield from _parquet(path)
        return
    entries = read_json(path, Any)
    if not isinstance(entries, list):
        raise Refused(f"{path}: must hold a list of masks, holds {type(entries).__name__}")
    for place, entry in enumerate(entries):
        names = ("image_id", "ann_id", "segmentation")
        if not isinstance(entry, Mapping) or not all(name in entry for name in names):
            raise Refused(f"{path}: entry {place} needs image_id, ann_id and segmentation")
        try:
            yield identity(entry["image_id"]), identity(entry["ann_id"]), entry["segmentation"]
        except ValueError as error:
            raise Refused(f"{path}: entry {place}: image_id and ann_id must be numbers or words ({error})") from None


def _parquet(path: Path) -> Iterator[tuple[Any, Any, Any]]:
    names = ["image_id", "ann_id", "size", "counts"]
    try:
        table = pq.read_table(path, columns=names)
    except (pa.ArrowException, OSError) as error:
        raise Refused(f"{path}: cannot be read as Parquet with {', '.join(names)} ({error})") from None
    for row in table.to_pylist():
        yield row["image_id"], row["ann_id"], {"size": row["size"], "counts": row["counts"]}


def _given(inner: AnyDataset, path: Path, masks: Mapping[Key, Any]) -> AnyDataset:
    class Given(Dataset[Any]):
        """`inner` with other visible masks in its queries."""

        card = inner.card

        def __init__(self) -> None:
            super().__init__(inner.location, inner.split, inner.options)
            keys = ((place, parse_id(id)) for place, id in enumerate(inner.ids()))
            self._places = [place for place, id in keys if (id.image, id.annotation) in masks]
            self._ids = [inner.ids()[place] for place in self._places]
            self.funnel = inner.funnel
            self.funnel.drop("no predicted visible mask", len(inner) - len(self._ids))

        def ids(self) -> Sequence[str]:
            return self._ids

        def group(self, id: str) -> str:
            return inner.group(id)

        def fingerprint(self) -> str:
            return inner.fingerprint()

        def __getitem__(self, index: int) -> AmodalSample:
            return _replaced(inner[self._places[index]], path, masks)

    return Given()


def _replaced(sample: AmodalSample, path: Path, masks: Mapping[Key, Any]) -> AmodalSample:
    id = parse_id(sample.query.id)
    height, width = sample.amodal.shape
    where = f"{path}: image {id.image}, annotation {id.annotation}"
    given = rle.decode(rle.from_annotation(masks[id.image, id.annotation], height, width, where))
    if not np.any(given):
        raise BadRecord(f"{where}: the predicted visible mask is empty")
    return replace(sample, query=replace(sample.query, visible=given), true_visible=sample.visible)
