"""Verify one run: its record, its tables, its rows, and with the dataset every count again."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from amodal_bench.errors import Refused, RunDamaged, RunNewer
from amodal_bench.metrics.protocol import DEFAULT
from amodal_bench.progress import Reporter
from amodal_bench.resolve.registry import Registry
from amodal_bench.results.recorded import Opened, Recorded
from amodal_bench.results.verification import dataset as data
from amodal_bench.results.verification import folder as on_disk
from amodal_bench.results.verification.crew import crew
from amodal_bench.results.verification.ledger import Ledger
from amodal_bench.results.verification.means import Means
from amodal_bench.results.verification.orders import PieceOrders
from amodal_bench.results.verification.recount import INDEX, UNREADABLE, Examiner, PieceReport
from amodal_bench.results.verification.result import Verification
from amodal_bench.results.verification.rows import GROUP
from amodal_bench.results.verification.stored import ROW, from_parts, from_tables, index_of, lengths, table_paths
from amodal_bench.running import plan as planning
from amodal_bench.running.guard import Failure, guarded
from amodal_bench.store.folder import RunFolder

_PIECE = 128  # rows that are examined at a time
_PAYS = {True: 20_000, False: 500}  # rows, `quick` or not, from which one more process pays


def verify(folder: RunFolder, means: Means, reporter: Reporter) -> Verification:
    """Verify one run: what is damaged is a difference, what cannot be looked at a refusal; neither is raised."""
    check = _Check(folder, means, reporter)
    try:
        check.run()
    except RunNewer as error:
        check.refusal = str(error)
    except RunDamaged as error:
        check.differences.append(str(error))
    except Refused as error:
        check.refusal = str(error)
    return check.result()


@dataclass(frozen=True, slots=True)
class _Positions:
    """Where the rows of a run stand: in the plan, with its groups, and in the dataset."""

    groups: pa.Array
    planned: pa.Array
    indices: pa.Array
    here: pa.Array

    @classmethod
    def of(cls, ids: pa.Array, plan: pa.Table | None, here: pa.Table | None) -> "_Positions":
        """`plan` is the stored one, `here` the dataset's; each stands for the other where that is None."""
        plan, here = (plan, here) if plan is not None else (here, here)
        groups = plan["group_id"].combine_chunks() if plan is not None else pa.nulls(0, pa.string())
        indices = here["index"].combine_chunks() if here is not None else pa.nulls(0, pa.int64())
        return cls(groups, _found(ids, plan), indices, _found(ids, here))

    def add(self, rows: pa.Table) -> pa.Table:
        """The rows with `GROUP` and `INDEX`."""
        number = rows[ROW].combine_chunks()
        groups = self.groups.take(self.planned.take(number))
        return rows.append_column(GROUP, groups).append_column(INDEX, self.indices.take(self.here.take(number)))


def _found(ids: pa.Array, plan: pa.Table | None) -> pa.Array:
    known = plan["id"].combine_chunks() if plan is not None else pa.nulls(0, pa.string())
    return pc.index_in(ids, value_set=known)


class _Check:
    """One verification, and what it has found so far."""

    def __init__(self, folder: RunFolder, means: Means, reporter: Reporter) -> None:
        self._folder, self._means, self._reporter = folder, means, reporter
        self.differences: list[str] = []
        self.notes: list[str] = []
        self.refusal = ""
        self._ledger = Ledger()
        self._found = PieceReport(seen=0, problems={})

    def result(self) -> Verification:
        """What was found."""
        refusal = self.refusal
        if self._found.unreadable and not refusal:
            refusal = f"not all could be counted again, {UNREADABLE}: {self._found.unreadable}"
        return Verification(
            self._folder.path,
            self._means.quick,
            self._found.rows,
            tuple(self.differences),
            tuple(self.notes),
            refusal,
            self._found.recounted.means,
        )

    def run(self) -> None:
        """From the record to the rows; damage of one file does not hide that of the next."""
        on_disk.refuse_at_work(self._folder)
        record = self._folder.record()
        self.differences += on_disk.check_key(self._folder, record)
        opened = here = None
        if not self._means.quick:
            opened, here = self._open(record)
        plan = None
        with self._noted():
            plan = self._folder.plan()
        if plan is not None and here is not None:
            self.differences += data.check_plan(plan, here)
        with self._noted():
            self._tables(record, plan, here, opened)

    @contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except RunNewer:
            raise
        except RunDamaged as error:
            self.differences.append(str(error))

    def _open(self, record: dict[str, Any]) -> tuple[Opened, pa.Table]:
        """The dataset, compared with the record, and its plan; raises `Refused` where a plugin fails in any way."""
        found = guarded(lambda: self._compared(record))
        if isinstance(found, Failure):
            raise Refused(f"its dataset cannot be opened: {found.message}")
        if isinstance(found, Refused):
            raise found
        return found

    def _compared(self, record: dict[str, Any]) -> tuple[Opened, pa.Table] | Refused:
        means = self._means
        try:
            recorded = Recorded(self._folder.path, record, means.plugins)
            if fault := recorded.source_fault():
                self.differences.append(fault)
            opened = recorded.open(means.flags, means.visible)
            self.differences += data.check_dataset(record, recorded, opened)
            registry = Registry(means.plugins)
            self._both(data.check_methods_source(record, registry))
            self._both(data.check_weights(record, means, registry))
            return opened, planning.make_plan(opened.dataset)
        except Refused as error:
            return error

    def _both(self, found: tuple[Iterable[str], Iterable[str]]) -> None:
        self.differences += found[0]
        self.notes += found[1]

    def _tables(
        self, record: dict[str, Any], plan: pa.Table | None, here: pa.Table | None, opened: Opened | None
    ) -> None:
        path = self._folder.path
        parts, faults = on_disk.sound_parts(self._folder)
        self.differences += faults
        # A kill may have come between two tables of a merge; the parts hold what they have until the run is complete.
        unmerged = record["status"] == "running" and (bool(self._folder.parts()) or not table_paths(path))
        self._note_status(record, unmerged)
        if unmerged:
            index = index_of(parts)
            pieces = from_parts(parts, _PIECE)
        else:
            self.differences += on_disk.check_digests(self._folder, record)
            if not {"instances", "predictions"} <= set(table_paths(path)):
                return
            self.differences += on_disk.check_lengths(lengths(path))
            index = index_of([path / "instances.parquet"])
            pieces = from_tables(path, _PIECE, self._ledger)
        statuses = Counter(
            {str(row["values"]): int(row["counts"]) for row in pc.value_counts(index["status"]).to_pylist()}
        )
        self._count(record, None if plan is None else len(plan), statuses, int(pc.count_distinct(index["id"]).as_py()))
        positions = _Positions.of(index["id"].combine_chunks(), plan, here)
        try:
            self._examine(record, (positions.add(piece) for piece in pieces), len(index), opened)
        finally:
            self._ledger.merge(self._found.problems)
            self.differences += self._ledger.lines()
            self._compare_scores()

    def _note_status(self, record: dict[str, Any], unmerged: bool) -> None:
        if record["status"] == "running":
            what = "its rows are those of its parts" if unmerged else "its tables are those of an earlier end"
            self.notes.append(f"it was stopped before its end, {what}: its bench command goes on with it")
        elif not record.get("tables"):
            self.notes.append("run.json has no digests of the tables: they were merged by an earlier version")

    def _count(self, record: dict[str, Any], planned: int | None, statuses: Counter[str], ids: int) -> None:
        if record["status"] != "running":
            self.differences += on_disk.check_counts(record, planned, statuses)
        total = planned if planned is not None else record["counts"]["planned"]
        if ids < total:
            self.notes.append(f"partial: {ids} of {total} planned instances have a row")
        if failed := statuses["error"]:
            self.notes.append(f"{failed} instances failed when it ran: they have no mask, so nothing to count again")

    def _examine(self, record: dict[str, Any], pieces: Iterator[pa.Table], total: int, opened: Opened | None) -> None:
        self._reporter.announce(total, 0)
        for report in self._reports(record, pieces, total, opened):
            self._found = self._found + report
            failing = report.problems.values()
            self._reporter.advance(report.seen, max((problem.count for problem in failing), default=0))

    def _reports(
        self, record: dict[str, Any], pieces: Iterator[pa.Table], total: int, opened: Opened | None
    ) -> Iterator[PieceReport]:
        orders = PieceOrders(run=self._folder.path, record=record, means=self._means)
        count = self._means.workers or min(os.cpu_count() or 1, max(1, total // _PAYS[self._means.quick]))
        if count > 1:
            yield from crew(orders, count).results(pieces)
            return
        examiner = Examiner(opened.dataset if opened else None, orders.sixteen)
        yield from map(examiner.examine, pieces)

    def _compare_scores(self) -> None:
        """What a fault is worth: the scores of the counts as stored, and as they were counted again."""
        names = ("mIoU_full", "mIoU_inv")
        pairs = zip(names, self._found.stored.means, self._found.recounted.means, strict=True)
        changes = [f"{name} {before:.4f} as stored, {after:.4f} counted again" for name, before, after in pairs
                if abs(before - after) > 1e-9]  # fmt: skip
        if changes:
            self.differences.append(f"scores ({DEFAULT}): {'; '.join(changes)}")
