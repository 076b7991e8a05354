"""Masks as COCO run-length codes and polygons: the one place that knows their spellings.

A *code* here is pycocotools' compressed form, `{"size": [h, w], "counts": bytes}`, column-major.
"""

import ast
import re
from collections.abc import Sequence
from typing import Any, NamedTuple, TypedDict

import msgspec
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from amodal_bench.errors import BadRecord
from amodal_bench.masks.polygons import check_length, plain_polygons, polygon_of
from amodal_bench.types import MOST_PIXELS, Mask

COMPRESSED = range(48, 112)  # the bytes of a compressed string
RUNS = re.compile(r"\s*\d{1,9}([\s,]+\d{1,9})+\s*")


_SMALL = 1 << 18  # pixels: the time of a turn


class Code(TypedDict):
    """A compressed COCO run-length code."""

    size: list[int]
    counts: bytes


def encode(mask: Mask) -> Code:
    """Code of a bool mask (H, W)."""
    # Codes run down the columns. To turn a large array around takes as long as to encode it: only its box is turned.
    turned = np.asfortranarray(mask.view(np.uint8)) if mask.size <= _SMALL else _box_turned(mask)
    code: Code = coco.encode(turned)
    return code


def _box_turned(mask: Mask) -> NDArray[np.uint8]:
    """(H, W) in Fortran order, of a mask of which all but its box is empty."""
    turned = np.zeros(mask.shape[::-1], dtype=np.uint8)
    rows = np.flatnonzero(mask.any(axis=1))
    if len(rows):
        top, bottom = rows[0], rows[-1] + 1
        columns = np.flatnonzero(mask[top:bottom].any(axis=0))
        left, right = columns[0], columns[-1] + 1
        turned[left:right, top:bottom] = mask[top:bottom, left:right].T
    return turned.T


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


def difference(code: Code, other: Code) -> Code:
    """Code of the pixels in `code` that are not in `other`."""
    return encode(decode(code) & ~decode(other))


class Reading(NamedTuple):
    """A mask as it was read, and how many parts of its polygon were left out because they are none."""

    code: Code
    left_out: int


def read(value: Any, height: int, width: int, where: str) -> Reading:
    """A mask in any spelling that the datasets use, for an image of `height` x `width`.

    Accepts a compressed code (`counts` str or bytes, also in a list of one, as the numbers of its bytes or as
    Python prints bytes), an uncompressed one (`counts` list of runs, or the runs in one string), a flat polygon
    `[x1, y1, ...]`, and a list of polygons and codes, which are the parts of one object. A part of a polygon that is
    no polygon (fewer than three points, an odd number of coordinates, something that is no finite number) is left
    out and counted. Raises `BadRecord`, beginning with `where`, where no part is left, for anything else, for sizes
    that differ from the image's, for images above `MOST_PIXELS` and for outlines longer than `MOST_OUTLINE`.
    """
    if height * width > MOST_PIXELS:
        raise BadRecord(f"{where}: an image of {height} x {width} pixels; at most {MOST_PIXELS:,} are read")
    if isinstance(value, dict):
        return Reading(_from_dict(value, height, width, where), 0)
    if isinstance(value, list):
        return _from_parts(value, height, width, where)
    raise BadRecord(f"{where}: a mask must be an RLE dict or a list of polygon coordinates, got {type(value).__name__}")


def from_annotation(value: Any, height: int, width: int, where: str) -> Code:
    """The code of a mask in any spelling: see `read`."""
    return read(value, height, width, where).code


def read_json(text: bytes, height: int, width: int, where: str) -> Reading:
    """`read` of a mask kept as JSON text."""
    try:
        if text[:1] == b"[":
            polygons = plain_polygons(text)
            if polygons and height * width <= MOST_PIXELS:
                return Reading(union(coco.frPyObjects(polygons, height, width), height, width), 0)
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRecord(f"{where}: a mask that is no JSON ({error})") from None
    except RecursionError:
        raise BadRecord(f"{where}: a mask of lists that are nested deeper than is read") from None
    return read(value, height, width, where)


def _from_dict(value: dict[str, Any], height: int, width: int, where: str) -> Code:
    missing = {"size", "counts"} - value.keys()
    if missing:
        raise BadRecord(f"{where}: an RLE needs the keys size and counts, missing {', '.join(sorted(missing))}")
    size, counts = value["size"], value["counts"]
    if not isinstance(size, (list, tuple)) or list(size) != [height, width]:
        swapped = " and the other way round" if size == [width, height] else ""
        text = f"{size}"[:40]
        raise BadRecord(f"{where}: RLE of size {text} in an image of size {[height, width]} (height, width){swapped}")
    if isinstance(counts, list) and len(counts) == 1 and isinstance(counts[0], (str, bytes)):
        counts = counts[0]
    if isinstance(counts, str):
        counts = _from_text(counts, where)
    if isinstance(counts, list):
        return _from_runs(counts, height, width, where)
    if not isinstance(counts, bytes):
        raise BadRecord(f"{where}: RLE counts must be a string, bytes or a list, got {type(counts).__name__}")
    if len(counts) > 7 * (height * width + 2):
        raise BadRecord(f"{where}: RLE counts of {len(counts):,} bytes, more than {height} x {width} pixels can need")
    _check_runs(compressed_runs(counts, where), height, width, where)
    return {"size": [height, width], "counts": counts}


def _from_text(counts: str, where: str) -> bytes | list[int]:
    """A compressed string, also as Python prints bytes; or runs with spaces or commas between them."""
    if counts[:2] in ("b'", 'b"'):  # neither mark occurs in a compressed string
        try:
            printed = ast.literal_eval(counts)
        except (ValueError, SyntaxError):
            raise BadRecord(f"{where}: RLE counts begin like printed bytes ({counts[:2]}), but are none") from None
        return bytes(printed)
    if RUNS.fullmatch(counts):
        return [int(run) for run in counts.replace(",", " ").split()]
    return counts.encode("ascii", errors="replace")


def _from_runs(numbers: list[Any], height: int, width: int, where: str) -> Code:
    pixels = height * width
    if not all(type(n) in (int, float) and 0 <= n <= pixels and n == int(n) for n in numbers):
        raise BadRecord(f"{where}: RLE runs must be whole numbers >= 0, none above {pixels}")
    runs = [int(n) for n in numbers]
    if sum(runs) != pixels and all(n in COMPRESSED for n in runs):  # perhaps the bytes of a compressed string
        compressed = bytes(runs)
        _check_runs(compressed_runs(compressed, where), height, width, where)
        return {"size": [height, width], "counts": compressed}
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
    digit = np.arange(groups.size) - np.repeat(first, last - first + 1)
    if digit.max() > 11:
        raise BadRecord(f"{where}: RLE counts hold a number of more than 60 bits")
    values = np.add.reduceat((groups & 31) << (5 * digit), first)
    values -= np.where(groups[last] & 16, 1 << (5 * (digit[last] + 1)), 0)
    # Undo the differences: from index 3 on, each value was stored minus the one two places before.
    runs = values.copy()
    runs[1::2] = np.cumsum(values[1::2])
    runs[2::2] = np.cumsum(values[2::2])
    return runs


def _from_parts(value: list[Any], height: int, width: int, where: str) -> Reading:
    parts = value if value and isinstance(value[0], (list, dict)) else [value]
    codes = [_from_dict(part, height, width, where) for part in parts if isinstance(part, dict)]
    polygons, faults = [], []
    for part in parts:
        if not isinstance(part, dict):
            polygon, fault = polygon_of(part)
            polygons.append(polygon) if fault is None else faults.append(fault)
    if not codes and not polygons:
        raise BadRecord(f"{where}: {faults[0]}")
    check_length(polygons, height, width, where)
    if polygons:
        codes += coco.frPyObjects(polygons, height, width)
    return Reading(union(codes, height, width), len(faults))
