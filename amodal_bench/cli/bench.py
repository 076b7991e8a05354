"""`bench` and `worker`: predict, store, show."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from amodal_bench.cli import options as o
from amodal_bench.cli.console import plain
from amodal_bench.cli.faults import tell_errors, tell_files, tell_funnel
from amodal_bench.cli.progress import make_console, reporter
from amodal_bench.cli.show import show_runs
from amodal_bench.errors import Refused, UnknownName
from amodal_bench.metrics.protocol import DEFAULT, Protocol, find_protocol, split_protocols, with_buckets
from amodal_bench.resolve.job import Job, Request, prepare
from amodal_bench.resolve.locate import results_root
from amodal_bench.resolve.predicted_visible import TRUTH, absolute
from amodal_bench.resolve.presets import embedded_methods, parse_changes
from amodal_bench.results.finished import load
from amodal_bench.running import plan, run
from amodal_bench.running.interrupts import Interrupted, interruptible
from amodal_bench.running.predict import TooManyErrors
from amodal_bench.store.folder import open_folder

console = make_console()


def bench(
    method: o.Methods = None,
    dataset: o.Datasets = "synthetic",
    split: o.Split = None,
    limit: Annotated[int | None, typer.Option(help="Only so many instances: a prefix of a fixed random order.")] = None,
    seed: Annotated[str, typer.Option(metavar="N[,N]", help="Seed(s); several give mean and spread.")] = "0",
    set_: o.Set = None,
    protocol: o.ProtocolName = None,
    buckets: o.Buckets = None,
    data_root: o.DataRoot = None,
    root: o.Root = None,
    image_root: o.ImageRoot = None,
    visible: o.Visible = TRUTH,
    results: o.Results = None,
    weights: o.Weights = None,
    checkpoint: o.Checkpoint = None,
    plugin: o.Plugins = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    batch_size: Annotated[int | None, typer.Option(help="Queries a call; changes no number.")] = None,
    workers: Annotated[int, typer.Option(help="Processes on this machine.")] = 1,
    max_errors: Annotated[int, typer.Option(help="Stop when more instances than this fail.")] = 100,
    instance_timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Give an instance up that takes longer (runs in workers).")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Delete what this very run left and start over.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done; write nothing.")] = False,
) -> None:
    """Run methods on datasets and end with their comparison. The same command goes on where a run was cut off."""
    datasets = o.split_list(dataset, "dataset")
    if root and len(datasets) > 1:
        raise Refused(f"--root is one dataset's folder, but {len(datasets)} were asked for: use --data-root")
    params, dataset_options = parse_changes(set_ or [])
    protocols = chosen_protocols(protocol, buckets)
    paths = {"data_root": data_root, "root": root, "image_root": image_root}
    paths |= {"weights": weights, "checkpoint": checkpoint}
    common: dict[str, Any] = {
        "split": split,
        "params": params,
        "options": dataset_options,
        "visible": absolute(visible),
        "plugins": tuple(path.absolute() for path in o.none_if_empty(plugin)),
        "results": results_root(results),
        "device": device, "batch_size": batch_size, "workers": workers, "limit": limit, "max_errors": max_errors,
        "instance_timeout": instance_timeout,
        **o.absolute_all(**paths),
    }  # fmt: skip
    jobs = [
        prepare(Request(method=m, dataset=d, seed=s, **common))
        for d in datasets
        for m in (o.split_list(method, "method") if method else embedded_methods())
        for s in o.split_seeds(seed)
    ]
    if dry_run:
        for job in jobs:
            _describe(job)
        return
    failed = [_run(job, fresh) for job in jobs]
    show_runs(console, [load(job.folder) for job in jobs], protocols)
    if any(failed):
        raise typer.Exit(1)


def worker(
    run_: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run that bench began.")],
    shard: Annotated[
        str | None, typer.Option(metavar="i/n", help="Which shard, from 0; else RANK or SLURM_PROCID.")
    ] = None,
    root: o.Root = None,
    data_root: o.DataRoot = None,
    device: Annotated[str | None, typer.Option(help="Here, instead of what bench was given.")] = None,
    plugin: o.Plugins = None,
) -> None:
    """Predict one shard of a run; start as many as you like, anywhere that sees the folder."""
    folder = open_folder(run_)
    here = {"root": o.absolute(root), "data_root": o.absolute(data_root), "device": device}
    record = folder.record()
    overrides = {name: value for name, value in here.items() if value is not None}
    job = _prepare_again(record["request"], overrides, o.none_if_empty(plugin), folder.path.absolute().parents[3])
    if job.spec.key() != folder.path.name:
        raise Refused(
            f"{folder.path} is the run of another spec: here its key would be {job.spec.key()} (data or code differ)"
        )
    number, count = plan.parse_shard(shard or _rank())
    try:
        with interruptible(), reporter(console, f"{job.preset.name} {number}/{count}") as r:
            tally = run.work(job, number, count, r)
    except Interrupted as interrupt:
        console.print(f"stopped: {folder.finished()} instances are saved in {folder.path}", soft_wrap=True)
        raise typer.Exit(interrupt.code) from None
    console.print(
        f"shard {number}/{count} is done. When all are, the bench command merges them: " + " ".join(record["argv"]),
        soft_wrap=True,
    )
    if tally.errors:
        raise typer.Exit(1)


def _prepare_again(request: dict[str, Any], here: dict[str, Any], plugins: Sequence[Path], results: Path) -> Job:
    """The job of a run that was begun elsewhere. Code that it names is not run: plugins come from this command line."""
    values = {**request, **here, "results": results, "plugins": tuple(path.absolute() for path in plugins)}
    named = ", ".join(Path(path).name for path in request["plugins"])
    try:
        return prepare(Request.model_validate(values))
    except UnknownName as error:
        if not named or plugins:
            raise
        raise Refused(f"{error} The run was begun with the plugins {named}: give them with --plugin FILE") from None


def chosen_protocols(names: str | None, buckets: str | None) -> list[Protocol]:
    """The protocols of `--protocol` with the buckets of `--buckets`."""
    found = [find_protocol(name) for name in split_protocols(names or DEFAULT)]
    return [with_buckets(p, buckets) for p in found] if buckets else found


def _run(job: Job, fresh: bool) -> bool:
    """Run one job; True if some instances failed."""
    title = f"{job.preset.name} on {job.spec.dataset}/{job.spec.split}"
    if job.checkpoint:
        console.print(f"{title}: {describe_weights(job)}", soft_wrap=True)
    tell_funnel(console, title, job.dataset.funnel)
    tell_files(console, title, job.dataset)
    try:
        with interruptible(), reporter(console, title) as r:
            run.bench(job, r, fresh)
    except TooManyErrors:
        tell_errors(console, job.folder)
        raise
    except Interrupted as interrupt:
        console.print()
        console.print(
            f"stopped: {job.folder.finished()} instances are saved in {job.folder.path}; "
            "the same command goes on from there",
            soft_wrap=True,
        )
        raise typer.Exit(interrupt.code) from None
    except OSError as error:
        console.print()
        console.print(
            f"cannot write to {job.folder.path} ({error.strerror}): {job.folder.finished()} instances are saved; "
            "make room and give the same command again",
            soft_wrap=True,
        )
        raise typer.Exit(1) from None
    failed = bool(job.folder.record()["counts"]["error"])
    if failed:
        tell_errors(console, job.folder)
    return failed


def describe_weights(job: Job) -> str:
    """Which weights a run takes and what they were trained on."""
    described = []
    if job.checkpoint:
        facts = job.checkpoint.metadata
        source = f", trained on {facts['dataset']}/{facts.get('split', '?')}" if "dataset" in facts else ""
        setting = job.checkpoint.setting(job.spec.dataset)
        described.append(f"{setting} weights{source}: {job.checkpoint.path} ({job.checkpoint.sha256[:12]})")
    if job.pretrained.paths:
        parts = (f"{part} {path} ({job.pretrained.sha256[part][:12]})" for part, path in job.pretrained.paths.items())
        described.append(f"pretrained: {', '.join(parts)}")
    return "; ".join(described) or "none needed"


def _describe(job: Job) -> None:
    done = job.folder.finished() if job.folder.exists else 0
    asked = min(job.request.limit or len(job.dataset), len(job.dataset))
    title = f"{job.preset.name} on {job.spec.dataset}/{job.spec.split}"
    console.print(plain((title, "bold"), "  (nothing is run or written)"))
    for name, value in {
        "instances": f"{asked} of {len(job.dataset)} asked for, {done} on disk already",
        "funnel": job.dataset.funnel.as_dict(),
        "fingerprint": job.spec.fingerprint,
        "params": job.spec.params,
        "options": job.spec.options,
        "weights": describe_weights(job),
        "device": f"{job.device}, batches of {job.batch_size}, {job.request.workers} worker(s)",
        "folder": job.folder.path,
    }.items():
        console.print(f"  {name:<12}{value}", soft_wrap=True)


def _rank() -> str:
    for number, count in (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS")):
        if number in os.environ and count in os.environ:
            return f"{os.environ[number]}/{os.environ[count]}"
    raise Refused("worker needs --shard i/n, or RANK and WORLD_SIZE, or SLURM_PROCID and SLURM_NTASKS")
