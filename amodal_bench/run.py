"""Run a method on a dataset: resolve and refuse first, then predict, then merge."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa

from amodal_bench import plan as planning
from amodal_bench import provenance, store
from amodal_bench.errors import Refused
from amodal_bench.locate import (
    Checkpoint,
    DataFlags,
    Pretrained,
    dataset_location,
    find_checkpoint,
    find_pretrained,
    weights_root,
)
from amodal_bench.plugin import AnyDataset, AnyMethod, Location, Runtime, Settings
from amodal_bench.predict import Reporter, Silent, Tally, predict
from amodal_bench.presets import Preset, build, find_preset
from amodal_bench.protocol import DEFAULT
from amodal_bench.registry import Registry
from amodal_bench.rows import SCHEMA_VERSION
from amodal_bench.spec import RunSpec, resolved
from amodal_bench.store import RunFolder
from amodal_bench.visible_source import TRUTH, spelled, with_visible


class Request(Settings):
    """What a user asked for, as run.json keeps it so that a worker on another machine can go on."""

    method: str
    dataset: str
    split: str | None = None
    seed: int = 0
    params: dict[str, Any] = {}
    options: dict[str, Any] = {}
    visible: str = TRUTH
    data_root: Path | None = None
    root: Path | None = None
    image_root: Path | None = None
    weights: Path | None = None
    checkpoint: Path | None = None
    plugins: tuple[Path, ...] = ()
    device: str = "auto"
    batch_size: int | None = None
    workers: int = 1
    limit: int | None = None
    max_errors: int = 100
    results: Path = Path("results")


@dataclass(frozen=True, slots=True)
class Job:
    """A request whose names, parameters, files and weights have been found and digested."""

    request: Request
    preset: Preset
    dataset: AnyDataset
    location: Location
    checkpoint: Checkpoint | None
    pretrained: Pretrained
    spec: RunSpec
    folder: RunFolder
    device: str

    @property
    def batch_size(self) -> int:
        """How many queries a call of predict gets."""
        return self.request.batch_size or self.preset.plugin.cls.card.batch_size

    @property
    def runtime(self) -> Runtime:
        """What the method's `load` is told."""
        return Runtime(
            device=self.device,
            batch_size=self.batch_size,
            checkpoint=self.checkpoint.path if self.checkpoint else None,
            weights=weights_root(self.request.weights),
        )


def open_dataset(
    name: str, registry: Registry, split: str | None, options: dict[str, Any], flags: DataFlags
) -> tuple[AnyDataset, Location, str | None]:
    """Open a split (the card's default if None): the dataset, where it lies, the digest of a plugin's source."""
    plugin = registry.dataset(name)
    location = dataset_location(name, flags)
    settings = build(plugin.cls.Options, options, f"dataset {name!r} (--set dataset.KEY=VALUE)")
    return plugin.cls(location, split or plugin.cls.card.default_split, settings), location, plugin.source


def prepare(request: Request) -> Job:
    """Resolve a request; raises `Refused` before anything is written."""
    for name, least in (
        ("limit", request.limit),
        ("workers", request.workers),
        ("batch_size", request.batch_size),
    ):
        if least is not None and least < 1:
            raise Refused(f"--{name.replace('_', '-')} takes a whole number from 1, got {least}")
    registry = Registry(request.plugins)
    preset = find_preset(request.method, registry, request.params)
    card = preset.plugin.cls.card
    registry.dataset(request.dataset)
    weights = weights_root(request.weights)
    checkpoint = find_checkpoint(preset, request.dataset, request.checkpoint, weights)
    if checkpoint:
        check_weights(preset, checkpoint)
    pretrained = find_pretrained(preset, weights)
    check_installed(preset)
    device = provenance.choose_device(request.device, card.needs)
    flags = DataFlags(data_root=request.data_root, root=request.root, image_root=request.image_root)
    dataset, location, source = open_dataset(request.dataset, registry, request.split, request.options, flags)
    dataset = with_visible(dataset, request.visible)
    if not len(dataset):
        raise Refused(f"{dataset.card.title} {dataset.split} has no instance left: {dataset.funnel.as_dict()}")
    spec = RunSpec(
        method=preset.plugin.name,
        revision=card.revision,
        params=preset.resolved(),
        checkpoint=checkpoint.sha256 if checkpoint else pretrained.digest,
        method_source=preset.plugin.source,
        dataset=request.dataset,
        split=dataset.split,
        options=resolved(dataset.options),
        fingerprint=dataset.fingerprint(),
        dataset_source=source,
        visible=spelled(request.visible),
        seed=request.seed,
    )
    store.check_writable(request.results)
    folder = store.run_folder(request.results, spec, preset.name)
    return Job(request, preset, dataset, location, checkpoint, pretrained, spec, folder, device)


def check_installed(preset: Preset) -> None:
    """Raise `Refused` naming the libraries that the method's card asks for and that are not installed."""
    card = preset.plugin.cls.card
    lacking = [name for name in card.needs if find_spec(name) is None]
    if lacking:
        way_out = f"pip install 'amodal-bench[{card.extra}]'" if card.extra else "install them"
        raise Refused(f"{preset.name} needs what is not installed here, {', '.join(lacking)}: {way_out}")


def check_weights(preset: Preset, checkpoint: Checkpoint) -> None:
    """Raise `Refused` naming the file where its metadata does not fit the preset."""
    trained = checkpoint.metadata.get("method", preset.plugin.name)
    if trained != preset.plugin.name:
        raise Refused(f"{checkpoint.path}: weights of the method {trained!r}, asked for {preset.plugin.name!r}")
    try:
        preset.make().check_weights(checkpoint.metadata)
    except Refused as error:
        raise Refused(f"{checkpoint.path}: {error}") from None


def bench(job: Job, reporter: Reporter | None = None) -> Tally:
    """Predict what is missing and merge; a complete run is left as it is."""
    reporter = reporter or Silent()
    if job.folder.exists and job.folder.record()["status"] == "complete":
        return Tally()
    plan = planning.make_plan(job.dataset)
    record = _record(job, plan)
    started = time.monotonic()
    asked = plan.slice(0, job.request.limit) if job.request.limit else plan
    if job.request.workers == 1:
        method = job.preset.make()
        method.load(job.runtime)
        job.folder.create(record, plan)
        todo = missing(job.folder, asked)
        reporter.announce(len(asked), len(asked) - len(todo))
        tally = _predict(job, todo, method, reporter)
    else:
        job.folder.create(record, plan)
        reporter.announce(len(asked), len(asked) - len(missing(job.folder, asked)))
        tally = _in_workers(job, asked, reporter)
    record["timings"]["finished"] = _now()
    record["timings"]["seconds"] += time.monotonic() - started
    peaks = [record["timings"].get("peak_memory_mb"), provenance.peak_memory_mb(job.device)]
    record["timings"]["peak_memory_mb"] = max((peak for peak in peaks if peak is not None), default=None)
    job.folder.finish(record)
    return tally


def work(job: Job, number: int, count: int, reporter: Reporter) -> Tally:
    """Predict one shard of a run that `bench` or another worker began; merging is left to `bench`."""
    record = job.folder.record()
    _check_device(job, record)
    plan = job.folder.plan()
    asked = plan.slice(0, job.request.limit) if job.request.limit else plan
    mine = planning.shard(asked, number, count)
    todo = missing(job.folder, mine)
    method = job.preset.make()
    method.load(job.runtime)
    reporter.announce(len(mine), len(mine) - len(todo))
    return _predict(job, todo, method, reporter)


def missing(folder: RunFolder, plan: pa.Table) -> pa.Table:
    """The rows of a plan that have no finished result yet; failed ones are tried again."""
    done = folder.done()
    return plan.filter(pa.array([done.get(id) != "ok" for id in plan["id"].to_pylist()], type=pa.bool_()))


def _predict(job: Job, todo: pa.Table, method: AnyMethod, reporter: Reporter) -> Tally:
    return predict(
        job.folder,
        todo,
        job.dataset,
        method,
        seed=job.spec.seed,
        batch_size=job.batch_size,
        max_errors=job.request.max_errors,
        reporter=reporter,
    )


def _record(job: Job, plan: pa.Table) -> dict[str, Any]:
    """run.json of a run that begins or goes on."""
    before = job.folder.record() if job.folder.exists else None
    if before:
        _check_device(job, before)
    limit = job.request.limit
    return {
        "schema_version": SCHEMA_VERSION,
        "status": "running",
        "key": job.spec.key(),
        "preset": job.preset.name,
        "spec": job.spec.model_dump(mode="json"),
        "request": job.request.model_dump(mode="json"),
        "argv": provenance.command_line(),
        "protocol": DEFAULT,
        "funnel": job.dataset.funnel.as_dict(),
        "counts": {"planned": len(plan), "asked": min(limit or len(plan), len(plan)), "done": 0, "error": 0},
        "git": provenance.git_state(),
        "versions": provenance.versions(),
        "hardware": provenance.hardware(job.device),
        "device_kind": provenance.device_kind(job.device),
        "weights": {
            "path": str(job.checkpoint.path), "sha256": job.checkpoint.sha256, "metadata": job.checkpoint.metadata,
            "setting": job.checkpoint.setting(job.spec.dataset),
        } if job.checkpoint else None,
        "pretrained": {
            part: {"path": str(path), "sha256": job.pretrained.sha256[part]}
            for part, path in job.pretrained.paths.items()
        },
        "timings": before["timings"] if before else {"started": _now(), "finished": None, "seconds": 0.0},
    }  # fmt: skip


def _check_device(job: Job, record: dict[str, Any]) -> None:
    kind = provenance.device_kind(job.device)
    if record["device_kind"] != kind:
        raise Refused(
            f"{job.folder.path} was begun on {record['device_kind']}, this is {kind}: equal results are promised on "
            "one kind of device only. Go on there, or start over with --fresh"
        )


def _in_workers(job: Job, asked: pa.Table, reporter: Reporter) -> Tally:
    """Run the shards in processes of their own and watch the parts arrive."""
    count = job.request.workers
    command = [sys.executable, "-P", "-m", "amodal_bench", "worker", str(job.folder.path)]
    children = [
        subprocess.Popen([*command, "--shard", f"{i}/{count}", "--quiet"], env=_environment(i, count))
        for i in range(count)
    ]
    before, pause = len(missing(job.folder, asked)), 1.0
    try:
        while any(child.poll() is None for child in children):
            time.sleep(pause)
            looked = time.monotonic()
            left = len(missing(job.folder, asked))
            pause = max(1.0, 20 * (time.monotonic() - looked))  # looking costs more the more there is
            reporter.advance(before - left, 0)
            before = left
    finally:
        for child in children:
            child.terminate()
        codes = [child.wait() for child in children]
    failed = [i for i, code in enumerate(codes) if code not in (0, 1)]
    if failed:
        raise Refused(f"worker {failed[0]}/{count} stopped with exit code {codes[failed[0]]}; what it finished is kept")
    return Tally(finished=len(asked))


def _environment(number: int, count: int) -> dict[str, str]:
    """Threads and GPU of one worker. Two processes with two threads each on two cores run ten times slower."""
    threads = str(max(1, (os.cpu_count() or 1) // count))
    own = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
    gpus = [gpu for gpu in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if gpu]
    if gpus:
        own["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]
    return {**os.environ, **own}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
