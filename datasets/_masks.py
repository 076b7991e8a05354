"""Every mask of an index as a run-length code, with the pixel counts that filters and checks need.

    python -m amodal_bench.datasets._masks INDEX.arrow START STOP OUT.arrow

does it for some rows, so that a large index is shared out to processes that need no main guard.
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

MASKS = pa.schema(
    [
        ("amodal_counts", pa.binary()),
        ("visible_counts", pa.binary()),
        ("amodal_area", pa.int64()),
        ("visible_area", pa.int64()),
        ("hidden_area", pa.int64()),
        ("outside_area", pa.int64()),  # visible pixels that are not amodal
        ("order_area", pa.int64()),  # pixels on which `visible` and a stated depth order disagree
        ("malformed", pa.string()),
    ],
    metadata={"revision": "1"},
)
_NEEDED = ("image", "annotation", "where", "height", "width", "amodal", "visible", "scene", "front", "dropped")
_SHARE = 10_000  # rows that are worth a process

Row = dict[str, Any]
Pair = tuple[rle.Code, rle.Code]


def masks_of(index: pa.Table, path: Path) -> pa.Table:
    """The table of `MASKS` for an index that is cached in the file `path`; on all cores where it is large."""
    parts = min(os.cpu_count() or 1, len(index) // _SHARE)
    if parts < 2:
        return _masks(index)
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
        return pa.concat_tables(whole) if len(whole) == parts else _masks(index)


def _masks(index: pa.Table) -> pa.Table:
    rows: list[Row] = []
    for batch in index.select(_NEEDED).to_batches(max_chunksize=2000):
        rows.extend(_measure(row) for row in batch.to_pylist())
    orders = index["front"].drop_null()
    if len(orders):
        _compare_orders(index.select(["image", "scene", "front", "height", "width"]).to_pylist(), rows)
    return pa.Table.from_pylist(rows, schema=MASKS)


def _measure(row: Row) -> Row:
    try:
        amodal, visible = _codes(row)
    except BadRecord as error:
        return {"malformed": str(error)}
    if row["visible"] is None:
        area = rle.area(amodal)
        areas = {"amodal_area": area, "visible_area": area, "hidden_area": 0, "outside_area": 0}
    else:
        a, v, both = (int(n) for n in coco.area([amodal, visible, coco.merge([amodal, visible], True)]))
        areas = {"amodal_area": a, "visible_area": v, "hidden_area": a - both, "outside_area": v - both}
    return {"amodal_counts": amodal["counts"], "visible_counts": visible["counts"], **areas}


def _codes(row: Row) -> Pair:
    amodal = read_mask(row["amodal"], row["height"], row["width"], row["where"])
    if row["visible"] is None:
        return amodal, amodal
    return amodal, read_mask(row["visible"], row["height"], row["width"], row["where"])


def _compare_orders(facts: list[Row], rows: list[Row]) -> None:
    """Fill `order_area`: where the format states a depth order, V must be A less the regions in front."""
    places = [k for k, fact in enumerate(facts) if fact["front"] is not None and not rows[k].get("malformed")]
    for _, scene in itertools.groupby(places, key=lambda k: facts[k]["scene"]):
        for place, value in _disagreement([(k, facts[k], rows[k]) for k in scene]):
            rows[place]["order_area"] = value


def _disagreement(scene: list[tuple[int, Row, Row]]) -> Iterator[tuple[int, int]]:
    codes = {k: _pair(fact, row) for k, fact, row in scene}
    for k, fact, row in scene:
        amodal, visible = codes[k]
        before = [codes[other][0] for other, peer, _ in scene if peer["front"] < fact["front"]]
        if not before:
            yield k, row["hidden_area"]
            continue
        covered = coco.merge([amodal, coco.merge(before)], True)
        seen_though_covered, neither = coco.merge([visible, covered], True), coco.merge([visible, covered])
        yield (
            k,
            int(coco.area(seen_though_covered)) + row["amodal_area"] + row["outside_area"] - int(coco.area(neither)),
        )


def _pair(fact: Row, row: Row) -> Pair:
    size = [fact["height"], fact["width"]]
    return {"size": size, "counts": row["amodal_counts"]}, {"size": size, "counts": row["visible_counts"]}


def main(path: str, start: str, stop: str, out: str) -> None:
    """Measure rows start to stop of an index; a scene that crosses an edge is compared in part."""
    index = read_cached(Path(path))
    if index is None:
        sys.exit(1)
    with pa.OSFile(out, "wb") as sink, pa.ipc.new_file(sink, MASKS) as file:
        file.write_table(_masks(index.slice(int(start), int(stop) - int(start))))


if __name__ == "__main__":
    main(*sys.argv[1:])
