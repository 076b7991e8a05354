"""Any table of what was run: methods down, datasets, protocols, scores and occlusion buckets across."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from amodal_bench.errors import Refused, UnknownName
from amodal_bench.metrics.floor import floor_frame
from amodal_bench.metrics.protocol import Protocol
from amodal_bench.metrics.scores import metrics
from amodal_bench.metrics.table import Metric, Names, find_metrics, together
from amodal_bench.tables.runs import FLOOR, Measured, RunBook, StoredRun, floor_of, over_runs
from amodal_bench.tables.sheet import EMPTY, TIMINGS, Cell, Heading, Record, Sheet, measured_record, ranks, timing_cells


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a table shall hold; None takes all that were run, and the headline metrics.

    `buckets` adds the protocols' occlusion buckets.
    """

    protocols: Sequence[Protocol]
    methods: Sequence[str] | None = None
    datasets: Sequence[str] | None = None
    metrics: Names | None = None
    buckets: bool = False
    floor: bool = True
    timings: bool = False
    digits: int = 1
    name: str = "table"
    title: str = "Measured"


def build(book: RunBook, wanted: Wanted) -> Sheet:
    """The table; raises `Refused` where nothing that was asked for was run, `UnknownName` for no metric of ours."""
    return _Builder(_chosen(book, wanted), wanted).sheet()


def no_runs(where: object) -> str:
    """What to do when there is nothing to show."""
    return f"{where} holds no finished run; make one: amodal-bench bench --method visible --dataset synthetic"


def _chosen(book: RunBook, wanted: Wanted) -> list[StoredRun]:
    if not book.runs:
        raise Refused(no_runs("the results folder"))
    names, datasets = {run.name for run in book.runs}, {str(run.spec["dataset"]) for run in book.runs}
    for what, asked, known in (("method", wanted.methods, names), ("dataset", wanted.datasets, datasets)):
        for name in asked or ():
            if name not in known:
                raise UnknownName(f"{what} among the finished runs", name, known)
    runs = [
        run
        for run in book.runs
        if (wanted.methods is None or run.name in wanted.methods)
        and (wanted.datasets is None or run.spec["dataset"] in wanted.datasets)
    ]
    if not runs:
        raise Refused(f"no finished run of {', '.join(wanted.methods or ())} on {', '.join(wanted.datasets or ())}")
    return runs


@dataclass(frozen=True, slots=True)
class _Place:
    """A column: which instances, which protocol, which number."""

    data: tuple[str, ...]
    heading: Heading
    protocol: Protocol
    metric: Metric
    subset: str = "all"
    rates: str = ""


class _Builder:
    def __init__(self, runs: Sequence[StoredRun], wanted: Wanted) -> None:
        self.wanted = wanted
        self.metrics = find_metrics(wanted.metrics)
        self._floor_scores: dict[tuple[tuple[str, ...], str, tuple[Metric, ...]], pd.DataFrame] = {}
        order = list(wanted.methods or sorted({run.name for run in runs}))
        datasets = list(wanted.datasets or sorted({str(run.spec["dataset"]) for run in runs}))
        self.runs = sorted(
            runs, key=lambda r: (order.index(r.name), datasets.index(r.spec["dataset"]), r.data, r.folder.path.name)
        )
        self.blocks = sorted({run.data for run in runs}, key=lambda data: (datasets.index(data[0]), data))

    def sheet(self) -> Sheet:
        rows = [(label, [self._cell(runs, place) for place in self.places]) for label, runs in self._lines()]
        floors = [self._floor(place) for place in self.places] if self.wanted.floor else []
        if any(floors):
            rows.append((FLOOR, floors))
        classes = [
            [self._class(label, m, place) for m, place in zip(cells, self.places, strict=True)] for label, cells in rows
        ]
        flat = [
            (kind, _height(m, place.metric))
            for (_, cells), kinds in zip(rows, classes, strict=True)
            for m, place, kind in zip(cells, self.places, kinds, strict=True)
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
                group = f"{self._label(data)} {protocol.id}"
                for metric in self.metrics:
                    if not metric.within(protocol):
                        continue
                    higher = metric.higher_is_better
                    found.append(_Place(data, Heading(group, metric.name, higher), protocol, metric))
                    for interval in protocol.buckets if self.wanted.buckets else ():
                        heading = Heading(group, f"{metric.name} {interval}", higher)
                        found.append(_Place(data, heading, protocol, metric, "bucket", str(interval)))
        return found

    def _label(self, data: tuple[str, ...]) -> str:
        """dataset/split, with options and fingerprint where two blocks would be called alike."""
        alike = [other for other in self.blocks if other[:2] == data[:2]]
        short = f"{data[0]}/{data[1]}"
        return short if len(alike) == 1 else f"{short} ({data[2]} {data[5]} {data[3][:8]})"

    def _lines(self) -> Iterator[tuple[str, list[StoredRun]]]:
        """(label, runs): one line a name; runs of one name, data and seed that differ otherwise get lines with keys."""
        for name in dict.fromkeys(run.name for run in self.runs):
            own = [run for run in self.runs if run.name == name]
            variants: dict[int, list[StoredRun]] = {}
            for data in self.blocks:
                specs: dict[str, list[StoredRun]] = {}
                for run in (run for run in own if run.data == data):
                    specs.setdefault(str({k: v for k, v in run.spec.items() if k != "seed"}), []).append(run)
                for place, same in enumerate(specs.values()):
                    variants.setdefault(place, []).extend(same)
            for runs in variants.values():
                keys = " ".join(run.folder.path.name for run in runs)
                yield (name if len(variants) == 1 else f"{name} [{keys}]"), runs

    def _cell(self, runs: Sequence[StoredRun], place: _Place) -> Measured | None:
        own = sorted((run for run in runs if run.data == place.data), key=lambda run: int(run.spec["seed"]))
        return over_runs(own, place.protocol, place.metric.name, place.subset, place.rates)

    def _floor(self, place: _Place) -> Measured | None:
        """What the visible mask alone would score, from any run on these instances; None where a run is that."""
        if place.data not in self._floors or place.metric.measure:
            return None
        run, floor = self._floors[place.data]
        name, together_with = place.metric.name, together(place.metric)
        key = (place.data, place.protocol.id, together_with)
        if key not in self._floor_scores:
            self._floor_scores[key] = metrics(floor, place.protocol, metrics=together_with)
        like = run.measured(place.protocol, name, place.subset, place.rates)
        return like and floor_of(self._floor_scores[key], like, name, place.subset, place.rates)

    @cached_property
    def _floors(self) -> dict[tuple[str, ...], tuple[StoredRun, pd.DataFrame]]:
        """For each block: the run that its floor is made from, preferably a complete one, and the floor's counts."""
        found = {}
        for data in self.blocks:
            runs = [run for run in self.runs if run.data == data]
            runs = [run for run in runs if run.record["status"] == "complete"] or runs
            if not any(floor_frame(run.frame).equals(run.frame) for run in runs):
                found[data] = (runs[0], floor_frame(runs[0].frame))
        return found

    def _class(self, label: str, measured: Measured | None, place: _Place) -> Hashable:
        if measured is None or measured.flag or label == FLOOR:
            return None
        return (self.places.index(place), measured.data)

    def _timed(self, place: _Place) -> bool:
        first = place.subset == "all" and place.metric == self.metrics[0]
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
        if any(label == FLOOR for label, _ in rows):
            yield f"{FLOOR}: the floor, computed from the counts of the runs above; not ranked."

    def _record(self, label: str, place: _Place, m: Measured | None) -> Record:
        return {
            "method": label, "dataset": place.data[0], "split": place.data[1], "fingerprint": place.data[3],
            "metric": place.metric.name, "subset": place.subset, "rates": place.rates, **measured_record(m),
            "protocol": place.protocol.id,
        }  # fmt: skip


def _height(measured: Measured | None, metric: Metric) -> float:
    """What is ranked: more is better. NaN where there is nothing."""
    if measured is None:
        return float("nan")
    return measured.value if metric.higher_is_better else -measured.value
