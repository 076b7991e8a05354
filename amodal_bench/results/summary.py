"""One run under one protocol: what `bench` and `score` end with."""

from dataclasses import dataclass

import pandas as pd

from amodal_bench.masks.counts import COLUMNS, GIVEN_COLUMNS
from amodal_bench.metrics.protocol import Protocol
from amodal_bench.metrics.scores import columns_of, measured, score, unmatched
from amodal_bench.resolve.predicted_visible import TRUTH
from amodal_bench.results.finished import FinishedRun
from amodal_bench.store.rows import FINISHED


@dataclass(frozen=True, slots=True, eq=False)
class Summary:
    """The scores of a run.

    `values` has the rows of `scores.metrics`. `n` and `n_occluded` are the instances that the protocol counts;
    `n_unmatched` those to which no visible mask from elsewhere was given; `tiny` is the share of occluded instances
    whose rate is below .01 (stray pixels more than occlusions).
    """

    run: FinishedRun
    protocol: Protocol
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


def summarise(run: FinishedRun, protocol: Protocol) -> Summary:
    """Score a run from its counts alone: no dataset, no model."""
    given = () if run.data.visible == TRUTH else GIVEN_COLUMNS
    rows = run.read(["group_id", "status", *COLUMNS, *given])
    finished = rows["status"] == FINISHED
    good = rows if finished.all() else rows[finished]  # a copy of many rows is not cheap
    scores = score(good, protocol)
    occluded = scores.occluded
    return Summary(
        run=run,
        protocol=protocol,
        values=measured(columns_of(scores, protocol), good["group_id"]),
        n=int(scores.counted.sum()),
        n_occluded=int(occluded.sum()),
        n_unmatched=int(unmatched(good).sum()),
        tiny=float((scores.rate[occluded] < 0.01).mean()) if occluded.any() else float("nan"),
    )
