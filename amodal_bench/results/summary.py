"""The tables that `bench` and `score` end with, as frames of numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from amodal_bench.masks.counts import COLUMNS, GIVEN_COLUMNS
from amodal_bench.metrics.cells import unmatched
from amodal_bench.metrics.protocol import Protocol
from amodal_bench.metrics.scores import columns_of, measured, score
from amodal_bench.metrics.table import Metric, Names, find_metrics
from amodal_bench.resolve.predicted_visible import TRUTH
from amodal_bench.results.measures.files import with_measures
from amodal_bench.results.reading import finished_rows, mean_seconds
from amodal_bench.store.folder import RunFolder


@dataclass(frozen=True, slots=True, eq=False)
class Summary:
    """One run under one protocol.

    `data` names the instances: dataset, split, options, fingerprint. `values` has the rows of `scoring.metrics`
    for `metrics`; `seconds` is the mean time an instance took in `predict`, NaN where that is unknown; `tiny` is the
    share of occluded instances whose rate is below .01 (stray pixels more than occlusions); `n_unmatched` counts the
    instances to which no visible mask from elsewhere was given, and `finished` all rows without an error, counted by
    the protocol or not.
    """

    name: str
    dataset: str
    split: str
    data: str
    seed: int
    status: str
    protocol: Protocol
    metrics: tuple[Metric, ...]
    values: pd.DataFrame
    n: int
    n_occluded: int
    n_unmatched: int
    n_error: int
    finished: int
    planned: int
    tiny: float
    seconds: float
    folder: RunFolder

    @property
    def partial(self) -> bool:
        """Whether instances of the split are missing, so that the numbers are of a subset."""
        return self.finished + self.n_error < self.planned

    def value(self, metric: str, subset: str = "all", rates: str = "") -> pd.Series | None:
        """The row of a metric, or None where the protocol has none."""
        v = self.values
        found = v[(v["metric"] == metric) & (v["subset"] == subset) & (v["rates"] == rates)]
        return None if found.empty else found.iloc[0]


def summarise(folder: RunFolder, protocol: Protocol, metrics: Names | None = None) -> Summary:
    """Score a run from what its folder holds: no dataset, no model. `metrics`: by default the headline ones.

    Raises `Refused` naming the command where one of them takes a measure that was not made.
    """
    asked = find_metrics(metrics)
    record = folder.record()
    given = () if record["spec"]["visible"] == TRUTH else GIVEN_COLUMNS
    ids = ["id"] if any(metric.measure for metric in asked) else []
    rows = finished_rows(folder, record, [*ids, "group_id", "status", *COLUMNS, *given])
    finished = rows["status"] == "ok"
    good = rows if finished.all() else rows[finished]  # a copy of many rows is not cheap
    scores = score(with_measures(good, folder, record, asked), protocol)
    occluded = scores.occluded
    return Summary(
        name=record["preset"],
        dataset=record["spec"]["dataset"],
        split=record["spec"]["split"],
        data=_data(record["spec"]),
        seed=record["spec"]["seed"],
        status=record["status"],
        protocol=protocol,
        metrics=asked,
        values=measured(columns_of(scores, asked), good["group_id"]),
        n=int(scores.counted.sum()),
        n_occluded=int(occluded.sum()),
        n_unmatched=int(unmatched(good).sum()),
        n_error=len(rows) - len(good),
        finished=len(good),
        planned=record["counts"]["planned"],
        tiny=float((scores.rate[occluded] < 0.01).mean()) if occluded.any() else float("nan"),
        seconds=mean_seconds(folder),
        folder=folder,
    )


def _data(spec: dict[str, Any]) -> str:
    options = ", ".join(f"{name}={value}" for name, value in sorted(spec["options"].items()))
    source = "" if spec["visible"] == TRUTH else f", visible {spec['visible']}"
    return f"{spec['dataset']}/{spec['split']} ({options}{source}; {spec['fingerprint'][:8]})"


def over_seeds(summaries: Sequence[Summary], metric: str) -> tuple[float, float]:
    """Mean and standard deviation (n - 1) of a metric over runs that differ in their seed alone, in percent."""
    rows = [row for s in summaries if (row := s.value(metric)) is not None]
    values = pd.Series([float(row["value"]) for row in rows], dtype=float)
    return float(values.mean()), float(values.std(ddof=1))
