"""A run as everything sees it that comes after `predict`."""

import copy
import hashlib
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from amodal_bench.errors import RunDamaged, RunUnfinished
from amodal_bench.metrics.protocol import DEFAULT, find_protocol
from amodal_bench.metrics.scores import by_instance
from amodal_bench.metrics.table import Metric, Names, find_metrics
from amodal_bench.results.data import Data
from amodal_bench.results.measures.files import with_measures
from amodal_bench.store.folder import RunFolder, open_folder
from amodal_bench.store.rows import FINISHED

State = Literal["complete", "errors", "partial", "running"]
_WAY_OUT = "the folder was copied in part or edited. Copy it again, or start over with --fresh"


class FinishedRun:
    """A run that has a table of its instances: its record, its rows, and its state in one word.

    `complete`; `errors`: all instances have a row, some failed; `partial`: instances of the split are missing;
    `running`: a command is at work, or was killed, and the rows are those of an earlier end. Only a complete run is
    ranked.

    Made by `load`, which has looked at the rows; they are read when they are first asked for. `label` and `block` are
    what it and its data are called among the runs that are shown with it (`labelled`).
    """

    def __init__(self, folder: RunFolder, record: dict[str, Any], n_finished: int, n_error: int) -> None:
        self.folder = folder
        self.record = record
        self.n_finished = n_finished
        self.n_error = n_error
        self.data = Data.of(record["spec"])
        self.label = self.name
        self.block = self.data.name

    @property
    def path(self) -> Path:
        """results/DATASET/SPLIT/METHOD/KEY."""
        return self.folder.path

    @property
    def address(self) -> str:
        """DATASET/SPLIT/METHOD/KEY."""
        return "/".join(self.path.parts[-4:])

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
        """12 hex digits of the spec."""
        return str(self.record["key"])

    @property
    def seed(self) -> int:
        """Of the run."""
        return int(self.spec["seed"])

    @property
    def planned(self) -> int:
        """Instances of the split."""
        return int(self.record["counts"]["planned"])

    @property
    def state(self) -> State:
        """See the class."""
        if self.record["status"] == "running":
            return "running"
        if self.n_finished + self.n_error < self.planned:
            return "partial"
        return "errors" if self.n_error else "complete"

    @property
    def flag(self) -> str:
        """Why it is not ranked, in words; empty for a complete run."""
        if self.state == "errors":
            return f"{self.n_error} {'error' if self.n_error == 1 else 'errors'}"
        if self.state == "complete":
            return ""
        return f"{self.state}: {self.n_finished + self.n_error} of {self.planned}"

    @property
    def ranked(self) -> bool:
        """Whether it may be best or second best."""
        return self.state == "complete"

    @property
    def other_data(self) -> str:
        """What says that its files are not the published ones; empty where they are, or where nothing says so."""
        return str(self.record["files"]["unlike_published"])

    @property
    def setting(self) -> str:
        """`supervised`, `zero-shot` or `unknown` by what its weights were trained on; empty where it has none."""
        return str((self.record.get("weights") or {}).get("setting") or "")

    @property
    def watched(self) -> str:
        """The split with reported numbers that its training was watched by, `kins/test`; empty where it was by none."""
        metadata = (self.record.get("weights") or {}).get("metadata") or {}
        return str(metadata.get("watched", "")) if metadata.get("watched_reported") else ""

    @property
    def memory(self) -> float:
        """The most memory that it held, in MB; NaN where unknown."""
        return float(self.record["timings"].get("peak_memory_mb") or math.nan)

    @cached_property
    def instance_set(self) -> str:
        """Equal for two runs on the same data where the same instances are finished."""
        if self.state == "complete":
            return "all"
        rows = self.folder.instances_table(["id", "status"])
        ids = rows["id"].filter(pc.equal(rows["status"], FINISHED)).to_pylist()
        return hashlib.sha256("\n".join(ids).encode()).hexdigest()

    @cached_property
    def seconds(self) -> float:
        """Mean time of an instance in `predict`; NaN where timings.parquet is lost or damaged: no score needs it."""
        try:
            return float(self.folder.timings(["seconds"])["seconds"].mean())
        except RunDamaged:
            return math.nan

    @cached_property
    def rows(self) -> pd.DataFrame:
        """All rows of instances.parquet, error rows too."""
        return self.read()

    @cached_property
    def instances(self) -> pd.DataFrame:
        """The rows without errors."""
        return self.rows[self.rows["status"] == FINISHED].reset_index(drop=True)

    def read(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """All rows, or these columns of them, which are not kept."""
        return self.folder.instances(columns)

    def frame(self, protocol: str = DEFAULT, metrics: Names | None = None) -> pd.DataFrame:
        """One row an instance without errors: ids, counts, `rate`, `occluded` and one column a metric (fractions).

        `metrics` are names of the table of metrics (docs/metrics.md), by default `iou_full` and `iou_inv`. The columns
        of the measures that they take are there too, for `score`; `Refused` where one was not made.

        A count `vK` is the number of pixels whose bits are K: 1 predicted, 2 amodal, 4 visible, and 8 in the visible
        mask that the method was given where that is not the ground truth's.
        """
        asked = find_metrics(metrics)
        return by_instance(self.having(asked), find_protocol(protocol), asked)

    def having(self, metrics: Sequence[Metric]) -> pd.DataFrame:
        """`instances` with the columns of what these metrics take from measures; `Refused` where one was not made."""
        return with_measures(self.instances, self.folder, self.record, metrics)

    def as_asked(self, options: Mapping[str, Any], visible: str) -> bool:
        """Whether it was run with the preset as it is, these dataset options and these visible masks."""
        request = self.record["request"]
        asked = not request["params"] and dict(request["options"]) == dict(options)
        return asked and self.data.visible.split(":")[0] == visible

    def with_columns_of(self, metrics: Sequence[Metric]) -> "FinishedRun":
        """The same run, whose `instances` are those of `having`."""
        other = copy.copy(self)
        other.instances = self.having(metrics)  # takes the place of the cached value
        return other

    def called(self, label: str, block: str) -> "FinishedRun":
        """The same run under other names."""
        other = copy.copy(self)
        other.label, other.block = label, block
        return other


def load(folder: RunFolder) -> FinishedRun:
    """Read a run's record and look at its rows.

    Raises `RunUnfinished` where it has no table yet, `RunDamaged` where its record or its table is lost, not readable
    or made by a later version, or where the table holds other rows than the record counts.
    """
    record = folder.record()
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
    sealed = record["status"] == "complete" and "instances" in record["tables"]  # its digest was looked at
    rows = folder.instances_table(["status"] if sealed else None)
    said = counts["done"] + counts["error"]
    if record["status"] != "running" and len(rows) != said:
        raise RunDamaged(
            f"{folder.path} has {len(rows)} rows in {path.name} where its run.json counts {said}: {_WAY_OUT}"
        )
    if not sealed and (twice := _repeated(rows["id"])):
        raise RunDamaged(f"{path} has {twice} twice: {_WAY_OUT}")
    finished = int(pc.sum(pc.equal(rows["status"], FINISHED)).as_py() or 0)
    return FinishedRun(folder, record, finished, len(rows) - finished)


def open_run(path: str | Path) -> FinishedRun:
    """The run in the folder `path`; raises `Refused` where there is none, and as `load`."""
    return load(open_folder(Path(path)))


def _repeated(ids: pa.ChunkedArray) -> str:
    """An id that is there twice, else nothing."""
    counts = ids.value_counts()
    more = counts.filter(pc.greater(counts.field("counts"), 1))
    return str(more[0]["values"]) if len(more) else ""
