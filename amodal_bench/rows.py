"""The columns of a finished instance, on disk as Parquet, and how parts become one table."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from amodal_bench.cache import write_atomic
from amodal_bench.counts import COLUMNS, GIVEN_COLUMNS
from amodal_bench.errors import RunDamaged

SCHEMA_VERSION = 1
_METADATA = {b"amodal_bench.schema_version": str(SCHEMA_VERSION).encode()}

_FACTS = [
    pa.field("id", pa.string(), nullable=False),
    pa.field("image_id", pa.string(), nullable=False),
    pa.field("ann_id", pa.string(), nullable=False),
    pa.field("category", pa.string()),
    pa.field("is_stuff", pa.bool_()),
    pa.field("height", pa.int32()),
    pa.field("width", pa.int32()),
    pa.field("group_id", pa.string(), nullable=False),
    *(pa.field(name, pa.int64()) for name in (*COLUMNS, *GIVEN_COLUMNS)),
    pa.field("score", pa.float64()),
    pa.field("status", pa.string(), nullable=False),
    pa.field("error", pa.string()),
]
INSTANCES = pa.schema(_FACTS, metadata=_METADATA)
PREDICTIONS = pa.schema(
    [_FACTS[0], pa.field("size", pa.list_(pa.int32(), 2)), pa.field("counts", pa.binary())],
    metadata=_METADATA,
)
TIMINGS = pa.schema([_FACTS[0], pa.field("seconds", pa.float64()), pa.field("worker", pa.string())], metadata=_METADATA)
PART = pa.schema([*INSTANCES, *list(PREDICTIONS)[1:], *list(TIMINGS)[1:]], metadata=_METADATA)
PLAN = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("group_id", pa.string(), nullable=False),
        pa.field("index", pa.int64(), nullable=False),
    ],
    metadata=_METADATA,
)

Row = dict[str, Any]


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table whole or not at all; the same rows give the same bytes."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    write_atomic(path, sink.getvalue().to_pybytes())


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a table; raises `RunDamaged` naming the file and the way out."""
    try:
        table = pq.read_table(path, columns=list(columns) if columns else None)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise RunDamaged(
            f"{path} cannot be read ({reason}). Delete it and run the same command again: "
            "what it held is predicted again, all else is kept"
        ) from None
    version = int((table.schema.metadata or {}).get(b"amodal_bench.schema_version", b"0"))
    if version > SCHEMA_VERSION:
        raise RunDamaged(
            f"{path} has schema version {version}; this amodal_bench reads up to {SCHEMA_VERSION}: upgrade it"
        )
    return table


def to_table(rows: Sequence[Row]) -> pa.Table:
    """Rows as a part's table."""
    return pa.Table.from_pylist(list(rows), schema=PART)


def merge(parts: Sequence[pa.Table]) -> pa.Table:
    """One row an id, sorted by id: a finished row stands for the failed tries before it.

    The same result twice (two workers, or a part written again) is one; two different finished results for one
    id cannot both come from one spec and raise `RunDamaged`.
    """
    table = pa.concat_tables(parts) if parts else PART.empty_table()
    rank = pc.if_else(pc.equal(table["status"], "ok"), 0, 1)
    order = pc.sort_indices(
        table.append_column("_rank", rank).append_column("_error", pc.fill_null(table["error"], "")),
        sort_keys=[
            ("id", "ascending"),
            ("_rank", "ascending"),
            ("_error", "ascending"),
            ("worker", "ascending"),
        ],
    )
    table = table.take(order)
    ids = table["id"].to_pylist()
    repeated = [place for place in range(1, len(ids)) if ids[place] == ids[place - 1]]
    for place in repeated:
        _check_repeat(table, place)
    return table.take(pa.array(sorted(set(range(len(ids))) - set(repeated)), type=pa.int64()))


def _check_repeat(table: pa.Table, place: int) -> None:
    names = [*INSTANCES.names, *PREDICTIONS.names[1:]]
    before, after = (table.select(names).slice(k, 1).to_pylist()[0] for k in (place - 1, place))
    if before["status"] == after["status"] == "ok" and before != after:
        differing = [name for name in names if before[name] != after[name]]
        raise RunDamaged(
            f"two different results for {after['id']} (they differ in {', '.join(differing)}): "
            "one run folder was written by different code, weights or hardware. Start over with --fresh"
        )


def digest(table: pa.Table) -> str:
    """sha256 (hex) of a table's ids, in order."""
    return hashlib.sha256("\n".join(table["id"].to_pylist()).encode()).hexdigest()
