"""Any table of what was run: methods down, datasets, protocols, scores and occlusion buckets across."""

import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import pandas as pd

from amodal_bench.errors import Refused, UnknownName
from amodal_bench.metrics.error_split import SHARES, error_split, floor_frame
from amodal_bench.metrics.protocol import Protocol
from amodal_bench.metrics.scores import metrics
from amodal_bench.results.data import Data
from amodal_bench.results.finished import FinishedRun
from amodal_bench.results.rank import ranks
from amodal_bench.results.seeds import to_average
from amodal_bench.results.select import RunQuery, Selection, labelled
from amodal_bench.tables.sheet import EMPTY, TIMINGS, Cell, Heading, Record, Sheet, measured_record, timing_cells
from amodal_bench.tables.values import FLOOR, Measured, Scored, floor_of

SCORES = ("mIoU_full", "mIoU_inv")
ALIASES = {"mIoU": "mIoU_full", "mIoU_occ": "mIoU_inv", "inv_mIoU": "mIoU_inv"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a table shall hold. `buckets` adds the protocols' occlusion buckets."""

    protocols: Sequence[Protocol]
    query: RunQuery = field(default_factory=RunQuery)
    metrics: Sequence[str] = SCORES
    buckets: bool = False
    floor: bool = True
    timings: bool = False
    digits: int = 1
    name: str = "table"
    title: str = "Measured"


def metric_names(names: Sequence[str]) -> list[str]:
    """Scores and shares of the error split by name, aliases of other papers resolved; raises `UnknownName`."""
    known = (*SCORES, *SHARES)
    found = [ALIASES.get(name, name) for name in names]
    for name in found:
        if name not in known:
            raise UnknownName("metric", name, [*known, *ALIASES])
    return list(dict.fromkeys(found))


def build(selection: Selection, wanted: Wanted) -> Sheet:
    """The table; raises `Refused` where nothing that was asked for was run."""
    if not selection.runs:
        raise Refused(no_runs("the results folder"))
    runs = labelled(selection.select(wanted.query).runs)
    return _Builder(runs, replace(wanted, metrics=metric_names(wanted.metrics))).sheet()


def no_runs(where: object) -> str:
    """What to do when there is nothing to show."""
    return f"{where} holds no finished run; make one: amodal-bench bench --method visible --dataset synthetic"


@dataclass(frozen=True, slots=True)
class _Place:
    """A column: which instances, which protocol, which number."""

    data: Data
    heading: Heading
    protocol: Protocol
    metric: str
    subset: str = "all"
    rates: str = ""


class _Builder:
    def __init__(self, runs: Sequence[FinishedRun], wanted: Wanted) -> None:
        self.wanted = wanted
        self._scored = Scored()
        self._floor_scores: dict[tuple[Data, str], pd.DataFrame] = {}
        order = list(wanted.query.methods or sorted({run.name for run in runs}))
        datasets = list(wanted.query.datasets or sorted({run.data.dataset for run in runs}))
        self.runs = sorted(
            runs, key=lambda r: (order.index(r.name), datasets.index(r.data.dataset), r.data, r.path.name)
        )
        self.names = {run.data: run.block for run in runs}
        self.blocks = sorted(self.names, key=lambda data: (datasets.index(data.dataset), data))

    def sheet(self) -> Sheet:
        rows = [(label, [self._cell(runs, place) for place in self.places]) for label, runs in self._lines()]
        floors = [self._floor(place) for place in self.places] if self.wanted.floor else []
        if any(floors):
            rows.append((FLOOR, floors))
        classes = [
            [self._class(label, m, place) for m, place in zip(cells, self.places, strict=True)] for label, cells in rows
        ]
        flat = [
            (kind, m.value if m else float("nan"))
            for (_, cells), kinds in zip(rows, classes, strict=True)
            for m, kind in zip(cells, kinds, strict=True)
        ]
        ranked = iter(ranks(flat, self.wanted.digits))
        body = [(label, [Cell.of(m, rank) if m else EMPTY for m, rank in zip(cells, ranked)]) for label, cells in rows]  # noqa: B905
        return Sheet(
            name=self.wanted.name,
            title=self.wanted.title,
            labels=("method",),
            columns=tuple(h for place in self.places for h in self._headings(place)),
            rows=tuple(
                ((label,), tuple(self._with_timings(printed, measured)))
                for (label, printed), (_, measured) in zip(body, rows, strict=True)
            ),
            notes=tuple(dict.fromkeys(self._notes(rows))),
            digits=self.wanted.digits,
            records=tuple(
                self._record(label, place, m)
                for label, cells in rows
                for place, m in zip(self.places, cells, strict=True)
            ),
        )

    @cached_property
    def places(self) -> list[_Place]:
        """All columns: data by data, protocol by protocol, each score overall and then by bucket."""
        found = []
        for data in self.blocks:
            for protocol in self.wanted.protocols:
                group = f"{self.names[data]} {protocol.id}"
                for metric in self.wanted.metrics:
                    higher = metric not in SHARES or metric == "found"
                    found.append(_Place(data, Heading(group, metric, higher), protocol, metric))
                    for interval in protocol.buckets if self.wanted.buckets else ():
                        heading = Heading(group, f"{metric} {interval}", higher)
                        found.append(_Place(data, heading, protocol, metric, "bucket", str(interval)))
        return [place for place in found if self._has(place)]

    def _has(self, place: _Place) -> bool:
        exists = {"mIoU_full": place.protocol.full, "mIoU_inv": place.protocol.invisible != "none"}
        return exists.get(place.metric, True)

    def _lines(self) -> Iterator[tuple[str, list[FinishedRun]]]:
        """(label, runs): one line a name; runs of one name and data that are not averaged get lines with keys."""
        for name in dict.fromkeys(run.name for run in self.runs):
            own = [run for run in self.runs if run.name == name]
            variants: dict[int, list[FinishedRun]] = {}
            for data in self.blocks:
                for number, same in enumerate(_averaged([run for run in own if run.data == data])):
                    variants.setdefault(number, []).extend(same)
            for runs in variants.values():
                keys = " ".join(run.path.name for run in runs)
                yield (name if len(variants) == 1 else f"{name} [{keys}]"), runs

    def _cell(self, runs: Sequence[FinishedRun], place: _Place) -> Measured | None:
        own = [run for run in runs if run.data == place.data]
        if place.metric not in SHARES:
            return self._scored.over_seeds(own, place.protocol, place.metric, place.subset, place.rates)
        return self._share(own, place) if own else None

    def _floor(self, place: _Place) -> Measured | None:
        """What the visible mask alone would score, from any run on these instances; None where a run is that."""
        if place.metric in SHARES or place.data not in self._floors:
            return None
        run, floor = self._floors[place.data]
        key = (place.data, place.protocol.id)
        if key not in self._floor_scores:
            self._floor_scores[key] = metrics(floor, place.protocol)
        like = self._scored.measured(run, place.protocol, place.metric, place.subset, place.rates)
        return like and floor_of(self._floor_scores[key], like, place.metric, place.subset, place.rates)

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

    def _class(self, label: str, measured: Measured | None, place: _Place) -> Hashable:
        if measured is None or measured.flag or label == FLOOR or place.metric in SHARES:
            return None
        return (self.places.index(place), measured.data)

    def _timed(self, place: _Place) -> bool:
        first = place.subset == "all" and place.metric == self.wanted.metrics[0]
        return self.wanted.timings and first and place.protocol == self.wanted.protocols[0]

    def _headings(self, place: _Place) -> Iterator[Heading]:
        yield place.heading
        if self._timed(place):
            yield from (Heading(place.heading.group, name, higher_is_better=False) for name in TIMINGS)

    def _with_timings(self, printed: Sequence[Cell], measured: Sequence[Measured | None]) -> Iterator[Cell]:
        for place, cell, m in zip(self.places, printed, measured, strict=True):
            yield cell
            if self._timed(place):
                yield from timing_cells(m)

    def _notes(self, rows: Sequence[tuple[str, Sequence[Measured | None]]]) -> Iterator[str]:
        yield "Percent; in brackets 95 % intervals (bootstrap over groups: the image, or the clip of a video)."
        for label, cells in rows:
            for m in cells:
                if m is not None and m.runs:
                    seeds = f", mean and sd of {len(m.runs)} seeds" if len(m.runs) > 1 else ""
                    flag = f", {m.flag}, not ranked" if m.flag else ""
                    yield f"{label} on {m.data}{seeds}{flag}: {' '.join(m.runs)}"
        for name in dict.fromkeys(run.name for run in self.runs):
            for data in self.blocks:
                yield from _not_averaged([run for run in self.runs if (run.name, run.data) == (name, data)])
        for run in self.runs:
            if run.other_data:
                yield f"{run.address} is on {run.other_data}."
        if any(label == FLOOR for label, _ in rows):
            yield f"{FLOOR}: the floor, computed from the counts of the runs above; not ranked."

    def _record(self, label: str, place: _Place, m: Measured | None) -> Record:
        return {
            "method": label, "dataset": place.data.dataset, "split": place.data.split,
            "fingerprint": place.data.fingerprint,
            "metric": place.metric, "subset": place.subset, "rates": place.rates, **measured_record(m),
            "protocol": place.protocol.id,
        }  # fmt: skip

    def _share(self, runs: Sequence[FinishedRun], place: _Place) -> Measured | None:
        """A share of the error split in percent, of the run with the lowest seed; without interval."""
        name = "mIoU_full" if place.protocol.full else "mIoU_inv"
        like = self._scored.measured(runs[0], place.protocol, name)
        if like is None:
            return None
        table = error_split(runs[0].instances, place.protocol).set_index("subset")
        share, n = table[place.metric][place.rates or "all"], table["n"][place.rates or "all"]
        return replace(like, value=100 * share, low=math.nan, high=math.nan, spread=math.nan, n=int(n))


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
