"""Measure a run: piece by piece on all cores, each piece on disk when it is done, so that a cut-off measure goes on."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import filelock
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from amodal_bench.errors import Incomplete, Refused, RunDamaged, UnknownName
from amodal_bench.metrics.pixels import MEASURES
from amodal_bench.progress import Reporter
from amodal_bench.results.crew import PieceCrew, Work
from amodal_bench.results.measures.files import FOLDER, MeasureFile, measured
from amodal_bench.results.measures.pieces import INDEX, MeasureOrders, failed, measure_piece
from amodal_bench.results.pipes import to_table
from amodal_bench.results.recorded import Opened, Recorded
from amodal_bench.results.verification.folder import refuse_at_work
from amodal_bench.results.verification.means import Means
from amodal_bench.results.verification.stored import Pieces
from amodal_bench.running import plan as planning
from amodal_bench.running.guard import Failure, guarded
from amodal_bench.store.folder import RunFolder
from amodal_bench.store.rows import PREDICTIONS
from amodal_bench.store.sources import file_sha256

PIECE = 256  # rows of predictions.parquet that are measured, and put on disk, at a time
_PAYS = 400  # rows from which one more process pays


def measure(folder: RunFolder, names: Sequence[str], means: Means, reporter: Reporter) -> list[MeasureFile]:
    """Write RUN/measures/NAME.parquet for each name that is not there yet; returns all that were asked for.

    Needs the run's predictions and its dataset, and no model. What a run that was cut off has measured is kept.

    Raises:
        UnknownName: no measure is called so.
        Refused: the dataset is not here or not the run's, or somebody is at work on the run.
        RunDamaged: the predictions cannot be read.
        Incomplete: instances could not be measured; the same command tries them again.
    """
    for name in names:
        if name not in MEASURES:
            raise UnknownName("measure", name, MEASURES)
    refuse_at_work(folder)
    record = folder.record()
    _check_predictions(folder, record)
    asked = [measured(folder, record, MEASURES[name]) for name in dict.fromkeys(names)]
    missing = [one for one in asked if not one.made]
    if not missing:
        return asked
    (folder.path / FOLDER).mkdir(exist_ok=True)
    try:
        with filelock.FileLock(folder.path / FOLDER / ".lock", timeout=0):
            _Loop(folder, record, missing, means, reporter).run()
    except filelock.Timeout:
        raise Refused(f"{folder.path} is being measured by another process: wait until that has ended") from None
    (folder.path / FOLDER / ".lock").unlink(missing_ok=True)
    return asked


def _check_predictions(folder: RunFolder, record: dict[str, Any]) -> None:
    """Raise `RunDamaged` where they are not what the run ended with."""
    path = folder.path / "predictions.parquet"
    known = record.get("tables", {}).get("predictions")
    if known and path.is_file() and file_sha256(path) != known:
        raise RunDamaged(
            f"{path}: its bytes are not those that the run ended with; copy it again, or start over with --fresh"
        )


@dataclass(frozen=True, slots=True)
class _Piece:
    """Rows of predictions.parquet that have a mask, from row `start` on, and which measures they lack."""

    start: int
    rows: pa.Table
    missing: tuple[MeasureFile, ...]


class _Loop:
    def __init__(
        self,
        folder: RunFolder,
        record: dict[str, Any],
        missing: Sequence[MeasureFile],
        means: Means,
        reporter: Reporter,
    ) -> None:
        self._folder, self._missing, self._reporter = folder, missing, reporter
        self._orders = MeasureOrders(
            run=folder.path, record=record, means=means, names=tuple(one.measure.name for one in missing)
        )
        self._starts: list[int] = []

    def run(self) -> None:
        """Measure what no part has, then make the tables."""
        opened = self._open()
        plan = planning.make_plan(opened.dataset)
        total = int(pq.read_metadata(self._folder.path / "predictions.parquet").num_rows)
        self._reporter.announce(total, 0)
        waiting: list[_Piece] = []
        errors: list[str] = []
        tables = (self._with_indices(piece.rows, plan) for piece in self._noting(waiting))
        for table in self._results(tables, total, opened):
            piece = waiting.pop(0)
            failures = [f"{row['id']} ({row['error']})" for row in table.to_pylist() if row["error"] is not None]
            errors += failures
            if not failures:
                for one in piece.missing:
                    one.write_part(piece.start, table)
            self._reporter.advance(len(table), len(failures))
        if errors:
            raise Incomplete(
                f"{self._folder.path}: {len(errors)} instances could not be measured, the first: {errors[0]}. What was "
                "measured is kept: the same command tries again"
            )
        for one in self._missing:
            one.merge(self._starts)

    def _open(self) -> Opened:
        """The run's dataset; raises `Refused` where it is not here, or a plugin fails in any way."""
        means = self._orders.means

        def opened() -> Opened | Refused:
            try:
                recorded = Recorded(self._folder.path, self._orders.record, means.plugins)
                if fault := recorded.source_fault():
                    return Refused(fault)
                found = recorded.open(means.flags, means.visible)
                fault = recorded.fingerprint_fault(found)
            except Refused as error:
                return error
            return Refused(fault) if fault else found

        found = guarded(opened)
        if isinstance(found, Failure):
            raise Refused(f"its dataset cannot be opened: {found.message}")
        if isinstance(found, Refused):
            raise found
        return found

    def _noting(self, waiting: list[_Piece]) -> Iterator[_Piece]:
        """The pieces that have something to measure, each put into `waiting` when it is handed out."""
        pieces, start = Pieces(self._folder.path / "predictions.parquet", PREDICTIONS), 0
        while len(rows := pieces.take(PIECE)):
            masks = rows.filter(pc.is_valid(rows["counts"]))  # one that failed has none
            here, start = start, start + len(rows)
            if not len(masks):
                continue
            self._starts.append(here)
            missing = tuple(one for one in self._missing if not one.has_part(here, masks["id"]))
            if missing:
                waiting.append(_Piece(here, masks, missing))
                yield waiting[-1]
            else:
                self._reporter.advance(len(masks), 0)

    def _with_indices(self, rows: pa.Table, plan: pa.Table) -> pa.Table:
        found = pc.index_in(rows["id"], value_set=plan["id"].combine_chunks())
        return rows.append_column(INDEX, plan["index"].combine_chunks().take(found.combine_chunks()))

    def _results(self, tables: Iterator[pa.Table], total: int, opened: Opened) -> Iterator[pa.Table]:
        measures = self._orders.measures
        count = self._orders.means.workers or min(os.cpu_count() or 1, max(1, total // _PAYS))
        if count == 1:
            yield from (measure_piece(opened.dataset, measures, table) for table in tables)
            return
        work = Work(
            f"{__package__}.worker",
            self._orders.model_dump_json(),
            to_table,
            lambda first, second: pa.concat_tables([first, second]),
            lambda id, how: failed(id, f"the process that measured it {how}", measures),
        )
        yield from PieceCrew(work, count).results(tables)
