"""Runs as they are read again: rows that belong to their record, and of many runs the healthy ones."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import pandas as pd

from amodal_bench.errors import Refused, RunDamaged, RunUnfinished
from amodal_bench.store.folder import RunFolder

R = TypeVar("R")
T = TypeVar("T")
_WAY_OUT = "the folder was copied in part or edited. Copy it again, or start over with --fresh"


def readable(runs: Iterable[R], read: Callable[[R], T]) -> tuple[list[T], list[str]]:
    """What `read` makes of every run that it can read, and a line for each that is left out and why."""
    found, left_out = [], []
    for run in runs:
        try:
            found.append(read(run))
        except (RunDamaged, RunUnfinished) as error:
            left_out.append(" ".join(str(error).split()))
    return found, left_out


def nothing_left(text: str, left_out: Iterable[str]) -> Refused:
    """The error where no run is left to show, with all reasons."""
    return Refused("\n".join([text, *left_out]))


def finished_rows(folder: RunFolder, record: dict[str, Any], columns: Sequence[str] | None = None) -> pd.DataFrame:
    """All rows of a run, or these columns of them, error rows included.

    Raises `RunUnfinished` where it has no table yet, `RunDamaged` where its table is lost, is not readable or holds
    other rows than `record` counts.
    """
    path = folder.path / "instances.parquet"
    counts = record["counts"]
    if not path.is_file():
        if record["status"] == "complete":
            raise RunDamaged(f"{folder.path} is complete by its run.json, but has no {path.name}: {_WAY_OUT}")
        progress = f"{folder.finished()} of {counts['asked']} instances"
        raise RunUnfinished(
            f"{folder.path} is {record['status']}, {progress}: it is shown when its bench command has ended; "
            "where that was stopped, the same command goes on"
        )
    sealed = record["status"] == "complete" and "instances" in record.get("tables", {})  # its digest is looked at
    rows = folder.instances(columns if sealed or columns is None else ["id", *columns])
    said = counts["done"] + counts["error"]
    if record["status"] != "running" and len(rows) != said:
        raise RunDamaged(
            f"{folder.path} has {len(rows)} rows in {path.name} where its run.json counts {said}: {_WAY_OUT}"
        )
    twice = [] if sealed else rows["id"][rows["id"].duplicated()].tolist()
    if twice:
        raise RunDamaged(f"{path} has {twice[0]} twice: {_WAY_OUT}")
    return rows


def mean_seconds(folder: RunFolder) -> float:
    """Mean time of an instance in `predict`; NaN where timings.parquet is lost or damaged: no score depends on it."""
    try:
        seconds = folder.timings(["seconds"])["seconds"]
    except RunDamaged:
        return math.nan
    return float(seconds.mean())
