"""Masks as COCO run-length codes and polygons: the one place that knows their spellings.

A *code* here is pycocotools' compressed form, `{"size": [h, w], "counts": bytes}`, column-major.
"""

import math
from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
from pycocotools import mask as coco

from amodal_bench.errors import BadRecord
from amodal_bench.types import Mask


class Code(TypedDict):
    """A compressed COCO run-length code."""

    size: list[int]
    counts: bytes


def encode(mask: Mask) -> Code:
    """Code of a bool mask (H, W)."""
    code: Code = coco.encode(np.asfortranarray(mask.view(np.uint8)))
    return code


def decode(code: Code) -> Mask:
    """Bool mask (H, W) of a code, in C order."""
    return np.ascontiguousarray(coco.decode(code)).view(np.bool_)


def area(code: Code) -> int:
    """Number of set pixels."""
    return int(coco.area(code))


def union(codes: Sequence[Code], height: int, width: int) -> Code:
    """Code of the pixels in any of `codes`."""
    if not codes:
        return encode(np.zeros((height, width), dtype=np.bool_))
    if len(codes) == 1:
        return codes[0]
    merged: Code = coco.merge(list(codes))
    return merged


def from_annotation(value: Any, height: int, width: int, where: str) -> Code:
    """Code of a mask in any spelling that the datasets use, for an image of `height` x `width`.

    Accepts a compressed code (`counts` str or bytes), an uncompressed one (`counts` list of runs), a flat
    polygon `[x1, y1, ...]` and a list of polygons. Polygons of fewer than three points add nothing. Raises
    `BadRecord`, beginning with `where`, for anything else and for sizes that differ from the image's.
    """
    if isinstance(value, dict):
        return _from_dict(value, height, width, where)
    if isinstance(value, list):
        return _from_polygons(value, height, width, where)
    raise BadRecord(f"{where}: a mask must be an RLE dict or a list of polygon coordinates, got {type(value).__name__}")


def _from_dict(value: dict[str, Any], height: int, width: int, where: str) -> Code:
    missing = {"size", "counts"} - value.keys()
    if missing:
        raise BadRecord(f"{where}: an RLE needs the keys size and counts, missing {', '.join(sorted(missing))}")
    size, counts = value["size"], value["counts"]
    if not isinstance(size, (list, tuple)) or list(size) != [height, width]:
        raise BadRecord(f"{where}: RLE of size {size} in an image of size {[height, width]} (height, width)")
    if isinstance(counts, list):
        return _from_runs(counts, height, width, where)
    if isinstance(counts, str):
        counts = counts.encode("ascii", errors="replace")
    if not isinstance(counts, bytes):
        raise BadRecord(f"{where}: RLE counts must be a string, bytes or a list, got {type(counts).__name__}")
    _check_runs(compressed_runs(counts, where), height, width, where)
    return {"size": [height, width], "counts": counts}


def _from_runs(runs: list[Any], height: int, width: int, where: str) -> Code:
    if not all(isinstance(run, int) and 0 <= run <= height * width for run in runs):
        raise BadRecord(f"{where}: RLE runs must be whole numbers >= 0, none above {height * width}")
    _check_runs(np.asarray(runs, dtype=np.int64), height, width, where)
    code: Code = coco.frPyObjects({"size": [height, width], "counts": runs}, height, width)
    return code


def _check_runs(runs: np.ndarray[Any, np.dtype[np.int64]], height: int, width: int, where: str) -> None:
    total = int(runs.sum())
    if total != height * width or (runs < 0).any():
        raise BadRecord(
            f"{where}: RLE runs add up to {total} pixels, the image has {height * width} ({height} x {width})"
        )


def compressed_runs(counts: bytes, where: str = "RLE") -> np.ndarray[Any, np.dtype[np.int64]]:
    """Run lengths of a compressed code, which pycocotools would follow past the end of a mask unchecked.

    Each value is little-endian groups of five bits (+48 as ASCII; bit 5 of a group: more follow; bit 4 of
    the last: negative); from the third value on, differences to the value two before.
    """
    groups = np.frombuffer(counts, dtype=np.uint8).astype(np.int64) - 48
    if groups.size == 0 or groups.min() < 0 or groups.max() > 63 or groups[-1] & 32:
        raise BadRecord(f"{where}: RLE counts are not a COCO compressed string (cut off or damaged)")
    first = np.flatnonzero(np.concatenate([[True], (groups[:-1] & 32) == 0]))
    last = np.append(first[1:], groups.size) - 1
    place = np.arange(groups.size) - np.repeat(first, last - first + 1)
    if place.max() > 11:
        raise BadRecord(f"{where}: RLE counts hold a number of more than 60 bits")
    values = np.add.reduceat((groups & 31) << (5 * place), first)
    values -= np.where(groups[last] & 16, 1 << (5 * (place[last] + 1)), 0)
    # Undo the differences: from index 3 on, each value was stored minus the one two places before.
    runs = values.copy()
    runs[1::2] = np.cumsum(values[1::2])
    runs[2::2] = np.cumsum(values[2::2])
    return runs


def _from_polygons(value: list[Any], height: int, width: int, where: str) -> Code:
    polygons = [value] if value and not isinstance(value[0], list) else value
    usable = [_check_polygon(polygon, where) for polygon in polygons]
    codes = [p for p in usable if len(p) >= 6]
    if not codes:
        raise BadRecord(f"{where}: no polygon has the six numbers of a triangle (got {[len(p) for p in usable]})")
    return union(coco.frPyObjects(codes, height, width), height, width)


def _check_polygon(polygon: Any, where: str) -> list[Any]:
    try:
        total = sum(polygon) if isinstance(polygon, list) else None
    except TypeError:
        total = None
    if total is None:
        raise BadRecord(f"{where}: a polygon must be a flat list of numbers [x1, y1, x2, y2, ...]")
    if not math.isfinite(total):  # so is the sum of numbers of which one is not
        raise BadRecord(f"{where}: a polygon holds a coordinate that is not finite")
    if len(polygon) % 2:
        raise BadRecord(f"{where}: a polygon has an odd number of coordinates ({len(polygon)})")
    return polygon  # type: ignore[no-any-return]
