"""A run's folder: results/DATASET/SPLIT/METHOD/KEY/. Plain files, each written whole; no server, no database."""

import json
import os
import shutil
import socket
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from amodal_bench.cache import write_atomic
from amodal_bench.errors import Refused, RunDamaged
from amodal_bench.rows import (
    INSTANCES,
    PREDICTIONS,
    SCHEMA_VERSION,
    TIMINGS,
    Row,
    merge,
    read_table,
    to_table,
    write_table,
)
from amodal_bench.spec import RunSpec

RESERVED = ("tables", "report")  # names in results/ that are no dataset


class RunFolder:
    """One run on disk. A complete one never changes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._worker = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        self._written = 0

    @property
    def worker(self) -> str:
        """Name of this process among those that write here."""
        return self._worker

    @property
    def exists(self) -> bool:
        """Whether a run was begun here."""
        return (self.path / "run.json").is_file()

    def record(self) -> dict[str, Any]:
        """run.json; raises `RunDamaged` where it is missing, cut off or newer."""
        path = self.path / "run.json"
        try:
            record: dict[str, Any] = json.loads(path.read_text())
        except FileNotFoundError:
            raise RunDamaged(f"{self.path} holds no run (no run.json)") from None
        except ValueError:
            raise RunDamaged(f"{path} is not JSON; start over with --fresh") from None
        if record["schema_version"] > SCHEMA_VERSION:
            raise RunDamaged(
                f"{path} has schema version {record['schema_version']}; "
                f"this amodal_bench reads up to {SCHEMA_VERSION}: upgrade it"
            )
        return record

    def spec(self) -> RunSpec:
        """The hashed part of run.json."""
        return RunSpec.model_validate(self.record()["spec"])

    def create(self, record: dict[str, Any], plan: pa.Table) -> None:
        """Make the folder, or go on with the one a cut-off run left. The plan is written once."""
        try:
            (self.path / "parts").mkdir(parents=True, exist_ok=True)
            plan_path = self.path / "plan.parquet"
            if not plan_path.is_file():
                write_table(plan_path, plan)
            elif not read_table(plan_path).equals(plan):
                raise RunDamaged(f"{plan_path} lists other instances than the dataset has now; start over with --fresh")
            self.write_record({"schema_version": SCHEMA_VERSION, **record})
        except OSError as error:
            raise _unwritable(self.path, error) from None

    def write_record(self, record: dict[str, Any]) -> None:
        """Replace run.json."""
        write_atomic(self.path / "run.json", json.dumps(record, indent=1).encode() + b"\n")

    def plan(self) -> pa.Table:
        """id, group_id, index of all instances in the order of the run."""
        return read_table(self.path / "plan.parquet")

    def append(self, rows: Sequence[Row]) -> None:
        """Have finished rows on disk before returning: one part file, whole or not there."""
        self._written += 1
        write_table(self.path / "parts" / f"{self._worker}-{self._written:06d}.parquet", to_table(rows))

    def done(self) -> dict[str, str]:
        """id -> status of every row on disk; reads no counts and no masks."""
        found: dict[str, str] = {}
        for path in self._sources():
            part = read_table(path, ["id", "status"])
            for id, status in zip(part["id"].to_pylist(), part["status"].to_pylist(), strict=True):
                if found.get(id) != "ok":
                    found[id] = status
        return found

    def finish(self, record: dict[str, Any]) -> None:
        """Merge the parts into the three tables; when nothing is missing the run is complete and the parts go."""
        known = {id: place for place, id in enumerate(self.plan()["id"].to_pylist())}
        table = merge([read_table(path) for path in self._parts()])
        strange = [id for id in table["id"].to_pylist() if id not in known]
        if strange:
            raise RunDamaged(
                f"{self.path / 'parts'} holds {strange[0]}, which is not in the plan; start over with --fresh"
            )
        for name, schema in (("instances", INSTANCES), ("predictions", PREDICTIONS), ("timings", TIMINGS)):
            write_table(self.path / f"{name}.parquet", table.select(schema.names).cast(schema))
        errors = sum(status != "ok" for status in table["status"].to_pylist())
        whole = len(table) == len(known)
        status = "complete" if whole and not errors else "errors" if whole else "partial"
        counts = {**record["counts"], "done": len(table) - errors, "error": errors}
        self.write_record({**record, "status": status, "counts": counts})
        if status == "complete":
            shutil.rmtree(self.path / "parts")

    def instances(self) -> pd.DataFrame:
        """instances.parquet with all its rows, error rows included."""
        frame: pd.DataFrame = read_table(self._table("instances")).to_pandas()
        return frame

    def predictions(self) -> pa.Table:
        """predictions.parquet: id, size, counts."""
        return read_table(self._table("predictions"))

    def timings(self) -> pd.DataFrame:
        """timings.parquet: id, seconds, worker."""
        frame: pd.DataFrame = read_table(self._table("timings")).to_pandas()
        return frame

    def remove(self) -> None:
        """Delete the run (`--fresh`)."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _table(self, name: str) -> Path:
        path = self.path / f"{name}.parquet"
        if not path.is_file():
            raise RunDamaged(f"{self.path} has no {path.name} yet: the same bench command finishes the run")
        return path

    def _parts(self) -> list[Path]:
        return sorted((self.path / "parts").glob("[!.]*.parquet"))

    def _sources(self) -> list[Path]:
        whole = self.path / "instances.parquet"
        return self._parts() or ([whole] if whole.is_file() else [])


def run_folder(results: Path, spec: RunSpec, label: str) -> RunFolder:
    """The folder that a spec's run has; `label` is the preset's name."""
    if spec.dataset in RESERVED:
        raise Refused(f"a dataset cannot be called {spec.dataset!r}: results/{spec.dataset} is reserved")
    return RunFolder(results / spec.dataset / spec.split / label / spec.key())


def open_folder(path: Path) -> RunFolder:
    """The run at `path`; raises `Refused` where there is none."""
    folder = RunFolder(path)
    if not folder.exists:
        raise Refused(f"{path} holds no run: name a folder results/DATASET/SPLIT/METHOD/KEY that has a run.json")
    return folder


def find_runs(results: Path) -> Iterator[RunFolder]:
    """Every run under a results folder, in the order of its path."""
    for path in sorted(results.glob("*/*/*/*/run.json")):
        if path.relative_to(results).parts[0] not in RESERVED:
            yield RunFolder(path.parent)


def check_writable(results: Path) -> None:
    """Write and remove a probe in the nearest folder that exists, before any time is spent on predicting."""
    nearest = next(path for path in (results, *results.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise _unwritable(results, error) from None


def _unwritable(path: Path, error: OSError) -> Refused:
    return Refused(f"cannot write to {path} ({error.strerror}): choose another folder with --results DIR")
