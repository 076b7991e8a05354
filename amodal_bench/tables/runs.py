"""Finished runs as the cells of a table: found by name, never by guess, and measured from their counts alone."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from amodal_bench.errors import Refused
from amodal_bench.metrics.protocol import Protocol
from amodal_bench.metrics.table import Metric, together
from amodal_bench.results.reading import finished_rows, readable
from amodal_bench.results.summary import Summary, over_seeds, summarise
from amodal_bench.store.folder import RunFolder, find_runs

Status = Literal["complete", "partial", "errors"]
FLOOR = "visible mask (from the counts)"
_DATA = ("dataset", "split", "options", "fingerprint", "dataset_source", "visible")


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
    status: Status = "complete"
    n_error: int = 0
    done: int = 0
    planned: int = 0
    spread: float = math.nan
    seconds: float = math.nan
    memory: float = math.nan
    setting: str = ""

    @property
    def flag(self) -> str:
        """Why the value is not ranked, in words; empty for a whole run without errors."""
        if self.status == "errors":
            return f"{self.n_error} {'error' if self.n_error == 1 else 'errors'}"
        return f"partial: {self.done} of {self.planned}" if self.status == "partial" else ""


class StoredRun:
    """A run folder with its record read and checked."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.record = folder.record()
        self._summaries: dict[tuple[Protocol, tuple[Metric, ...]], Summary] = {}

    @classmethod
    def checked(cls, folder: RunFolder) -> "StoredRun":
        """A run whose rows can be read; they are not kept."""
        run = cls(folder)
        finished_rows(folder, run.record)
        return run

    @property
    def name(self) -> str:
        """The preset's name, which is a label."""
        return str(self.record["preset"])

    @property
    def spec(self) -> dict[str, Any]:
        """What can change a number."""
        spec: dict[str, Any] = self.record["spec"]
        return spec

    @property
    def key(self) -> str:
        """DATASET/SPLIT/METHOD/KEY."""
        return "/".join(self.folder.path.parts[-4:])

    @property
    def data(self) -> tuple[str, ...]:
        """What the instances are; runs that differ in it are never put in one column."""
        return tuple(str(self.spec.get(name)) for name in _DATA)

    def as_asked(self, options: Mapping[str, Any], visible: str) -> bool:
        """Whether it was run with the preset as it is, these dataset options and these visible masks."""
        request = self.record.get("request", {})
        asked = not request.get("params") and dict(request.get("options") or {}) == dict(options)
        return asked and self.spec["visible"].split(":")[0] == visible

    @cached_property
    def frame(self) -> pd.DataFrame:
        """Rows without errors (`reading.finished_rows`)."""
        rows = finished_rows(self.folder, self.record)
        return rows[rows["status"] == "ok"].reset_index(drop=True)

    def summary(self, protocol: Protocol, metric: str) -> Summary:
        """Its scores under a protocol, those of a metric and of what is scored with it; computed once."""
        metrics = together(metric)
        if (protocol, metrics) not in self._summaries:
            self._summaries[protocol, metrics] = summarise(self.folder, protocol, metrics)
        return self._summaries[protocol, metrics]

    def measured(self, protocol: Protocol, metric: str, subset: str = "all", rates: str = "") -> Measured | None:
        """One of its values, or None where the protocol has no such score."""
        summary = self.summary(protocol, metric)
        row = summary.value(metric, subset, rates)
        if row is None:
            return None
        status: Status = "partial" if summary.partial else "errors" if summary.n_error else "complete"
        return Measured(
            value=float(row["value"]), low=float(row["low"]), high=float(row["high"]), n=int(row["n"]),
            protocol=protocol.id, data=summary.data, runs=(self.key,), status=status, n_error=summary.n_error,
            done=len(self.frame), planned=summary.planned, seconds=summary.seconds,
            memory=float(self.record["timings"].get("peak_memory_mb") or math.nan),
            setting=str((self.record.get("weights") or {}).get("setting") or ""),
        )  # fmt: skip


class RunBook:
    """The finished runs of a results folder, and a line for each run that is left out and why."""

    def __init__(self, runs: Iterable[StoredRun], left_out: Iterable[str] = ()) -> None:
        self.runs = list(runs)
        self.left_out = list(left_out)

    @classmethod
    def open(cls, results: Path) -> "RunBook":
        """Read every run under `results`, so that none of them is found damaged half-way through a table."""
        return cls(*readable(find_runs(results), StoredRun.checked))

    def named(self, name: str, dataset: str, split: str | None = None) -> list[StoredRun]:
        """Finished runs under a label on a dataset."""
        found = [run for run in self.runs if run.name == name and run.spec["dataset"] == dataset]
        return [run for run in found if split in (None, run.spec["split"])]


def same_but_seed(runs: Sequence[StoredRun], what: str) -> list[StoredRun]:
    """`runs`, sorted by seed, if they differ in their seed alone; raises `Ambiguous` with what else differs."""
    specs = [{name: value for name, value in run.spec.items() if name != "seed"} for run in runs]
    differing = sorted({name for spec in specs for name in spec if spec[name] != specs[0].get(name)})
    if differing:
        raise Ambiguous(
            f"{len(runs)} runs answer to {what} and differ in {', '.join(differing)} "
            f"({', '.join(run.folder.path.name for run in runs)}): not shown. Keep one under that name, "
            "or give a --results folder that holds one"
        )
    return sorted(runs, key=lambda run: int(run.spec["seed"]))


def over_runs(
    runs: Sequence[StoredRun], protocol: Protocol, metric: str, subset: str = "all", rates: str = ""
) -> Measured | None:
    """The value of one run, or mean and spread over runs that differ in their seed."""
    values = [m for run in runs if (m := run.measured(protocol, metric, subset, rates)) is not None]
    if len(values) <= 1:
        return values[0] if values else None
    if subset == "all":
        mean, spread = over_seeds([run.summary(protocol, metric) for run in runs], metric)
    else:
        parts = pd.Series([m.value for m in values], dtype=float)
        mean, spread = float(parts.mean()), float(parts.std(ddof=1))
    worst = max(values, key=lambda m: ("complete", "errors", "partial").index(m.status))
    return Measured(
        value=mean, low=math.nan, high=math.nan, n=min(m.n for m in values), protocol=protocol.id, data=values[0].data,
        runs=tuple(key for m in values for key in m.runs), status=worst.status, n_error=worst.n_error,
        done=worst.done, planned=worst.planned, spread=spread, seconds=sum(m.seconds for m in values) / len(values),
        memory=max(m.memory for m in values), setting=values[0].setting,
    )  # fmt: skip


def floor_of(table: pd.DataFrame, like: Measured, metric: str, subset: str = "all", rates: str = "") -> Measured:
    """A value of `table` (the scores of `floor_frame`), with data and status of the run it was made from."""
    row = table[(table["metric"] == metric) & (table["subset"] == subset) & (table["rates"] == rates)].iloc[0]
    value, low, high = (float(row[name]) for name in ("value", "low", "high"))
    return replace(
        like, value=value, low=low, high=high, n=int(row["n"]), runs=(), seconds=math.nan, memory=math.nan, setting=""
    )
