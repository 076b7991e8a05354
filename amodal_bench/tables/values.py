"""Values of runs as the cells of a table: found by name, never by guess, and measured from their counts alone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from amodal_bench.errors import Refused
from amodal_bench.metrics.protocol import Protocol
from amodal_bench.metrics.table import Metric, together
from amodal_bench.results.finished import FinishedRun, State
from amodal_bench.results.seeds import Seeds, differing, mean_and_spread, to_average
from amodal_bench.results.summary import Summary, summarise

FLOOR = "visible mask (from the counts)"


class Ambiguous(Refused):
    """Several runs answer to one name and differ in more than their seed."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A value from runs, in percent: of one run, or the mean over the seeds of one spec with `spread` (sd, n - 1)."""

    value: float
    low: float
    high: float
    n: int
    protocol: str
    data: str
    runs: tuple[str, ...]
    state: State = "complete"
    flag: str = ""  # why the value is not ranked, in words
    spread: float = math.nan
    seconds: float = math.nan
    memory: float = math.nan
    setting: str = ""


class Scored:
    """Runs with their scores, each computed once."""

    def __init__(self) -> None:
        self._summaries: dict[tuple[FinishedRun, Protocol, tuple[Metric, ...]], Summary] = {}

    def summary(self, run: FinishedRun, protocol: Protocol, metric: str) -> Summary:
        """The scores of a run under a protocol, those of a metric and of what is scored with it."""
        key = (run, protocol, together(metric))
        if key not in self._summaries:
            self._summaries[key] = summarise(*key)
        return self._summaries[key]

    def measured(
        self, run: FinishedRun, protocol: Protocol, metric: str, subset: str = "all", rates: str = ""
    ) -> Measured | None:
        """A value of a run, or None where the protocol has no such score."""
        row = self.summary(run, protocol, metric).value(metric, subset, rates)
        if row is None:
            return None
        return Measured(
            value=float(row["value"]), low=float(row["low"]), high=float(row["high"]), n=int(row["n"]),
            protocol=protocol.id, data=str(run.data), runs=(run.address,), state=run.state, flag=run.flag,
            seconds=run.seconds, memory=run.memory, setting=run.setting,
        )  # fmt: skip

    def over_seeds(
        self, runs: Sequence[FinishedRun], protocol: Protocol, metric: str, subset: str = "all", rates: str = ""
    ) -> Measured | None:
        """The value of one run, or mean and spread over runs that differ in their seed and hold the same instances."""
        values = [m for run in runs if (m := self.measured(run, protocol, metric, subset, rates)) is not None]
        if len(values) <= 1:
            return values[0] if values else None
        mean, spread = mean_and_spread(m.value for m in values)
        worst = max(values, key=lambda m: ("complete", "errors", "partial", "running").index(m.state))
        return replace(
            values[0], value=mean, low=math.nan, high=math.nan, n=min(m.n for m in values),
            runs=tuple(key for m in values for key in m.runs), state=worst.state, flag=worst.flag, spread=spread,
            seconds=sum(m.seconds for m in values) / len(values), memory=max(m.memory for m in values),
        )  # fmt: skip


def same_but_seed(runs: Sequence[FinishedRun], what: str) -> Seeds:
    """`runs` as those to be averaged; raises `Ambiguous` with what they differ in besides the seed."""
    names = differing(runs)
    if names:
        raise Ambiguous(
            f"{len(runs)} runs answer to {what} and differ in {', '.join(names)} "
            f"({', '.join(run.key for run in runs)}): not shown. Keep one under that name, "
            "or give a --results folder that holds one"
        )
    return to_average(runs)


def floor_of(table: pd.DataFrame, like: Measured, metric: str, subset: str = "all", rates: str = "") -> Measured:
    """A value of `table` (the scores of `floor_frame`), with data and state of the run it was made from."""
    row = table[(table["metric"] == metric) & (table["subset"] == subset) & (table["rates"] == rates)].iloc[0]
    value, low, high = (float(row[name]) for name in ("value", "low", "high"))
    return replace(
        like, value=value, low=low, high=high, n=int(row["n"]), runs=(), seconds=math.nan, memory=math.nan, setting=""
    )
