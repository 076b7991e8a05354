"""A paper's table with what was measured beside what was printed."""

import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace

from amodal_bench.metrics.protocol import Protocol, find_protocol
from amodal_bench.results.finished import FinishedRun
from amodal_bench.results.rank import Rank, ranks
from amodal_bench.results.select import Selection
from amodal_bench.tables.sheet import (
    EMPTY,
    TIMINGS,
    Cell,
    Heading,
    Record,
    Sheet,
    measured_record,
    timing_cells,
)
from amodal_bench.tables.spec import ColumnSpec, RowSpec, TableSpec, find_table
from amodal_bench.tables.values import Ambiguous, Measured, Scored, same_but_seed

REFERENCE = "reference"


@dataclass(frozen=True, slots=True)
class _Pair:
    """One cell of the paper's table: what it prints (with the letter of its origin) and what was measured."""

    row: RowSpec
    column: ColumnSpec
    printed: float
    derived: bool
    mark: str
    measured: Measured | None
    problem: str = ""  # why nothing is shown, or not all that was run

    @property
    def printed_class(self) -> Hashable:
        """What its printed value may be ranked with; None: nothing."""
        return (self.column.id, self.mark, self.row.section) if self.mark and not self.derived else None

    @property
    def measured_class(self) -> Hashable:
        """What its measured value may be ranked with: the same instances under the same protocol."""
        m = self.measured
        if m is None or m.flag or self.row.section == REFERENCE or self.column.minus:
            return None
        return (self.column.id, m.protocol, m.data, self.row.section)


class PaperTable:
    """A table of a paper and the runs that re-make it.

    Runs on files that are not the published ones fill no cell unless `other_data`; then their cells say so.
    """

    def __init__(self, spec: TableSpec, selection: Selection, timings: bool = False, other_data: bool = False) -> None:
        self.spec = spec
        self.timings = timings
        self.other_data = other_data
        self.selection = selection
        self._scored = Scored()
        used = dict.fromkeys(spec.origin_id(row, column) for row in spec.rows for column in row.printed)
        self.marks = {origin: chr(ord("a") + index) for index, origin in enumerate(used)}

    def sheet(self) -> Sheet:
        """The whole table; cells that nothing was run for are empty."""
        rows = [*self.spec.rows, *self._references()]
        pairs = [[self._pair(row, column) for column in self.spec.columns] for row in rows]
        problems = tuple(dict.fromkeys(pair.problem for line in pairs for pair in line if pair.problem))
        pairs = [line for row, line in zip(rows, pairs, strict=True) if row.section != REFERENCE or _any(line)]
        flat = [pair for line in pairs for pair in line]
        printed, measured = map(iter, self._ranks(flat))
        return Sheet(
            name=self.spec.name,
            title=f"{self.spec.title} ({self.spec.source})",
            labels=("method", "setting"),
            columns=tuple(
                Heading(f"{c.dataset} {c.metric}", kind, not c.minus and kind not in TIMINGS)
                for c in self.spec.columns
                for kind in ("published", "measured")
            ),
            rows=tuple(
                (
                    (line[0].row.title, line[0].row.section),
                    tuple(c for pair in line for c in self._cells(pair, next(printed), next(measured))),
                )
                for line in pairs
            ),
            notes=(*self._origin_notes(), *self._run_notes(flat), *problems),
            problems=problems,
            digits=self.spec.digits,
            records=tuple(self._record(pair) for pair in flat if pair.row.preset or not math.isnan(pair.printed)),
        )

    def _cells(self, pair: _Pair, printed: Rank, measured: Rank) -> Iterator[Cell]:
        yield _printed_cell(pair, printed)
        yield _measured_cell(pair, measured)
        if self.timings:
            yield from timing_cells(pair.measured)

    def _references(self) -> Iterator[RowSpec]:
        for name in self.spec.references:
            yield RowSpec(id=f"reference-{name}", method=name, setting=REFERENCE, preset=name)

    def _pair(self, row: RowSpec, column: ColumnSpec) -> _Pair:
        derived = column.id not in row.printed and self.spec.derived_from is not None and row.section != REFERENCE
        printed = self._derived(row, column) if derived else row.printed.get(column.id, math.nan)
        mark = ""
        if column.id in row.printed:
            mark = self.marks[self.spec.origin_id(row, column.id)]
        measured, problem = self._measured(row, column)
        return _Pair(row, column, printed, derived, mark, measured, problem)

    def _derived(self, row: RowSpec, column: ColumnSpec) -> float:
        base = self._base().row(row.id).printed
        return _mean([base.get(name, math.nan) for name in column.mean_of]) - (
            _mean([base.get(name, math.nan) for name in column.minus]) if column.minus else 0.0
        )

    def _measured(self, row: RowSpec, column: ColumnSpec) -> tuple[Measured | None, str]:
        """What was measured for a cell, and in a sentence what of it is not shown and why."""
        if column.mean_of:
            return self._averaged(row, column), ""
        if row.preset is None or column.dataset_key is None:
            return None, ""
        runs = self.selection.named(row.preset, column.dataset_key, column.split)
        runs = [run for run in runs if run.as_asked({**column.options, **row.options}, row.visible)]
        fitting = [run for run in runs if self.other_data or not run.other_data]
        if runs and not fitting:
            return None, f"{row.title} on {column.dataset}: not shown, {runs[0].address} is on {runs[0].other_data}"
        if not fitting:
            return None, ""
        try:
            seeds = same_but_seed(fitting, f"{row.preset} on {column.dataset_key}/{column.split}")
        except Ambiguous as error:
            return None, str(error)
        found = self._scored.over_seeds(seeds.runs, self.protocol(row, column), column.metric)
        if found is not None and found.setting and row.section not in (found.setting, REFERENCE):
            return None, (
                f"{row.title} on {column.dataset}: not shown, since the weights of {found.runs[0]} are {found.setting}"
            )
        return found and _marked(found, seeds.runs), seeds.left_out

    def protocol(self, row: RowSpec, column: ColumnSpec) -> Protocol:
        """What a cell is measured under: the protocol of the printed value where it is known, else the table's."""
        if column.id in row.printed:
            origin = self.spec.origin(row, column.id)
            return find_protocol(origin.protocol or self.spec.default_protocol)
        return find_protocol(self.spec.default_protocol)

    def _averaged(self, row: RowSpec, column: ColumnSpec) -> Measured | None:
        """The mean over datasets of whole measured values; no interval, since their draws are not of one set."""
        base = self._base()
        sides = [
            [self._measured(row, base.column(name))[0] for name in names] for names in (column.mean_of, column.minus)
        ]
        parts = [part for part in (*sides[0], *sides[1]) if part is not None]
        if len(parts) < len(sides[0]) + len(sides[1]) or len({part.protocol for part in parts}) > 1:
            return None
        means = [_mean([part.value for part in side if part]) if side else 0.0 for side in sides]
        worst = max(parts, key=lambda part: bool(part.flag))
        return Measured(
            value=means[0] - means[1], low=math.nan, high=math.nan, n=sum(part.n for part in parts),
            protocol=parts[0].protocol, data="; ".join(part.data for part in parts),
            runs=tuple(key for part in parts for key in part.runs), state=worst.state, flag=worst.flag,
        )  # fmt: skip

    def _base(self) -> TableSpec:
        """The table whose columns `mean_of` names."""
        return find_table(self.spec.derived_from) if self.spec.derived_from else self.spec

    def _ranks(self, pairs: list[_Pair]) -> tuple[list[Rank], list[Rank]]:
        ranked = {self.marks[name]: self.spec.origins[name].ranked for name in self.marks}
        printed = [(p.printed_class if ranked.get(p.mark) else None, p.printed) for p in pairs]
        measured = [(p.measured_class, p.measured.value if p.measured else math.nan) for p in pairs]
        return ranks(printed, self.spec.digits), ranks(measured, self.spec.digits)

    def _origin_notes(self) -> Iterator[str]:
        for name, mark in self.marks.items():
            origin = self.spec.origins[name]
            protocol = origin.protocol or "no known protocol"
            unranked = "" if origin.ranked else "; not ranked"
            yield f"{mark}: {protocol} ({origin.basis}{unranked}). {' '.join(origin.evidence.split())}"
        if self.spec.derived_from:
            yield f"The published side is computed from the values that {self.spec.derived_from} prints."

    def _run_notes(self, pairs: list[_Pair]) -> Iterator[str]:
        for pair in pairs:
            m = pair.measured
            if m is None or pair.column.mean_of:
                continue
            seeds = f", mean and sd of {len(m.runs)} seeds" if len(m.runs) > 1 else ""
            flag = f", {m.flag}, not ranked" if m.flag else ""
            yield (
                f"{pair.row.title}, {pair.column.dataset} {pair.column.metric} measured: {m.protocol}, n = {m.n}{seeds}"
                f"{flag}, run {' '.join(m.runs)}"
            )

    def _record(self, pair: _Pair) -> Record:
        m, origin = pair.measured, None
        if pair.mark:
            origin = self.spec.origin(pair.row, pair.column.id)
        return {
            "table": self.spec.name, "row": pair.row.title, "setting": pair.row.setting, "backbone": pair.row.backbone,
            "dataset": pair.column.dataset, "metric": pair.column.metric,
            "published": None if math.isnan(pair.printed) else round(pair.printed, 6),
            "published_protocol": origin.protocol if origin else None,
            "published_basis": origin.basis if origin else "derived" if pair.derived else None,
            "published_visible": origin.visible if origin else None,
            **measured_record(m),
            "preset": pair.row.preset, "make": _command(pair),
        }  # fmt: skip


def _command(pair: _Pair) -> str | None:
    """The command that re-makes a cell."""
    if pair.row.preset is None or pair.column.dataset_key is None:
        return None
    split = f" --split {pair.column.split}" if pair.column.split else ""
    return f"amodal-bench bench --method {pair.row.preset} --dataset {pair.column.dataset_key}{split}"


def _printed_cell(pair: _Pair, rank: Rank) -> Cell:
    return EMPTY if math.isnan(pair.printed) else Cell(pair.printed, mark=pair.mark, rank=rank)


def _measured_cell(pair: _Pair, rank: Rank) -> Cell:
    return Cell.of(pair.measured, rank) if pair.measured else EMPTY


def _marked(found: Measured, runs: Sequence[FinishedRun]) -> Measured:
    """With the flag of a value on other data, or of weights whose training saw a split that is reported on."""
    flag = "other data" if any(run.other_data for run in runs) else ""
    flag = flag or next((f"watched {run.watched}" for run in runs if run.watched), "")
    return replace(found, flag=found.flag or flag)


def _any(line: list[_Pair]) -> bool:
    return any(pair.measured is not None for pair in line)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
