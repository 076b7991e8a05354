"""Every mask of an index as a run-length code, with what is wrong with it and the pixel counts that filters need.

    python -m amodal_bench.formats.instance_masks INDEX.arrow START STOP OUT.arrow

looks at some rows, so that a large index is shared out to processes that need no main guard.

All masks are followed once, whatever is asked of the dataset, so that a fault has one outcome on every path: the
annotation is left out and counted.
"""

import itertools
import os
import sys
import tempfile
from pathlib import Path

import msgspec
import pyarrow as pa
from pycocotools import mask as coco

from amodal_bench.errors import BadRecord
from amodal_bench.files import processes
from amodal_bench.formats.areas import APART, HIDDEN_APART, MASKS, NO_AMODAL, NO_GIVEN, Row, fault_of, measured
from amodal_bench.formats.depth_order import with_orders
from amodal_bench.formats.index import read_cached
from amodal_bench.formats.records import MALFORMED
from amodal_bench.masks import rle
from amodal_bench.text import streams

_SHARE = 10_000  # rows that are worth a process
_CHUNK = 2000  # rows that are held as Python objects
_ASKED = [
    "amodal", "visible", "invisible", "given", "lacking", "height", "width", "where", "dropped", "detail",
    "declared_rate", "scene", "front",
]  # fmt: skip


def masks_of(index: pa.Table, path: Path) -> pa.Table:
    """The table of `MASKS` for an index that is cached in the file `path`; on all cores where it is large."""
    table = _shared_out(index, path)
    return with_orders(index, table) if len(index["front"].drop_null()) else table


def _shared_out(index: pa.Table, path: Path) -> pa.Table:
    parts = min(os.cpu_count() or 1, len(index) // _SHARE)
    if parts < 2:
        return _followed(index)
    edges = [len(index) * k // parts for k in range(parts + 1)]
    with tempfile.TemporaryDirectory() as folder:
        outs = [Path(folder) / f"{k}.arrow" for k in range(parts)]
        spans = zip(itertools.pairwise(edges), outs, strict=True)
        codes = processes.run(__name__, [[str(path), *map(str, span), str(out)] for span, out in spans])
        tables = [None if code else read_cached(out) for code, out in zip(codes, outs, strict=True)]
        whole = [table for table in tables if table is not None]
        return pa.concat_tables(whole) if len(whole) == parts else _followed(index)


def _followed(index: pa.Table) -> pa.Table:
    parts = [MASKS.empty_table()]
    for batch in index.select(_ASKED).to_batches(max_chunksize=_CHUNK):
        parts.append(pa.Table.from_pylist([_row(row) for row in batch.to_pylist()], schema=MASKS))
    return pa.concat_tables(parts)


def _row(row: Row) -> Row:
    found: Row = {"reason": row["dropped"], "detail": row["detail"], "left_out": 0}
    try:
        amodal = _read(row, "amodal", found)
        visible = _visible(row, amodal, found)
        given = None if row["given"] is None else _read(row, "given", found)
    except BadRecord as error:
        found["reason"], found["detail"] = row["dropped"] or MALFORMED, row["detail"] or str(error)
        return found
    found |= measured(amodal, visible)
    if given is not None:
        found["given_counts"] = given["counts"]
    fault = fault_of(found, row["lacking"]) or (NO_GIVEN if given is not None and not rle.area(given) else None)
    if fault and not found["reason"]:
        found["reason"], found["detail"] = fault, row["where"] + _told(fault, found, row["amodal"])
    return found


def _told(fault: str, found: Row, amodal: bytes) -> str:
    numbers = f": {found['amodal_area']} amodal and {found['visible_area']} visible pixels" if fault == APART else ""
    fractions = fault in (APART, NO_AMODAL) and _are_fractions(amodal)
    return f"{numbers}; its coordinates are fractions of the image, pixels are expected" if fractions else numbers


def _are_fractions(mask: bytes) -> bool:
    """Whether all coordinates of a polygon lie between 0 and 1, as some tools write them."""
    try:
        parts = msgspec.json.decode(b"[%b]" % mask, type=list[list[float | list[float]]])
    except msgspec.DecodeError:
        return False
    values = [c for part in parts for item in part for c in (item if isinstance(item, list) else [item])]
    return bool(values) and min(values) >= 0 and max(values) <= 1


def _read(row: Row, name: str, found: Row) -> rle.Code:
    code, left_out = rle.read_json(row[name], row["height"], row["width"], row["where"])
    found["left_out"] += left_out
    return code


def _visible(row: Row, amodal: rle.Code, found: Row) -> rle.Code | None:
    """As annotated, or the amodal mask less the invisible one, or the amodal mask; None: not to be told from these."""
    if row["visible"] is not None:
        return _read(row, "visible", found)
    if row["invisible"] is not None:
        hidden = _read(row, "invisible", found)
        found["derived"] = "invisible"
        if rle.area(hidden) and not coco.area(coco.merge([amodal, hidden], True)):
            found["reason"], found["detail"] = found["reason"] or HIDDEN_APART, row["where"]
        return rle.difference(amodal, hidden)
    return None if row["lacking"] else amodal


def main(path: str, start: str, stop: str, out: str) -> None:
    """Look at rows start to stop of an index."""
    index = read_cached(Path(path))
    if index is None:
        sys.exit(1)
    with pa.OSFile(out, "wb") as sink, pa.ipc.new_file(sink, MASKS) as file:
        file.write_table(_followed(index.slice(int(start), int(stop) - int(start))))


if __name__ == "__main__":
    streams.guard()
    main(*sys.argv[1:])
