"""A paper's table with what was measured beside what was printed."""

import math
from collections.abc import Hashable, Iterator
from dataclasses import dataclass

from amodal_bench.metrics.protocol import Protocol, find_protocol
from amodal_bench.tables.runs import Ambiguous, Measured, RunBook, over_runs, same_but_seed
from amodal_bench.tables.sheet import (
    EMPTY,
    TIMINGS,
    Cell,
    Heading,
    Rank,
    Record,
    Sheet,
    measured_record,
    ranks,
    timing_cells,
)
from amodal_bench.tables.spec import ColumnSpec, RowSpec, TableSpec, find_table

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
    """A table of a paper and the runs that re-make it."""

    def __init__(self, spec: TableSpec, book: RunBook, timings: bool = False) -> None:
        self.spec = spec
        self.timings = timings
        self.book = book
        self.notes: list[str] = []
        used = dict.fromkeys(spec.origin_id(row, column) for row in spec.rows for column in row.printed)
        self.marks = {origin: chr(ord("a") + place) for place, origin in enumerate(used)}

    def sheet(self) -> Sheet:
        """The whole table; cells that nothing was run for are empty."""
        rows = [*self.spec.rows, *self._references()]
        pairs = [[self._pair(row, column) for column in self.spec.columns] for row in rows]
        pairs = [line for row, line in zip(rows, pairs, strict=True) if row.section != REFERENCE or _any(line)]
        flat = [pair for line in pairs for pair in line]
        printed, measured = self._ranks(flat)
        cells = {
            id(p): (_printed_cell(p, a), _measured_cell(p, b), *(timing_cells(p.measured) if self.timings else ()))
            for p, a, b in zip(flat, printed, measured, strict=True)
        }
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
                ((line[0].row.title, line[0].row.section), tuple(c for pair in line for c in cells[id(pair)]))
                for line in pairs
            ),
            notes=(*self._origin_notes(), *self._run_notes(flat), *dict.fromkeys(self.notes)),
            digits=self.spec.digits,
            records=tuple(self._record(pair) for pair in flat if pair.row.preset or not math.isnan(pair.printed)),
        )

    def _references(self) -> Iterator[RowSpec]:
        for name in self.spec.references:
            yield RowSpec(id=f"reference-{name}", method=name, setting=REFERENCE, preset=name)

    def _pair(self, row: RowSpec, column: ColumnSpec) -> _Pair:
        derived = column.id not in row.printed and self.spec.derived_from is not None and row.section != REFERENCE
        printed = self._derived(row, column) if derived else row.printed.get(column.id, math.nan)
        mark = ""
        if column.id in row.printed:
            mark = self.marks[self.spec.origin_id(row, column.id)]
        return _Pair(row, column, printed, derived, mark, self._measured(row, column))

    def _derived(self, row: RowSpec, column: ColumnSpec) -> float:
        base = self._base().row(row.id).printed
        return _mean([base.get(name, math.nan) for name in column.mean_of]) - (
            _mean([base.get(name, math.nan) for name in column.minus]) if column.minus else 0.0
        )

    def _measured(self, row: RowSpec, column: ColumnSpec) -> Measured | None:
        if column.mean_of:
            return self._averaged(row, column)
        if row.preset is None or column.key is None:
            return None
        runs = self.book.named(row.preset, column.key, column.split)
        runs = [run for run in runs if run.as_asked({**column.options, **row.options}, row.visible)]
        try:
            runs = same_but_seed(runs, f"{row.preset} on {column.key}/{column.split}") if runs else []
        except Ambiguous as error:
            self.notes.append(str(error))
            return None
        found = over_runs(runs, self.protocol(row, column), column.metric)
        if found is not None and found.setting and row.section not in (found.setting, REFERENCE):
            self.notes.append(
                f"{row.title} on {column.dataset}: not shown, since the weights of {found.runs[0]} are {found.setting}"
            )
            return None
        return found

    def protocol(self, row: RowSpec, column: ColumnSpec) -> Protocol:
        """What a cell is measured under: the protocol of the printed value where it is known, else the table's."""
        if column.id in row.printed:
            origin = self.spec.origin(row, column.id)
            return find_protocol(origin.protocol or self.spec.default_protocol)
        return find_protocol(self.spec.default_protocol)

    def _averaged(self, row: RowSpec, column: ColumnSpec) -> Measured | None:
        """The mean over datasets of whole measured values; no interval, since their draws are not of one set."""
        base = self._base()
        sides = [[self._measured(row, base.column(name)) for name in names] for names in (column.mean_of, column.minus)]
        parts = [part for part in (*sides[0], *sides[1]) if part is not None]
        if len(parts) < len(sides[0]) + len(sides[1]) or len({part.protocol for part in parts}) > 1:
            return None
        means = [_mean([part.value for part in side if part]) if side else 0.0 for side in sides]
        worst = max(parts, key=lambda part: bool(part.flag))
        return Measured(
            value=means[0] - means[1], low=math.nan, high=math.nan, n=sum(part.n for part in parts),
            protocol=parts[0].protocol, data="; ".join(part.data for part in parts),
            runs=tuple(key for part in parts for key in part.runs), status=worst.status, n_error=worst.n_error,
            done=sum(part.done for part in parts), planned=sum(part.planned for part in parts),
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
    if pair.row.preset is None or pair.column.key is None:
        return None
    split = f" --split {pair.column.split}" if pair.column.split else ""
    return f"amodal-bench bench --method {pair.row.preset} --dataset {pair.column.key}{split}"


def _printed_cell(pair: _Pair, rank: Rank) -> Cell:
    return EMPTY if math.isnan(pair.printed) else Cell(pair.printed, mark=pair.mark, rank=rank)


def _measured_cell(pair: _Pair, rank: Rank) -> Cell:
    return Cell.of(pair.measured, rank) if pair.measured else EMPTY


def _any(line: list[_Pair]) -> bool:
    return any(pair.measured is not None for pair in line)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
