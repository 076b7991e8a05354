"""The rows of a run as they lie on disk, in pieces: memory does not grow with the run."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from amodal_bench.results.verification.ledger import Ledger
from amodal_bench.store.rows import INSTANCES, PREDICTIONS, check_schema, read_table, typed, unreadable
from amodal_bench.store.sources import TABLES, PartFile

STORED = pa.schema([*INSTANCES, *list(PREDICTIONS)[1:]])
ROW = "_row"  # the number of a row among all of the run
PAIRED = "_paired"  # whether the mask beside it is its own
_BUFFER, _BATCH = 2**20, 64  # bytes of a column and rows of a table that are read at a time


class Pieces:
    """A table read from its beginning, every column, checksums verified; raises `RunDamaged` where it cannot be."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._batches = _batches(path, schema)
        self._waiting = schema.empty_table()

    def take(self, count: int) -> pa.Table:
        """The next `count` rows; fewer, or none, where the table ends."""
        tables = [self._waiting]
        found = len(self._waiting)
        while found < count and (batch := next(self._batches, None)) is not None:
            tables.append(batch)
            found += len(batch)
        table = pa.concat_tables(tables)
        self._waiting = table.slice(count)
        return table.slice(0, count)


def _batches(path: Path, schema: pa.Schema) -> Iterator[pa.Table]:
    try:
        with pq.ParquetFile(path, page_checksum_verification=True, buffer_size=_BUFFER) as file:
            check_schema(path, file.schema_arrow, schema)
            for batch in file.iter_batches(_BATCH, columns=schema.names):
                batch.validate(full=True)  # texts that are no UTF-8
                yield typed(path, pa.Table.from_batches([batch]).select(schema.names), schema)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise unreadable(path, error) from None


def lengths(folder: Path) -> dict[str, int]:
    """Rows of each table that is there; raises `RunDamaged`."""
    found = {}
    for path in table_paths(folder).values():
        try:
            found[path.name] = int(pq.read_metadata(path).num_rows)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise unreadable(path, error) from None
    return found


def from_tables(folder: Path, size: int, ledger: Ledger) -> Iterator[pa.Table]:
    """Rows of `STORED`, `ROW` and `PAIRED`, at most `size` at a time: instances with their masks, row by row.

    An instance whose row in another table has another id goes into the ledger.
    """
    pieces = {name: Pieces(path, TABLES[name]) for name, path in table_paths(folder).items()}
    instances = pieces.pop("instances")
    before, start = None, 0
    while len(rows := instances.take(size)):
        before = _check_order(rows, before, ledger)
        others = {name: _fitting(other.take(size), len(rows)) for name, other in pieces.items()}
        paired = {name: pc.fill_null(pc.equal(rows["id"], other["id"]), False) for name, other in others.items()}
        for name, equal in paired.items():
            ledger.where(f"{name}.parquet has another id, or none, in the row of", rows, ~equal.to_numpy())
        for field in list(PREDICTIONS)[1:]:
            rows = rows.append_column(field, others["predictions"][field.name])
        yield _numbered(rows, start).append_column(PAIRED, paired["predictions"])
        start += len(rows)


def from_parts(parts: Sequence[Path], size: int) -> Iterator[pa.Table]:
    """Rows of `STORED`, `ROW` and `PAIRED` from the parts of a run that has no tables yet; raises `RunDamaged`."""
    number = 0
    for path in parts:
        for table in PartFile(path).chunks():
            for start in range(0, len(table), size):
                piece = table.slice(start, size).select(STORED.names)
                yield _numbered(piece, number).append_column(PAIRED, pa.repeat(True, len(piece)))
                number += len(piece)


def table_paths(folder: Path) -> dict[str, Path]:
    """The merged tables that are there."""
    paths = {name: folder / f"{name}.parquet" for name in TABLES}
    return {name: path for name, path in paths.items() if path.is_file()}


def index_of(paths: Sequence[Path]) -> pa.Table:
    """id and status of all rows of tables or parts, in order; raises `RunDamaged`."""
    schema = pa.schema([INSTANCES.field("id"), INSTANCES.field("status")])
    return pa.concat_tables([schema.empty_table(), *(read_table(path, schema, schema.names) for path in paths)])


def _numbered(rows: pa.Table, start: int) -> pa.Table:
    return rows.append_column(ROW, pa.array(range(start, start + len(rows)), type=pa.int64()))


def _fitting(table: pa.Table, count: int) -> pa.Table:
    """`count` rows, null at the end where a table has fewer."""
    if len(table) == count:
        return table
    return table.take(pa.array([k if k < len(table) else None for k in range(count)], type=pa.int64()))


def _check_order(rows: pa.Table, before: str | None, ledger: Ledger) -> str:
    """Ids rise from row to row; returns the last one."""
    ids = rows["id"].to_pylist()
    falls = [one is not None and other <= one for one, other in zip([before, *ids[:-1]], ids, strict=True)]
    ledger.where("instances.parquet is not sorted by id, or has an id twice, at", rows, np.array(falls, dtype=np.bool_))
    return str(ids[-1])
