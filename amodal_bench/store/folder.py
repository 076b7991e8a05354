"""A run's folder: results/DATASET/SPLIT/METHOD/KEY/. Plain files, each written whole; no server, no database."""

import hashlib
import json
import os
import shutil
import socket
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from amodal_bench.errors import Refused, RunDamaged
from amodal_bench.files.cache import write_atomic
from amodal_bench.files.names import plain_name
from amodal_bench.files.stamp import Stamp, stamp_of
from amodal_bench.store.journal import FOLDER as JOURNAL
from amodal_bench.store.journal import JournalEntry, entries
from amodal_bench.store.lock import HOLDER, LOCK
from amodal_bench.store.merging import merge
from amodal_bench.store.record import read_record
from amodal_bench.store.rows import (
    FINISHED,
    INSTANCES,
    PLAN,
    PREDICTIONS,
    SCHEMA_VERSION,
    TIMINGS,
    Row,
    read_table,
    to_bytes,
    to_table,
    unreadable,
    write_table,
)
from amodal_bench.store.sources import DIGITS, OldTables, PartFile, RowSource, file_sha256, overview
from amodal_bench.store.spec import RunSpec

if TYPE_CHECKING:
    import pandas as pd  # slow to import, and a worker needs none

ERRORS = "errors"  # folder of a run: the first traceback of each kind of error
RESERVED = ("tables", "report")  # names in results/ that are no dataset
_DEPTH = 4  # of a run below the results folder
_MARKS = ("run.json", "instances.parquet")  # files that make a folder a run's


class RunFolder:
    """One run on disk. A complete one never changes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._worker = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        self._written = 0
        self._looked_at: dict[str, Stamp | None] = {}  # tables whose bytes are the record's, until they change

    @property
    def worker(self) -> str:
        """Name of this process among those that write here."""
        return self._worker

    @property
    def exists(self) -> bool:
        """Whether a run was begun here."""
        return (self.path / "run.json").is_file()

    @property
    def complete(self) -> bool:
        """Whether there is nothing left to do: the record says so, with counts that agree, and the tables are there."""
        try:
            record = self.record()
        except RunDamaged:
            if self.exists:
                raise
            return False
        counts = record["counts"]
        if record["status"] != "complete" or counts["done"] != counts["planned"]:
            return False
        return all((self.path / f"{name}.parquet").is_file() for name in ("instances", "predictions"))

    def record(self) -> dict[str, Any]:
        """run.json; raises `RunDamaged` where it is missing, cut off, newer, or not the record of a run."""
        return read_record(self.path / "run.json")

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
            elif not self.plan().equals(plan):
                raise RunDamaged(f"{plan_path} lists other instances than the dataset has now; start over with --fresh")
            self.write_record({"schema_version": SCHEMA_VERSION, **record})
        except OSError as error:
            raise _unwritable(self.path, error) from None

    def write_record(self, record: dict[str, Any]) -> None:
        """Replace run.json."""
        write_atomic(self.path / "run.json", json.dumps(record, indent=1).encode() + b"\n")

    def plan(self) -> pa.Table:
        """id, group_id, index of all instances in the order of the run."""
        return read_table(self.path / "plan.parquet", PLAN)

    def append(self, rows: Sequence[Row]) -> None:
        """Have finished rows on disk before returning: one part file, whole or not there.

        Where others have completed the run meanwhile, its parts are gone and these rows are in its tables.
        """
        self._written += 1
        data = to_bytes(to_table(rows))
        name = f"{self._worker}-{self._written:06d}-{hashlib.sha256(data).hexdigest()[:DIGITS]}.parquet"
        try:
            write_atomic(self.path / "parts" / name, data)
        except FileNotFoundError:
            if not self.complete:
                raise

    def rows(self) -> pa.Table:
        """id, status, error of all rows on disk, one an id, a finished one before a failed one; sorted by id.

        Reads no counts and no masks.
        """
        while True:
            parts = self._parts()
            try:
                return overview(self._sources(parts))
            except RunDamaged:
                if all(path.is_file() for path in parts):
                    raise
            # Another process has merged them meanwhile: their rows are in the tables now.

    def finished(self) -> int:
        """How many instances have a finished row on disk."""
        return int(pc.sum(pc.equal(self.rows()["status"], FINISHED)).as_py() or 0)

    def finish(self, record: dict[str, Any]) -> dict[str, Any]:
        """Merge all rows on disk, of parts and of earlier tables, into the three tables; returns the new run.json.

        When nothing is missing the run is complete, and the parts that were merged go.
        """
        parts = self._parts()
        sources = self._sources(parts)
        planned = self._check_planned(sources)
        merged = merge(sources, self.path)
        errors = merged.rows - merged.finished
        whole = merged.rows == planned
        status = "complete" if whole and not errors else "errors" if whole else "partial"
        counts = {**record["counts"], "done": merged.finished, "error": errors}
        record = {**record, "status": status, "counts": counts, "tables": merged.tables}
        self.write_record(record)
        if status == "complete":
            self._remove(parts)
        return record

    def _check_planned(self, sources: Sequence[RowSource]) -> int:
        """How many instances are planned; raises where a row is of none of them."""
        planned, found = self.plan()["id"], overview(sources)["id"]
        strange = _without(found, planned)
        if len(strange):
            raise RunDamaged(
                f"{self.path / 'parts'} holds {strange[0]}, which is not in the plan; start over with --fresh"
            )
        return len(planned)

    def instances(self, columns: Sequence[str] | None = None) -> "pd.DataFrame":
        """instances.parquet, or these columns of it, with all its rows, error rows included."""
        frame: pd.DataFrame = self.instances_table(columns).to_pandas(
            split_blocks=True,
            self_destruct=True,  # a large run is not held twice
        )
        return frame

    def instances_table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The same as an Arrow table."""
        path = self._table("instances")
        return read_table(path, INSTANCES, columns, sealed="instances" in self._looked_at)

    def predictions(self) -> pa.Table:
        """predictions.parquet: id, size, counts."""
        return read_table(self._table("predictions"), PREDICTIONS)

    def timings(self, columns: Sequence[str] = ("id", "seconds", "worker")) -> "pd.DataFrame":
        """timings.parquet, or these columns of it. Empty where it is lost: no number of a method depends on it."""
        path = self.path / "timings.parquet"
        table = read_table(path, TIMINGS, columns) if path.is_file() else TIMINGS.empty_table().select(columns)
        frame: pd.DataFrame = table.to_pandas()
        return frame

    def remove(self) -> None:
        """Delete the run (`--fresh`), but not the lock that is held on it."""
        for path in self.path.iterdir():
            if path.name in (LOCK, HOLDER):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove what killed processes left half written. To be called by the holder of the lock."""
        for path in self.path.glob(".*"):
            if path.is_dir() and path.name.startswith(".merge-"):
                shutil.rmtree(path, ignore_errors=True)
            elif path.is_file():
                path.unlink(missing_ok=True)
        if not self.workers():
            for path in (self.path / "parts").glob(".*"):
                path.unlink(missing_ok=True)

    @property
    def littered(self) -> bool:
        """Whether killed processes left something in a complete run, or late ones wrote what its tables hold."""
        names = ("parts", JOURNAL, ERRORS, LOCK, HOLDER)
        return any((self.path / name).exists() for name in names) or any(self.path.glob(".*"))

    def tidy(self) -> None:
        """Remove that, from a run whose tables are whole. To be called by the holder of the lock."""
        for name in ("instances", "predictions"):
            self._table(name)
        self._remove(self._parts())
        self.forget()

    def suspects(self) -> list[str]:
        """Ids that a process held when it died."""
        return [id for entry in entries(self.path) if not entry.alive for id in entry.ids]

    def forget(self) -> None:
        """Remove the journals of the dead: what they held has its rows."""
        for entry in entries(self.path):
            if not entry.alive:
                entry.path.unlink(missing_ok=True)
        with suppress(OSError):
            (self.path / JOURNAL).rmdir()

    def workers(self) -> list[JournalEntry]:
        """The journals of processes that are at work here."""
        return [entry for entry in entries(self.path) if entry.alive]

    def ids(self) -> pa.Array:
        """Ids that have a row in instances.parquet."""
        return read_table(self._table("instances"), INSTANCES, ["id"])["id"].combine_chunks()

    def parts(self) -> set[str]:
        """Names of the part files that lie there now."""
        return {path.name for path in self._parts()}

    def count(self, names: Iterable[str]) -> int:
        """Rows in these parts; one that is gone, merged by another process, counts nothing."""
        found = 0
        for name in names:
            with suppress(pa.ArrowException, OSError, ValueError):
                found += int(pq.read_metadata(self.path / "parts" / name).num_rows)
        return found

    def _table(self, name: str) -> Path:
        """A merged table; raises `RunDamaged` where it is missing, or not what a complete run ended with."""
        path = self.path / f"{name}.parquet"
        if not path.is_file():
            raise RunDamaged(f"{self.path} has no {path.name}: the same bench command finishes the run")
        record, stamp = self.record(), stamp_of(path)
        known = record.get("tables", {}).get(name)
        if record["status"] == "complete" and known and self._looked_at.get(name) != stamp:
            if file_sha256(path) != known:
                raise unreadable(path, ValueError("its bytes are not those that the run ended with"))
            self._looked_at[name] = stamp
        return path

    def _parts(self) -> list[Path]:
        return sorted((self.path / "parts").glob("[!.]*.parquet"))

    def _sources(self, parts: Sequence[Path]) -> list[RowSource]:
        """The parts, and the earlier tables where they hold what no part does."""
        sources: list[RowSource] = [PartFile(path) for path in parts]
        path = self.path / "instances.parquet"
        if not path.is_file():
            return sources
        old, new = read_table(path, INSTANCES, ["id", "status"]), overview(sources)
        done = [table.filter(pc.equal(table["status"], FINISHED))["id"] for table in (old, new)]
        lost = _without(done[0], done[1]).chunks + _without(old["id"], new["id"]).chunks
        if any(len(chunk) for chunk in lost):
            sources.append(OldTables(self.path, pa.concat_arrays(lost).unique()))
        return sources

    def _remove(self, parts: Sequence[Path]) -> None:
        """Remove the parts that were merged, and what was told of errors; a part written since stays."""
        for path in parts:
            path.unlink(missing_ok=True)
        shutil.rmtree(self.path / ERRORS, ignore_errors=True)
        self.sweep()
        with suppress(OSError):
            (self.path / "parts").rmdir()


def _without(ids: pa.ChunkedArray, others: pa.ChunkedArray) -> pa.ChunkedArray:
    return ids.filter(pc.invert(pc.is_in(ids, value_set=others.combine_chunks())))


def run_folder(results: Path, spec: RunSpec, label: str) -> RunFolder:
    """The folder that a spec's run has; `label` is the preset's name."""
    if spec.dataset in RESERVED:
        raise Refused(f"a dataset cannot be called {spec.dataset!r}: results/{spec.dataset} is reserved")
    parts = (plain_name(spec.dataset, "dataset"), plain_name(spec.split, "split"), plain_name(label, "method"))
    return RunFolder(results.joinpath(*parts, spec.key()))


def open_folder(path: Path) -> RunFolder:
    """The run at `path`; raises `Refused` where there is none."""
    folder = RunFolder(path)
    if not folder.exists:
        raise Refused(f"{path} holds no run: name a folder results/DATASET/SPLIT/METHOD/KEY that has a run.json")
    return folder


def find_runs(path: Path) -> Iterator[RunFolder]:
    """Every run in or below a folder, in the order of its path; one that has lost its record too, to be told.

    The folder may be the results folder, one of a dataset, split or method in it, or a run itself.
    """
    marked = {
        found.parent for depth in range(_DEPTH + 1) for name in _MARKS for found in path.glob("*/" * depth + name)
    }
    for folder in sorted(marked):
        inside = folder.relative_to(path).parts
        if len(inside) < _DEPTH or inside[0] not in RESERVED:
            yield RunFolder(folder)


def runs_below(path: Path) -> list[RunFolder]:
    """As `find_runs`; raises `Refused` where there is none."""
    below = list(find_runs(path))
    if not below:
        raise Refused(f"{path} holds no run: name a folder results/DATASET/SPLIT/METHOD/KEY, or one above runs")
    return below


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
