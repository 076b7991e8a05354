"""Where a run's rows lie: in parts, and in the tables that an earlier merge wrote."""

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from amodal_bench.store.rows import FINISHED, INSTANCES, PART, PREDICTIONS, TIMINGS, checked, read_table, unreadable

TABLES = {"instances": INSTANCES, "predictions": PREDICTIONS, "timings": TIMINGS}
INDEX = ["id", "status", "error", "worker"]
_ROW = 300  # bytes of a row in memory without its mask: numbers of eight bytes, ids that are spelled out
DIGITS = 16  # of the sha256 in a part's name

Indices = NDArray[np.int64]


class RowSource(Protocol):
    """Where rows lie."""

    @property
    def size(self) -> int:
        """Bytes of its rows in memory, roughly."""

    def index(self) -> pa.Table:
        """The columns of `INDEX` of every row, in order."""

    def chunks(self) -> Iterator[pa.Table]:
        """Tables of `PART`, in the same order."""


class PartFile:
    """A file of parts/. The end of its name is the digest of its bytes, where the run is not of an earlier version."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def size(self) -> int:
        """Bytes before compression, and what short values that a file writes in bits take."""
        try:
            facts = pq.read_metadata(self.path)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise unreadable(self.path, error) from None
        held = sum(facts.row_group(group).total_byte_size for group in range(facts.num_row_groups))
        return int(held + _ROW * facts.num_rows)

    def index(self) -> pa.Table:
        """Read from the columns alone."""
        return read_table(self.path, PART, INDEX)

    def chunks(self) -> Iterator[pa.Table]:
        """The whole part; raises `RunDamaged` where its bytes are not those that were written."""
        named = self.path.stem.rpartition("-")[2]
        if len(named) == DIGITS and named != file_sha256(self.path)[:DIGITS]:
            raise unreadable(self.path, ValueError("its bytes are not those that were written"))
        yield read_table(self.path, PART)


class OldTables:
    """The rows of three tables that an earlier merge wrote, of those ids that no part holds."""

    def __init__(self, folder: Path, ids: pa.Array) -> None:
        self._folder, self._ids = folder, ids

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return int(self._rows.nbytes)

    def index(self) -> pa.Table:
        """Of the rows."""
        return self._rows.select(INDEX)

    def chunks(self) -> Iterator[pa.Table]:
        """All of them."""
        yield self._rows

    @cached_property
    def _rows(self) -> pa.Table:
        """Joined by id; a finished row whose mask is lost is none."""
        rows = self._read("instances")
        for name in ("predictions", "timings"):
            other = self._read(name)
            found = other.take(pc.index_in(rows["id"], value_set=other["id"].combine_chunks()))
            for field in list(TABLES[name])[1:]:
                rows = rows.append_column(field, found[field.name])
        whole = pc.or_(pc.not_equal(rows["status"], FINISHED), pc.is_valid(rows["counts"]))
        return checked(self._folder / "instances.parquet", rows.select(PART.names).filter(whole), PART)

    def _read(self, name: str) -> pa.Table:
        path = self._folder / f"{name}.parquet"
        if not path.is_file():
            return TABLES[name].empty_table()
        table = read_table(path, TABLES[name])
        return table.filter(pc.is_in(table["id"], value_set=self._ids))


def overview(sources: Sequence[RowSource]) -> pa.Table:
    """id, status and error of every row, one an id, a finished one before a failed one; sorted by id."""
    _, rows = by_id(sources)
    return rows.select(["id", "status", "error"]).filter(pa.array(~repeats(rows["id"])))


def by_id(sources: Sequence[RowSource]) -> tuple[Indices, pa.Table]:
    """The indices of all rows of all sources in sorted order, and their index in that order."""
    parts = [source.index() for source in sources]
    index = pa.concat_tables(parts).combine_chunks() if parts else PART.empty_table().select(INDEX)
    rank = pc.if_else(pc.equal(index["status"], FINISHED), 0, 1)
    keys = index.append_column("_rank", rank).append_column("_error", pc.fill_null(index["error"], ""))
    order = pc.sort_indices(keys, sort_keys=[(name, "ascending") for name in ("id", "_rank", "_error", "worker")])
    return order.to_numpy(), index.take(order)


def repeats(ids: pa.ChunkedArray) -> NDArray[np.bool_]:
    """For each of sorted ids whether it equals the one before."""
    found = np.zeros(len(ids), dtype=np.bool_)
    if len(ids) > 1:
        found[1:] = pc.equal(ids.slice(1), ids.slice(0, len(ids) - 1)).to_numpy()
    return found


def file_sha256(path: Path) -> str:
    """sha256 (hex) of a file's bytes; raises `RunDamaged` where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise unreadable(path, error) from None
