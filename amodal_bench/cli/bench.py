"""`bench` and `worker`: predict, store, show."""

import os
import signal
from pathlib import Path
from typing import Annotated, Any

import typer

from amodal_bench import plan, run
from amodal_bench.cli import options as o
from amodal_bench.cli.progress import make_console, reporter
from amodal_bench.cli.show import show
from amodal_bench.errors import Refused
from amodal_bench.locate import read_paths
from amodal_bench.presets import embedded_methods, parse_changes
from amodal_bench.protocol import DEFAULT, Protocol, find_protocol, with_buckets
from amodal_bench.store import open_folder
from amodal_bench.summary import summarise
from amodal_bench.visible_source import TRUTH

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
    weights: Annotated[Path | None, typer.Option(help="Folder of trained weights.")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="One file of weights.")] = None,
    plugin: o.Plugins = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    batch_size: Annotated[int | None, typer.Option(help="Queries a call; changes no number.")] = None,
    workers: Annotated[int, typer.Option(help="Processes on this machine.")] = 1,
    max_errors: Annotated[int, typer.Option(help="Stop when more instances than this fail.")] = 100,
    fresh: Annotated[bool, typer.Option("--fresh", help="Delete what this very run left and start over.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done; write nothing.")] = False,
) -> None:
    """Run methods on datasets and end with their comparison. The same command goes on where a run was cut off."""
    datasets = o.split_list(dataset, "dataset")
    if root and len(datasets) > 1:
        raise Refused(f"--root is one dataset's folder, but {len(datasets)} were asked for: use --data-root")
    params, dataset_options = parse_changes(set_ or [])
    protocols = chosen_protocols(protocol, buckets)
    places = o.absolute_all(data_root=data_root, root=root, image_root=image_root)
    files = o.absolute_all(weights=weights, checkpoint=checkpoint)
    how = {"device": device, "batch_size": batch_size, "workers": workers, "limit": limit, "max_errors": max_errors}
    common: dict[str, Any] = {
        "split": split,
        "params": params,
        "options": dataset_options,
        "visible": o.absolute_visible(visible),
        "plugins": tuple(path.absolute() for path in o.none_if_empty(plugin)),
        "results": results_folder(results),
        **places,
        **files,
        **how,
    }
    jobs = [
        run.prepare(run.Request(method=m, dataset=d, seed=s, **common))
        for d in datasets
        for m in (o.split_list(method, "method") if method else embedded_methods())
        for s in o.split_seeds(seed)
    ]
    if dry_run:
        for job in jobs:
            _describe(job)
        return
    failed = [_run(job, fresh) for job in jobs]
    show(console, [summarise(job.folder, p) for p in protocols for job in jobs])
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
    quiet: Annotated[bool, typer.Option("--quiet", hidden=True)] = False,
) -> None:
    """Predict one shard of a run; start as many as you like, anywhere that sees the folder."""
    folder = open_folder(run_)
    here = {"root": o.absolute(root), "data_root": o.absolute(data_root), "device": device}
    request = {
        **folder.record()["request"],
        **{name: value for name, value in here.items() if value is not None},
    }
    results = folder.path.absolute().parents[3]
    job = run.prepare(run.Request.model_validate({**request, "results": results}))
    if job.spec.key() != folder.path.name:
        raise Refused(
            f"{folder.path} is the run of another spec: here its key would be {job.spec.key()} (data or code differ)"
        )
    number, count = plan.parse_shard(shard or _rank())
    interruptible()
    with reporter(console, f"{job.preset.name} {number}/{count}", quiet) as r:
        tally = run.work(job, number, count, r)
    if not quiet:
        console.print(
            f"shard {number}/{count} is done. When all are, the bench command merges them: "
            + " ".join(folder.record()["argv"]),
            soft_wrap=True,
        )
    if tally.errors:
        raise typer.Exit(1)


def chosen_protocols(names: str | None, buckets: str | None) -> list[Protocol]:
    """The protocols of `--protocol` with the buckets of `--buckets`."""
    found = [find_protocol(name) for name in o.split_list(names or DEFAULT, "protocol")]
    return [with_buckets(p, buckets) for p in found] if buckets else found


def results_folder(flag: Path | None) -> Path:
    """--results > amodal-bench.yaml > ./results."""
    return flag or read_paths().results or Path("results")


def _run(job: run.Job, fresh: bool) -> bool:
    """Run one job; True if some instances failed."""
    if fresh:
        job.folder.remove()
    title = f"{job.preset.name} on {job.spec.dataset}/{job.spec.split}"
    if job.checkpoint:
        console.print(f"{title}: {describe_weights(job)}", highlight=False, soft_wrap=True)
    interruptible()
    try:
        with reporter(console, title) as r:
            run.bench(job, r)
    except KeyboardInterrupt:
        saved = list(job.folder.done().values()).count("ok") if job.folder.exists else 0
        console.print(
            f"\nstopped: {saved} instances are saved in {job.folder.path}; the same command goes on from there",
            soft_wrap=True,
        )
        raise typer.Exit(130) from None
    except OSError as error:
        saved = list(job.folder.done().values()).count("ok")
        console.print(
            f"\ncannot write to {job.folder.path} ({error.strerror}): {saved} instances are saved; "
            "make room and give the same command again",
            soft_wrap=True,
        )
        raise typer.Exit(1) from None
    return bool(job.folder.record()["counts"]["error"])


def describe_weights(job: run.Job) -> str:
    """Which weights a run takes and what they were trained on."""
    if job.pretrained.paths:
        parts = job.pretrained.paths.items()
        return "pretrained: " + ", ".join(f"{part} {path} ({job.pretrained.sha256[part][:12]})" for part, path in parts)
    if not job.checkpoint:
        return "none needed"
    facts = job.checkpoint.metadata
    source = f", trained on {facts['dataset']}/{facts.get('split', '?')}" if "dataset" in facts else ""
    setting = job.checkpoint.setting(job.spec.dataset)
    return f"{setting} weights{source}: {job.checkpoint.path} ({job.checkpoint.sha256[:12]})"


def _describe(job: run.Job) -> None:
    done = list(job.folder.done().values()).count("ok") if job.folder.exists else 0
    asked = min(job.request.limit or len(job.dataset), len(job.dataset))
    console.print(f"[bold]{job.preset.name} on {job.spec.dataset}/{job.spec.split}[/]  (nothing is run or written)")
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
        console.print(f"  {name:<12}{value}", soft_wrap=True, highlight=False)


def _rank() -> str:
    for number, count in (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS")):
        if number in os.environ and count in os.environ:
            return f"{os.environ[number]}/{os.environ[count]}"
    raise Refused("worker needs --shard i/n, or RANK and WORLD_SIZE, or SLURM_PROCID and SLURM_NTASKS")


def interruptible() -> None:
    """Treat SIGTERM (a cluster's notice) as Ctrl-C: what is finished is written first."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
