"""A file of visible masks from elsewhere: COCO results as JSON, or a Parquet table."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from amodal_bench.errors import Refused
from amodal_bench.formats.json_files import identity, read_json, words

NEEDED = ("image_id", "segmentation")


class VisibleEntry(NamedTuple):
    """One mask of a file, with the ids as they are spelled there; `annotation` is None where it has none."""

    image: str
    annotation: str | None
    mask: Any
    category: str | None
    score: float


def read_entries(path: Path) -> list[VisibleEntry]:
    """All masks of a file, as they are spelled there; raises `Refused` naming the file and the entry."""
    return list(_parquet(path) if path.suffix == ".parquet" else _json(path))


def _json(path: Path) -> Iterator[VisibleEntry]:
    entries = read_json(path, Any)
    if not isinstance(entries, list):
        raise Refused(f"{path}: must hold a list of masks, holds {type(entries).__name__}")
    for index, entry in enumerate(entries):
        if not isinstance(entry, Mapping) or not all(name in entry for name in NEEDED):
            raise Refused(f"{path}: entry {index} needs image_id and segmentation (and ann_id, or is matched)")
        yield _entry(path, index, entry, entry["segmentation"])


def _parquet(path: Path) -> Iterator[VisibleEntry]:
    names = ["image_id", "size", "counts"]
    try:
        known = pq.read_schema(path).names
        extra = [n for n in ("ann_id", "category_id", "category", "score", "scene_id") if n in known]
        rows = pq.read_table(path, columns=[*names, *extra]).to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:  # names and texts that are no UTF-8 are ValueErrors
        raise Refused(f"{path}: cannot be read as Parquet with {', '.join(names)} ({error})") from None
    for index, row in enumerate(rows):
        yield _entry(path, index, row, {"size": row["size"], "counts": row["counts"]})


def _entry(path: Path, index: int, row: Mapping[str, Any], mask: Any) -> VisibleEntry:
    """One entry; in the results of the BOP benchmark an image has a number within its scene."""
    scene, annotation, score = row.get("scene_id"), row.get("ann_id"), row.get("score", 1.0)
    if isinstance(score, bool) or not isinstance(score, int | float):
        raise Refused(f"{path}: entry {index}: score must be a number, got {score!r}")
    try:
        image = identity(row["image_id"]) if scene is None else f"{identity(scene)}:{identity(row['image_id'])}"
        annotation = None if annotation is None else identity(annotation)
    except ValueError as error:
        raise Refused(f"{path}: entry {index}: image_id and ann_id must be numbers or words ({error})") from None
    return VisibleEntry(image, annotation, mask, _category(row), float(score))


def _category(row: Mapping[str, Any]) -> str | None:
    """A name, or a number in the one spelling of ids."""
    category = row.get("category", row.get("category_id"))
    try:
        return identity(category)
    except ValueError:
        return words(category)
