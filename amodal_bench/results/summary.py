"""One run under one protocol: what `bench` and `score` end with."""

from dataclasses import dataclass

import pandas as pd

from amodal_bench.masks.counts import COLUMNS, GIVEN_COLUMNS
from amodal_bench.metrics.cells import unmatched
from amodal_bench.metrics.protocol import Protocol
from amodal_bench.metrics.scores import columns_of, measured, score
from amodal_bench.metrics.table import Metric, Names, find_metrics
from amodal_bench.resolve.predicted_visible import TRUTH
from amodal_bench.results.finished import FinishedRun
from amodal_bench.results.measures.files import with_measures
from amodal_bench.store.rows import FINISHED


@dataclass(frozen=True, slots=True, eq=False)
class Summary:
    """The scores of a run.

    `values` has the rows of `scores.metrics` for `metrics`. `n` and `n_occluded` are the instances that the protocol
    counts, `n_unmatched` those to which no visible mask from elsewhere was given; `tiny` is the share of occluded
    instances whose rate is below .01 (stray pixels more than occlusions).
    """

    run: FinishedRun
    protocol: Protocol
    metrics: tuple[Metric, ...]
    values: pd.DataFrame
    n: int
    n_occluded: int
    n_unmatched: int
    tiny: float

    def value(self, metric: str, subset: str = "all", rates: str = "") -> pd.Series | None:
        """The row of a metric, or None where the protocol has none."""
        v = self.values
        found = v[(v["metric"] == metric) & (v["subset"] == subset) & (v["rates"] == rates)]
        return None if found.empty else found.iloc[0]


def summarise(run: FinishedRun, protocol: Protocol, metrics: Names | None = None) -> Summary:
    """Score a run from what its folder holds: no dataset, no model. `metrics`: by default the headline ones.

    Raises `Refused` naming the command where one of them takes a measure that was not made.
    """
    asked = find_metrics(metrics)
    given = () if run.data.visible == TRUTH else GIVEN_COLUMNS
    ids = ["id"] if any(metric.measure for metric in asked) else []
    rows = run.read([*ids, "group_id", "status", *COLUMNS, *given])
    finished = rows["status"] == FINISHED
    good = rows if finished.all() else rows[finished]  # a copy of many rows is not cheap
    scores = score(with_measures(good, run.folder, run.record, asked), protocol)
    occluded = scores.occluded
    return Summary(
        run=run,
        protocol=protocol,
        metrics=asked,
        values=measured(columns_of(scores, asked), good["group_id"]),
        n=int(scores.counted.sum()),
        n_occluded=int(occluded.sum()),
        n_unmatched=int(unmatched(good).sum()),
        tiny=float((scores.rate[occluded] < 0.01).mean()) if occluded.any() else float("nan"),
    )
