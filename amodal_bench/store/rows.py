"""The columns of a finished instance, and how tables of them are written to and read from Parquet."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from amodal_bench.errors import RunDamaged, RunNewer
from amodal_bench.files.cache import writing
from amodal_bench.masks.counts import COLUMNS, GIVEN_COLUMNS

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
    [_FACTS[0], pa.field("size", pa.list_(pa.int32(), 2)), pa.field("counts", pa.large_binary())],
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

FINISHED = "ok"  # the status of a row that has its counts and its mask
PARQUET = {"compression": "zstd", "write_page_checksum": True}
WAY_OUT = "Delete it and run the same command again: what it held is predicted again, all else is kept"


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table whole or not at all; the same rows give the same bytes. Every page carries a checksum."""
    with writing(path) as part:
        pq.write_table(table, part, **PARQUET)


def read_table(
    path: Path, schema: pa.Schema, columns: Sequence[str] | None = None, *, sealed: bool = False
) -> pa.Table:
    """Read a table that should have `schema`, checksums verified; raises `RunDamaged` naming the file and the way out.

    Counts of a finished row that are missing are damage too, and texts that are no UTF-8, which are not looked for in
    a table that is `sealed`: whose bytes are known to be those that were written.
    """
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            check_schema(path, file.schema_arrow, schema)
            table = file.read(list(columns) if columns else None)
            if not sealed:
                table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise unreadable(path, error) from None
    return checked(path, table, schema)


def check_schema(path: Path, found: pa.Schema, expected: pa.Schema) -> None:
    """Raise `RunDamaged` for a table of a newer version or with other columns."""
    version = (found.metadata or {}).get(b"amodal_bench.schema_version", b"0")
    if not version.isdigit() or int(version) > SCHEMA_VERSION:
        raise RunNewer(
            f"{path} has schema version {version.decode(errors='replace')}; "
            f"this amodal_bench reads up to {SCHEMA_VERSION}: upgrade it"
        )
    missing = [name for name in expected.names if name not in found.names]
    if missing:
        raise RunDamaged(f"{path} is no table of a run: it has no column {', '.join(missing[:4])}. {WAY_OUT}")


def checked(path: Path, table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table in the types of `schema`; raises `RunDamaged` where they differ or a finished row lacks a number."""
    table = typed(path, table, schema)
    needed = [name for name in (*COLUMNS, "size", "counts") if name in table.column_names]
    if "status" in table.column_names and needed:
        finished = pc.equal(table["status"], FINISHED)
        missing = [name for name in needed if table[name].null_count]
        empty = [name for name in missing if pc.any(pc.and_(finished, pc.is_null(table[name]))).as_py()]
        if empty:
            raise RunDamaged(f"{path} has finished rows without {', '.join(empty)}. {WAY_OUT}")
    return table


def typed(path: Path, table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table in the types of `schema`; raises `RunDamaged` where they differ."""
    try:
        return table.cast(pa.schema([schema.field(name) for name in table.column_names], metadata=schema.metadata))
    except (pa.ArrowException, ValueError) as error:
        raise unreadable(path, error) from None


def unreadable(path: Path, error: Exception) -> RunDamaged:
    """What to raise where a table can not be read."""
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return RunDamaged(f"{path} cannot be read ({reason}). {WAY_OUT}")


def to_table(rows: Sequence[Row]) -> pa.Table:
    """Rows as a part's table."""
    return pa.Table.from_pylist(list(rows), schema=PART)


def to_bytes(table: pa.Table) -> bytes:
    """The bytes of a table's file."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **PARQUET)
    data: bytes = sink.getvalue().to_pybytes()
    return data
