"""Many parts become three tables, in memory that does not grow with the run.

First only ids are read, sorted and chosen from; then the chosen rows are sorted into buckets on disk, each small
enough for memory, and written bucket by bucket. What is written depends on the rows alone, not on how they were
spread over parts.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from amodal_bench.errors import RunDamaged
from amodal_bench.files.cache import writing
from amodal_bench.store.rows import FINISHED, INSTANCES, PARQUET, PART, PREDICTIONS
from amodal_bench.store.sources import TABLES, Indices, RowSource, by_id, file_sha256, repeats

_RANK = "_rank"  # a column of rows on their way
_BUCKET = 64 * 2**20  # bytes of rows that are sorted at a time
_GROUP_ROWS, _GROUP_BYTES = 65_536, 32 * 2**20  # where a row group of a table ends


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge wrote: rows, how many of them are finished, and the sha256 of each table."""

    rows: int
    finished: int
    tables: dict[str, str]


def merge(sources: Sequence[RowSource], folder: Path) -> Merged:
    """Write instances, predictions and timings of all rows into `folder`: one row an id, sorted by id.

    A finished row stands for the failed tries before it. The same result twice (two workers, or a part written
    again) is one; two different finished results for one id cannot both come from one spec and raise `RunDamaged`.
    The tables are replaced one after the other, at the end.
    """
    chosen = _choose(sources)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".merge-") as scratch, ExitStack() as outs:
        files = {name: outs.enter_context(writing(folder / f"{name}.parquet")) for name in TABLES}
        with ExitStack() as writers:
            groups = [
                writers.enter_context(_Groups(path, TABLES[name], "counts" if name == "predictions" else None))
                for name, path in files.items()
            ]
            for table in _in_order(sources, chosen, Path(scratch)):
                for group in groups:
                    group.add(table)
        tables = {name: file_sha256(path) for name, path in files.items()}
    return Merged(chosen.rows, chosen.finished, tables)


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Where the rows of all sources go.

    `ranks`: each row's rank in the sorted order, -1 for nowhere. `first`: for each rank that of the first row with
    the same id. `rows`: how many there are in the end, and how many of them are `finished`.
    """

    ranks: Indices
    first: Indices
    rows: int
    finished: int


def _choose(sources: Sequence[RowSource]) -> _Chosen:
    order, index = by_id(sources)
    again = repeats(index["id"])
    finished = pc.equal(index["status"], FINISHED).to_numpy()
    kept = np.flatnonzero(~again | finished)  # finished ones that are there twice are compared, then dropped
    ranks = np.full(len(order), -1, dtype=np.int64)
    ranks[order[kept]] = np.arange(len(kept))
    first = np.maximum.accumulate(np.where(again[kept], 0, np.arange(len(kept))))
    return _Chosen(ranks, first, int((~again).sum()), int((finished & ~again).sum()))


def _in_order(sources: Sequence[RowSource], chosen: _Chosen, scratch: Path) -> Iterator[pa.Table]:
    """The chosen rows, sorted, as tables of `PART` of any length."""
    count = max(1, -(-sum(source.size for source in sources) // _BUCKET))
    if count == 1:
        yield _sorted([table for _, table in _ranked(sources, chosen, 1)])
        return
    paths = [scratch / f"{bucket}.arrow" for bucket in range(count)]
    schema = PART.append(pa.field(_RANK, pa.int64()))
    with ExitStack() as stack:
        outs = [stack.enter_context(pa.ipc.new_stream(str(path), schema)) for path in paths]
        for bucket, table in _gathered(_ranked(sources, chosen, count)):
            outs[bucket].write_table(table)
    for path in paths:
        with pa.ipc.open_stream(str(path)) as stream:
            yield _sorted([stream.read_all()])
        path.unlink()


def _ranked(sources: Sequence[RowSource], chosen: _Chosen, count: int) -> Iterator[tuple[int, pa.Table]]:
    """(bucket, rows that go there, with their rank)."""
    start = 0
    for source in sources:
        for chunk in source.chunks():
            ranks = chosen.ranks[start : start + len(chunk)]
            start += len(chunk)
            kept = ranks >= 0
            chunk = chunk.append_column(_RANK, pa.array(ranks)).filter(pa.array(kept))
            if count == 1:
                yield 0, chunk
                continue
            buckets = chosen.first[ranks[kept]] * count // len(chosen.first)
            for bucket in np.unique(buckets):
                yield int(bucket), chunk.filter(pa.array(buckets == bucket))


def _gathered(pieces: Iterator[tuple[int, pa.Table]]) -> Iterator[tuple[int, pa.Table]]:
    """The same rows in fewer tables: small parts would make very many."""
    kept: dict[int, list[pa.Table]] = {}
    size = 0
    for bucket, table in pieces:
        kept.setdefault(bucket, []).append(table)
        size += table.nbytes
        if size > _BUCKET:
            yield from ((b, pa.concat_tables(tables).combine_chunks()) for b, tables in kept.items())
            kept, size = {}, 0
    yield from ((b, pa.concat_tables(tables).combine_chunks()) for b, tables in kept.items())


def _sorted(tables: Sequence[pa.Table]) -> pa.Table:
    """Rows by their rank, one an id; raises `RunDamaged` where two finished rows of an id differ."""
    if not tables:
        return PART.empty_table()
    table = pa.concat_tables(tables)
    table = table.take(pc.sort_indices(table[_RANK])).drop_columns([_RANK])
    if len(table) < 2:
        return table
    ids = table["id"]
    again = pc.equal(ids.slice(1), ids.slice(0, len(ids) - 1)).to_numpy()
    repeats = np.flatnonzero(again) + 1
    if repeats.size:
        _check_equal(table.take(pa.array(repeats - 1)), table.take(pa.array(repeats)))
        table = table.filter(pa.array(np.concatenate([[True], ~again])))
    return table


def _check_equal(before: pa.Table, after: pa.Table) -> None:
    names = [*INSTANCES.names, *PREDICTIONS.names[1:]]
    if before.select(names).equals(after.select(names)):
        return
    for one, other in zip(before.select(names).to_pylist(), after.select(names).to_pylist(), strict=True):
        differing = [name for name in names if one[name] != other[name]]
        if differing:
            raise RunDamaged(
                f"two different results for {one['id']} (they differ in {', '.join(differing)}): "
                "one run folder was written by different code, weights or hardware. Start over with --fresh"
            )


class _Groups:
    """A Parquet file whose row groups end after so many rows or bytes, whatever tables they come in."""

    def __init__(self, path: Path, schema: pa.Schema, heavy: str | None) -> None:
        self._writer = pq.ParquetWriter(path, schema, **PARQUET)
        self._schema, self._heavy = schema, heavy
        self._waiting = schema.empty_table()

    def add(self, table: pa.Table) -> None:
        """Take rows in, and write the groups that are whole."""
        self._waiting = pa.concat_tables([self._waiting, table.select(self._schema.names).cast(self._schema)])
        while (length := self._whole()) is not None:
            self._write(length)

    def __enter__(self) -> "_Groups":
        return self

    def __exit__(self, kind: Any, error: Any, at: Any) -> None:
        if error is None and len(self._waiting):
            self._write(len(self._waiting))
        self._writer.close()

    def _whole(self) -> int | None:
        """Rows of the next group, None where its end has not come yet."""
        end = _GROUP_ROWS
        if self._heavy and len(self._waiting):
            lengths = pc.fill_null(pc.binary_length(self._waiting[self._heavy]), 0).to_numpy()
            end = min(end, int(np.searchsorted(np.cumsum(lengths), _GROUP_BYTES)) + 1)
        return end if len(self._waiting) >= end else None

    def _write(self, length: int) -> None:
        # In one piece: where the pieces end would move the ends of pages.
        self._writer.write_table(self._waiting.slice(0, length).combine_chunks(), row_group_size=length)
        self._waiting = self._waiting.slice(length)
