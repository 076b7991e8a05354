"""Every mask of an index as a run-length code, and the pixel counts that filters and checks need.

    python -m amodal_bench.datasets._masks INDEX.arrow START STOP OUT.arrow

makes the codes of some rows, so that a large index is shared out to processes that need no main guard.
"""

import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from pycocotools import mask as coco

from amodal_bench import rle
from amodal_bench.errors import BadRecord

from ._index import read_cached
from ._records import read_mask

CODES = pa.schema(
    [("amodal_counts", pa.binary()), ("visible_counts", pa.binary()), ("malformed", pa.string())],
    metadata={"revision": "1"},
)
AREAS = pa.schema(
    [
        ("amodal_area", pa.int64()),
        ("visible_area", pa.int64()),
        ("hidden_area", pa.int64()),
        ("outside_area", pa.int64()),  # visible pixels that are not amodal
        ("order_area", pa.int64()),  # pixels on which `visible` and a stated depth order disagree
    ],
    metadata={"revision": "1"},
)
_SHARE = 10_000  # rows that are worth a process
_CHUNK = 2000  # rows that are held as Python objects

Row = dict[str, Any]
Pair = tuple[rle.Code, rle.Code]


def codes_of(index: pa.Table, path: Path) -> pa.Table:
    """The table of `CODES` for an index that is cached in the file `path`; on all cores where it is large."""
    parts = min(os.cpu_count() or 1, len(index) // _SHARE)
    if parts < 2:
        return _codes(index)
    edges = [len(index) * k // parts for k in range(parts + 1)]
    with tempfile.TemporaryDirectory() as folder:
        outs = [Path(folder) / f"{k}.arrow" for k in range(parts)]
        command = [sys.executable, "-P", "-m", __name__, str(path)]
        processes = [
            subprocess.Popen([*command, str(start), str(stop), str(out)])
            for (start, stop), out in zip(itertools.pairwise(edges), outs, strict=True)
        ]
        codes = [process.wait() for process in processes]
        tables = [None if code else read_cached(out) for code, out in zip(codes, outs, strict=True)]
        whole = [table for table in tables if table is not None]
        return pa.concat_tables(whole) if len(whole) == parts else _codes(index)


def _codes(index: pa.Table) -> pa.Table:
    parts = [CODES.empty_table()]
    for batch in index.select(["amodal", "visible", "height", "width", "where"]).to_batches(max_chunksize=_CHUNK):
        rows = zip(*(column.to_pylist() for column in batch.columns), strict=True)
        if found := [_row_codes(*row) for row in rows]:
            parts.append(pa.table(list(zip(*found, strict=True)), schema=CODES))
    return pa.concat_tables(parts)


def _row_codes(
    amodal: bytes, visible: bytes | None, height: int, width: int, where: str
) -> tuple[bytes | None, bytes | None, str | None]:
    try:
        whole = read_mask(amodal, height, width, where)["counts"]
        return whole, whole if visible is None else read_mask(visible, height, width, where)["counts"], None
    except BadRecord as error:
        return None, None, str(error)


def areas_of(index: pa.Table, codes: pa.Table) -> pa.Table:
    """The table of `AREAS`; null where a mask is malformed."""
    facts = index.select(["height", "width", "scene", "front"])
    for name in ("amodal_counts", "visible_counts"):
        facts = facts.append_column(name, codes[name])
    areas: list[Row] = []
    for batch in facts.to_batches(max_chunksize=_CHUNK):
        areas.extend(_measure(row) for row in batch.to_pylist())
    if len(index["front"].drop_null()):
        _compare_orders(facts.to_pylist(), areas)
    return pa.Table.from_pylist(areas, schema=AREAS)


def _measure(row: Row) -> Row:
    if row["amodal_counts"] is None:
        return {}
    amodal, visible = _pair(row)
    a, v, both = (int(n) for n in coco.area([amodal, visible, coco.merge([amodal, visible], True)]))
    return {"amodal_area": a, "visible_area": v, "hidden_area": a - both, "outside_area": v - both}


def _compare_orders(facts: list[Row], areas: list[Row]) -> None:
    """Fill `order_area`: where the format states a depth order, V must be A less the regions in front."""
    places = [k for k, fact in enumerate(facts) if fact["front"] is not None and areas[k]]
    for _, scene in itertools.groupby(places, key=lambda k: facts[k]["scene"]):
        for place, value in _disagreement([(k, facts[k], areas[k]) for k in scene]):
            areas[place]["order_area"] = value


def _disagreement(scene: list[tuple[int, Row, Row]]) -> Iterator[tuple[int, int]]:
    codes = {k: _pair(fact) for k, fact, _ in scene}
    for k, fact, area in scene:
        amodal, visible = codes[k]
        before = [codes[other][0] for other, peer, _ in scene if peer["front"] < fact["front"]]
        if not before:
            yield k, area["hidden_area"]
            continue
        covered = coco.merge([amodal, coco.merge(before)], True)
        both, either = coco.merge([visible, covered], True), coco.merge([visible, covered])
        yield k, int(coco.area(both)) + area["amodal_area"] + area["outside_area"] - int(coco.area(either))


def _pair(row: Row) -> Pair:
    size = [row["height"], row["width"]]
    return {"size": size, "counts": row["amodal_counts"]}, {"size": size, "counts": row["visible_counts"]}


def main(path: str, start: str, stop: str, out: str) -> None:
    """Make the codes of rows start to stop of an index."""
    index = read_cached(Path(path))
    if index is None:
        sys.exit(1)
    with pa.OSFile(out, "wb") as sink, pa.ipc.new_file(sink, CODES) as file:
        file.write_table(_codes(index.slice(int(start), int(stop) - int(start))))


if __name__ == "__main__":
    main(*sys.argv[1:])
