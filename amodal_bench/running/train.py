"""Train a method on a dataset: hand both to the method's own `train`, and keep what it leaves."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from amodal_bench.errors import Refused
from amodal_bench.files.cache import write_atomic
from amodal_bench.files.documents import BadDocument, parse_json
from amodal_bench.plugin import Monitor, TrainingRun
from amodal_bench.resolve import provenance
from amodal_bench.resolve.training import TrainJob, differences
from amodal_bench.running import ranks
from amodal_bench.store.lock import HOLDER, LOCK, FolderLock

RECORD, _ASIDE = "train.json", ".before"
_SHOWN = 5  # differences that are told


def train(job: TrainJob, monitor: Monitor, fresh: bool = False) -> None:
    """Train, or go on where the same training was cut off; leaves model.safetensors and train.json in `job.out`.

    `fresh` deletes what lay there, once the new training has left something. Under torchrun the first process alone
    looks after the folder, and the others look into it when that is done. Raises `Refused` where another command
    trains into it.
    """
    if not ranks.is_first():
        if ranks.heard(job.device):
            _train(job, monitor)
        return
    with FolderLock(job.out) as lock, ranks.telling(job.device) as tell:
        if not lock.take():
            raise Refused(f"{job.out} is being trained into by {lock.holder_name()}")
        with _put_aside(job.out, fresh):
            check_same(job)
            if job.complete:
                return
            record = _record(job.out) or _new_record(job)
            started = datetime.now(UTC)
            _write(job.out, record)
            tell()
            try:
                _train(job, monitor)
            finally:
                record["seconds"] += (datetime.now(UTC) - started).total_seconds()
                record["status"] = "complete" if job.complete else "cut off"
                _write(job.out, record)


def _train(job: TrainJob, monitor: Monitor) -> None:
    run = TrainingRun(
        config=job.config,
        out=job.out,
        seed=job.request.seed,
        device=job.device,
        metadata=job.metadata,
        monitor=monitor,
        starts=job.starts,
    )
    job.preset.make().train(job.train, job.val, run)


@contextmanager
def _put_aside(out: Path, fresh: bool) -> Iterator[None]:
    """With `fresh`, what lies in a folder is out of the way in this block.

    It comes back where the block leaves nothing but its record, as one does that could not begin; so it does after a
    kill, the next time.
    """
    aside = out / _ASIDE
    if fresh and not aside.exists():
        aside.mkdir()
        _move(out, aside)
    try:
        yield
    finally:
        if aside.exists() and _holds_work(out):
            shutil.rmtree(aside)
        elif aside.exists():
            (out / RECORD).unlink(missing_ok=True)
            _move(aside, out)
            aside.rmdir()


def _holds_work(out: Path) -> bool:
    return any(path.name not in (LOCK, HOLDER, RECORD, _ASIDE) for path in out.iterdir())


def _move(source: Path, target: Path) -> None:
    for path in source.iterdir():
        if path.name not in (LOCK, HOLDER, _ASIDE):
            path.rename(target / path.name)


def check_same(job: TrainJob) -> None:
    """Raise `Refused` where the folder holds what another training left."""
    before = _record(job.out)
    if before and before["config"] != job.metadata["config"]:
        known = before.get("metadata")
        told = differences(job, known) if isinstance(known, dict) else []
        raise Refused(
            f"{job.out} holds a training with other settings ({before['config']}, this is {job.metadata['config']}"
            f"{'; ' if told else ''}{'; '.join(told[:_SHOWN])}; see its {RECORD}): give --weights another folder, or "
            "--fresh to delete it"
        )


def _record(out: Path) -> dict[str, Any] | None:
    path = out / RECORD
    if not path.is_file():
        return None
    try:
        record = parse_json(path.read_bytes())
    except BadDocument as error:
        raise Refused(f"{path} {error}; --fresh starts the training over") from None
    whole = isinstance(record, dict) and isinstance(record.get("config"), str)
    if not whole or not isinstance(record.get("seconds"), (int, float)):
        raise Refused(f"{path} is not the record of a training; --fresh starts it over")
    found: dict[str, Any] = record
    return found


def _new_record(job: TrainJob) -> dict[str, Any]:
    return {
        "status": "running",
        "config": job.metadata["config"],
        "metadata": job.metadata,
        "request": job.request.model_dump(mode="json"),
        "argv": provenance.command_line(),
        "git": provenance.git_state(),
        "versions": provenance.versions(),
        "hardware": provenance.hardware(job.device),
        "processes": ranks.count(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": 0.0,
    }


def _write(out: Path, record: dict[str, Any]) -> None:
    write_atomic(out / RECORD, json.dumps(record, indent=1).encode())
