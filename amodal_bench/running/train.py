"""Train a method on a dataset: resolve and refuse first, then hand both to the method's own `train`."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from amodal_bench.errors import Refused
from amodal_bench.files import configs
from amodal_bench.files.cache import write_atomic
from amodal_bench.files.documents import BadDocument, parse_json, read_yaml
from amodal_bench.plugin import AnyDataset, Monitor, Settings, TrainingRun
from amodal_bench.resolve import provenance
from amodal_bench.resolve.job import open_dataset
from amodal_bench.resolve.locate import DataFlags, weights_root
from amodal_bench.resolve.presets import Preset, build, find_preset, merged
from amodal_bench.resolve.registry import Registry
from amodal_bench.store.lock import HOLDER, LOCK, FolderLock
from amodal_bench.store.spec import resolved

MODEL, RECORD, _ASIDE = "model.safetensors", "train.json", ".before"


class TrainFile(Settings):
    """configs/train/NAME.yaml: what training adds to the preset NAME, and `options` of the dataset it is meant for."""

    title: str = ""
    training: dict[str, Any] = {}
    dataset: str | None = None
    options: dict[str, Any] = {}


class TrainRequest(Settings):
    """What a user asked for, as train.json keeps it."""

    method: str
    config: Path | None = None
    dataset: str
    split: str | None = None
    val_split: str | None = None
    seed: int = 42
    params: dict[str, Any] = {}
    training: dict[str, Any] = {}
    options: dict[str, Any] = {}
    data_root: Path | None = None
    root: Path | None = None
    image_root: Path | None = None
    weights: Path | None = None
    plugins: tuple[Path, ...] = ()
    device: str = "auto"


@dataclass(frozen=True, slots=True)
class TrainJob:
    """A request whose names, parameters and files have been found."""

    request: TrainRequest
    preset: Preset
    config: Settings
    train: AnyDataset
    val: AnyDataset
    metadata: dict[str, str]
    out: Path
    device: str

    @property
    def complete(self) -> bool:
        """Whether the weights are there."""
        return (self.out / MODEL).is_file()


def find_train_file(name: str, path: Path | None = None) -> TrainFile:
    """The file given, else train/NAME.yaml, built in or from outside, empty where there is none."""
    config = configs.by_path(path) if path else configs.find("train", name)
    return read_train_file(config.path) if config else TrainFile()


def read_train_file(path: Path) -> TrainFile:
    """Read one file; raises `Refused` naming it."""
    try:
        return TrainFile.model_validate(read_yaml(path, "a training file") or {})
    except ValidationError as error:
        raise Refused(f"{path}: not a training file: {error}") from None


def prepare(request: TrainRequest) -> TrainJob:
    """Resolve a request; raises `Refused` before anything is written."""
    registry = Registry(request.plugins)
    preset = find_preset(request.method, registry, request.params)
    cls = preset.plugin.cls
    if cls.Training is None:
        raise Refused(f"method {preset.name!r} has nothing to train: use it as it is with amodal-bench bench")
    if preset.weights_of:
        raise Refused(f"{preset.name!r} takes the weights of {preset.weights_of!r}: train that")
    if preset.trained_on not in (None, request.dataset):
        raise Refused(
            f"{preset.name!r} is the preset of weights from {preset.trained_on!r}: train it with --dataset "
            f"{preset.trained_on}, or another preset on {request.dataset!r}"
        )
    file = find_train_file(preset.name, request.config)
    config = build(cls.Training, merged(file.training, request.training), f"the training of {preset.name!r}")
    options = merged(file.options, request.options) if file.dataset == request.dataset else request.options
    flags = DataFlags(data_root=request.data_root, root=request.root, image_root=request.image_root)
    splits = registry.dataset(request.dataset).cls.card.splits
    train_split = request.split or ("train" if "train" in splits else None)
    if train_split is None:
        raise Refused(f"{request.dataset!r} has no split 'train': name one with --split ({', '.join(splits)})")
    train, _, _ = open_dataset(request.dataset, registry, train_split, options, flags)
    if not len(train):
        raise Refused(f"{train.card.title} {train.split} has no instance to train on: {train.funnel.as_dict()}")
    val_split = request.val_split or ("val" if "val" in splits else train.card.default_split)
    val, _, _ = open_dataset(request.dataset, registry, val_split, options, flags)
    out = weights_root(request.weights) / preset.name / request.dataset
    device = provenance.choose_device(request.device, cls.card.needs)
    metadata = _metadata(request, preset, config, train)
    return TrainJob(request, preset, config, train, val, metadata, out, device)


def train(job: TrainJob, monitor: Monitor, fresh: bool = False) -> None:
    """Train, or go on where the same training was cut off; leaves model.safetensors and train.json in `job.out`.

    `fresh` deletes what lay there, once the new training has left something. Under torchrun the first process alone
    looks after the folder. Raises `Refused` where another command trains into it.
    """
    if os.environ.get("RANK", "0") != "0":
        if fresh or not job.complete:
            job.out.mkdir(parents=True, exist_ok=True)
            _train(job, monitor)
        return
    with FolderLock(job.out) as lock:
        if not lock.take():
            raise Refused(f"{job.out} is being trained into by {lock.holder_name()}")
        with _put_aside(job.out, fresh):
            check_same(job)
            if job.complete:
                return
            record = _record(job.out) or _new_record(job)
            started = datetime.now(UTC)
            _write(job.out, record)
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
        raise Refused(
            f"{job.out} holds a training with other settings ({before['config']}, this is {job.metadata['config']}; "
            f"see its {RECORD}): give --weights another folder, or --fresh to delete it"
        )


def _metadata(request: TrainRequest, preset: Preset, config: Settings, data: AnyDataset) -> dict[str, str]:
    """What the header of the weights says; `config` is the digest of all of it."""
    facts = {
        "method": preset.plugin.name,
        "revision": str(preset.plugin.cls.card.revision),
        "preset": preset.name,
        "params": json.dumps(resolved(preset.params), sort_keys=True),
        "training": json.dumps(resolved(config), sort_keys=True),
        "dataset": request.dataset,
        "split": data.split,
        "options": json.dumps(resolved(data.options), sort_keys=True),
        "fingerprint": data.fingerprint(),
        "instances": str(len(data)),
        "seed": str(request.seed),
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]
    return {**facts, "config": digest}


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
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": 0.0,
    }


def _write(out: Path, record: dict[str, Any]) -> None:
    write_atomic(out / RECORD, json.dumps(record, indent=1).encode())
