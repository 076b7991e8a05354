"""Runs that differ in their seed alone: which may be averaged, and their mean and spread."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from amodal_bench.results.finished import FinishedRun


@dataclass(frozen=True, slots=True)
class Seeds:
    """Runs that may be averaged, by seed; `left_out` says which others hold other instances, else nothing."""

    runs: list[FinishedRun]
    left_out: str = ""


def differing(runs: Sequence[FinishedRun]) -> list[str]:
    """Names of what the runs' specs differ in, the seed aside."""
    specs = [{name: value for name, value in run.spec.items() if name != "seed"} for run in runs]
    return sorted({name for spec in specs for name in spec if spec[name] != specs[0].get(name)})


def to_average(runs: Sequence[FinishedRun]) -> Seeds:
    """Of runs that differ in their seed alone, those with the largest set of instances that are equal.

    A mean over unlike instances would be a number of nothing.
    """
    sets: dict[str, list[FinishedRun]] = {}
    for run in sorted(runs, key=lambda run: (run.seed, run.key)):
        sets.setdefault(run.instance_set, []).append(run)
    if len(sets) < 2:
        return Seeds([run for same in sets.values() for run in same])
    kept = max(sets.values(), key=lambda same: (same[0].n_finished, len(same)))
    others = ", ".join(
        f"seed {run.seed} has {run.n_finished}" for same in sets.values() if same is not kept for run in same
    )
    return Seeds(
        kept,
        f"{kept[0].name} on {kept[0].block}: seeds on unlike instances are not averaged: {others}, "
        f"seed {', '.join(str(run.seed) for run in kept)} {kept[0].n_finished}",
    )


def mean_and_spread(values: Iterable[float]) -> tuple[float, float]:
    """Mean and standard deviation (n - 1)."""
    series = pd.Series(list(values), dtype=float)
    return float(series.mean()), float(series.std(ddof=1))
