"""Any table of what was run: methods down, datasets, protocols, scores and occlusion buckets across."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd

from amodal_bench.errors import Refused
from amodal_bench.metrics.floor import floor_frame
from amodal_bench.metrics.protocol import Protocol
from amodal_bench.metrics.scores import metrics
from amodal_bench.metrics.table import Metric, Names, find_metrics, together
from amodal_bench.results.data import Data
from amodal_bench.results.finished import FinishedRun
from amodal_bench.results.rank import Rank, ranks
from amodal_bench.results.seeds import to_average
from amodal_bench.results.select import RunQuery, Selection, labelled
from amodal_bench.tables.sheet import EMPTY, TIMINGS, Cell, Heading, Record, Sheet, measured_record, timing_cells
from amodal_bench.tables.values import FLOOR, Measured, Scored, floor_of


@dataclass(frozen=True, slots=True)
class TableRequest:
    """What a table shall hold. `buckets` adds the protocols' occlusion buckets; no metrics are the headline ones."""

    protocols: Sequence[Protocol]
    query: RunQuery = field(default_factory=RunQuery)
    metrics: Names | None = None
    buckets: bool = False
    floor: bool = True
    timings: bool = False
    digits: int = 1
    name: str = "table"
    title: str = "Measured"


def build(selection: Selection, request: TableRequest) -> Sheet:
    """The table; raises `Refused` where nothing that was asked for was run."""
    if not selection.runs:
        raise Refused(no_runs("the results folder"))
    runs = labelled(selection.select(request.query).runs)
    return _Builder(runs, request).sheet()


def no_runs(where: object) -> str:
    """What to do when there is nothing to show."""
    return f"{where} holds no finished run; make one: amodal-bench bench --method visible --dataset synthetic"


@dataclass(frozen=True, slots=True)
class _Column:
    """A column: which instances, which protocol, which number."""

    data: Data
    heading: Heading
    protocol: Protocol
    metric: Metric
    subset: str = "all"
    rates: str = ""


@dataclass(frozen=True, slots=True)
class _Line:
    """A row of the table: its label, and a value a column."""

    label: str
    cells: Sequence[Measured | None]


class _Builder:
    def __init__(self, runs: Sequence[FinishedRun], request: TableRequest) -> None:
        self.request = request
        self.metrics = find_metrics(request.metrics)
        self._scored = Scored()
        self._floor_scores: dict[tuple[Data, str, tuple[Metric, ...]], pd.DataFrame] = {}
        order = list(request.query.methods or sorted({run.name for run in runs}))
        datasets = list(request.query.datasets or sorted({run.data.dataset for run in runs}))
        self.runs = sorted(
            runs, key=lambda r: (order.index(r.name), datasets.index(r.data.dataset), r.data, r.path.name)
        )
        self.names = {run.data: run.block for run in runs}
        self.blocks = sorted(self.names, key=lambda data: (datasets.index(data.dataset), data))

    def sheet(self) -> Sheet:
        lines = [_Line(label, [self._cell(runs, column) for column in self.columns]) for label, runs in self._lines()]
        floors = [self._floor(column) for column in self.columns] if self.request.floor else []
        if any(floors):
            lines.append(_Line(FLOOR, floors))
        ranked = iter(self._ranks(lines))
        return Sheet(
            name=self.request.name,
            title=self.request.title,
            labels=("method",),
            columns=tuple(h for column in self.columns for h in self._headings(column)),
            rows=tuple(((line.label,), tuple(self._printed(line, ranked))) for line in lines),
            notes=tuple(dict.fromkeys(self._notes(lines))),
            digits=self.request.digits,
            records=tuple(
                self._record(line.label, column, value)
                for line in lines
                for column, value in zip(self.columns, line.cells, strict=True)
            ),
        )

    def _ranks(self, lines: Sequence[_Line]) -> list[Rank]:
        """Of all cells, line by line: a column's values are ranked with one another."""
        ranked = []
        for line in lines:
            for number, (column, value) in enumerate(zip(self.columns, line.cells, strict=True)):
                unranked = value is None or value.flag or line.label == FLOOR
                height = column.metric.sign * value.value if value else math.nan
                ranked.append((None if unranked else number, height))
        return ranks(ranked, self.request.digits)

    def _printed(self, line: _Line, ranked: Iterator[Rank]) -> Iterator[Cell]:
        for column, value in zip(self.columns, line.cells, strict=True):
            rank = next(ranked)
            yield Cell.of(value, rank) if value else EMPTY
            if self._timed(column):
                yield from timing_cells(value)

    @cached_property
    def columns(self) -> list[_Column]:
        """All columns: data by data, protocol by protocol, each score overall and then by bucket."""
        found = []
        for data in self.blocks:
            for protocol in self.request.protocols:
                group = f"{self.names[data]} {protocol.id}"
                for metric in self.metrics:
                    if not metric.within(protocol):
                        continue
                    higher = metric.higher_is_better
                    found.append(_Column(data, Heading(group, metric.name, higher), protocol, metric))
                    for interval in protocol.buckets if self.request.buckets else ():
                        heading = Heading(group, f"{metric.name} {interval}", higher)
                        found.append(_Column(data, heading, protocol, metric, "bucket", str(interval)))
        return found

    def _lines(self) -> Iterator[tuple[str, list[FinishedRun]]]:
        """(label, runs): one line a name; runs of one name and data that are not averaged get lines with keys."""
        for name in dict.fromkeys(run.name for run in self.runs):
            runs_of = [run for run in self.runs if run.name == name]
            variants: dict[int, list[FinishedRun]] = {}
            for data in self.blocks:
                for number, same in enumerate(_averaged([run for run in runs_of if run.data == data])):
                    variants.setdefault(number, []).extend(same)
            for runs in variants.values():
                keys = " ".join(run.path.name for run in runs)
                yield (name if len(variants) == 1 else f"{name} [{keys}]"), runs

    def _cell(self, runs: Sequence[FinishedRun], column: _Column) -> Measured | None:
        runs_of = [run for run in runs if run.data == column.data]
        return self._scored.over_seeds(runs_of, column.protocol, column.metric.name, column.subset, column.rates)

    def _floor(self, column: _Column) -> Measured | None:
        """What the visible mask alone would score, from any run on these instances; None where a run is that."""
        if column.data not in self._floors or column.metric.measure:
            return None
        run, floor = self._floors[column.data]
        name, scored_with = column.metric.name, together(column.metric)
        key = (column.data, column.protocol.id, scored_with)
        if key not in self._floor_scores:
            self._floor_scores[key] = metrics(floor, column.protocol, metrics=scored_with)
        like = self._scored.measured(run, column.protocol, name, column.subset, column.rates)
        return like and floor_of(self._floor_scores[key], like, name, column.subset, column.rates)

    @cached_property
    def _floors(self) -> dict[Data, tuple[FinishedRun, pd.DataFrame]]:
        """For each block: the run that its floor is made from, preferably a complete one, and the floor's counts."""
        found = {}
        for data in self.blocks:
            runs = [run for run in self.runs if run.data == data]
            runs = [run for run in runs if run.ranked] or runs
            if not any(floor_frame(run.instances).equals(run.instances) for run in runs):
                found[data] = (runs[0], floor_frame(runs[0].instances))
        return found

    def _timed(self, column: _Column) -> bool:
        first = column.subset == "all" and column.metric == self.metrics[0]
        return self.request.timings and first and column.protocol == self.request.protocols[0]

    def _headings(self, column: _Column) -> Iterator[Heading]:
        yield column.heading
        if self._timed(column):
            yield from (Heading(column.heading.group, name, higher_is_better=False) for name in TIMINGS)

    def _notes(self, lines: Sequence[_Line]) -> Iterator[str]:
        yield "Percent; in brackets 95 % intervals (bootstrap over groups: the image, or the clip of a video)."
        for line in lines:
            for m in line.cells:
                if m is not None and m.runs:
                    seeds = f", mean and sd of {len(m.runs)} seeds" if len(m.runs) > 1 else ""
                    flag = f", {m.flag}, not ranked" if m.flag else ""
                    yield f"{line.label} on {m.data}{seeds}{flag}: {' '.join(m.runs)}"
        for name in dict.fromkeys(run.name for run in self.runs):
            for data in self.blocks:
                yield from _not_averaged([run for run in self.runs if (run.name, run.data) == (name, data)])
        for run in self.runs:
            if run.other_data:
                yield f"{run.address} is on {run.other_data}."
            if run.watched:
                yield f"{run.address} has weights whose training was watched by {run.watched}."
        if lines[-1].label == FLOOR:
            yield f"{FLOOR}: the floor, computed from the counts of the runs above; not ranked."

    def _record(self, label: str, column: _Column, m: Measured | None) -> Record:
        return {
            "method": label, "dataset": column.data.dataset, "split": column.data.split,
            "fingerprint": column.data.fingerprint,
            "metric": column.metric.name, "subset": column.subset, "rates": column.rates, **measured_record(m),
            "protocol": column.protocol.id,
        }  # fmt: skip


def _specs(runs: Sequence[FinishedRun]) -> list[list[FinishedRun]]:
    """Runs that differ in their seed alone."""
    specs: dict[str, list[FinishedRun]] = {}
    for run in runs:
        specs.setdefault(str({k: v for k, v in run.spec.items() if k != "seed"}), []).append(run)
    return list(specs.values())


def _averaged(runs: Sequence[FinishedRun]) -> Iterator[list[FinishedRun]]:
    """Runs that may stand in one cell; those on other instances than most of their seeds stand alone."""
    for same in _specs(runs):
        seeds = to_average(same)
        yield seeds.runs
        yield from ([run] for run in same if run not in seeds.runs)


def _not_averaged(runs: Sequence[FinishedRun]) -> Iterator[str]:
    yield from filter(None, (to_average(same).left_out for same in _specs(runs)))
