"""`train`: make the weights that `bench` finds."""

import os
from pathlib import Path
from typing import Annotated

import typer

from amodal_bench.cli import options as o
from amodal_bench.cli.console import plain
from amodal_bench.cli.progress import make_console, monitor
from amodal_bench.errors import Refused, TrainingStopped
from amodal_bench.files.names import JOIN
from amodal_bench.resolve import training as resolve_training
from amodal_bench.resolve.presets import parse_changes
from amodal_bench.running import train as training
from amodal_bench.running.interrupts import Interrupted, interruptible

console = make_console()


def train(
    method: Annotated[
        str, typer.Option("--method", "-m", metavar="M", help="Method, preset or YAML file of a preset.")
    ],
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="YAML of the training, instead of the method's own.")
    ] = None,
    dataset: Annotated[
        str, typer.Option("--dataset", "-d", metavar="D[,D]", help="Dataset, or several to train on together.")
    ] = "synthetic",
    split: Annotated[str | None, typer.Option(help="Split to train on [default: train].")] = None,
    val_split: Annotated[
        str | None, typer.Option(help="Split to watch, or held-out of training [default: an unreported val, or that].")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed.")] = 42,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Parameter of the method; train.KEY for the training, dataset.KEY for the dataset.",
        ),
    ] = None,
    data_root: o.DataRoot = None,
    root: o.Root = None,
    image_root: o.ImageRoot = None,
    weights: Annotated[Path | None, typer.Option(help="Folder of trained weights [default: weights].")] = None,
    plugin: o.Plugins = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    fresh: Annotated[bool, typer.Option("--fresh", help="Delete what this training left and start over.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done; write nothing.")] = False,
) -> None:
    """Train a method; the same command goes on where it was cut off. Several GPUs or nodes: under torchrun."""
    params, options = parse_changes(set_ or [])
    changes = params.pop("train", {})
    if not isinstance(changes, dict):
        raise Refused("--set train=...: name a setting, e.g. --set train.epochs=2")
    job = resolve_training.prepare(
        resolve_training.TrainRequest(
            method=method,
            config=o.absolute(config),
            dataset=JOIN.join(o.split_list(dataset, "dataset")),
            split=split,
            val_split=val_split,
            seed=seed,
            params=params,
            training=changes,
            options=options,
            data_root=o.absolute(data_root),
            root=o.absolute(root),
            image_root=o.absolute(image_root),
            weights=o.absolute(weights),
            plugins=tuple(path.absolute() for path in o.none_if_empty(plugin)),
            device=device,
        )
    )
    if dry_run:
        _describe(job)
    else:
        _run(job, fresh)


def _run(job: resolve_training.TrainJob, fresh: bool) -> None:
    first = os.environ.get("RANK", "0") == "0"
    if job.complete and not fresh:
        if first:
            training.check_same(job)
            console.print(f"trained already: {job.out / resolve_training.MODEL} (--fresh starts over)", soft_wrap=True)
        return
    try:
        with (
            interruptible(),
            monitor(console, f"{job.preset.name} on {job.request.dataset}/{job.train.split}", first) as watch,
        ):
            training.train(job, watch, fresh)
    except Interrupted as interrupt:
        console.print()
        console.print(
            f"stopped: what is done is kept in {job.out}; the same command goes on from there", soft_wrap=True
        )
        raise typer.Exit(interrupt.code) from None
    except TrainingStopped as error:
        console.print()
        console.print(str(error), soft_wrap=True)
        raise typer.Exit(1) from None
    if first:
        console.print(f"trained: {job.out / resolve_training.MODEL}", soft_wrap=True)


def _describe(job: resolve_training.TrainJob) -> None:
    facts = {
        "train on": f"{len(job.train)} instances of {job.train.card.title} {job.train.split}",
        "watch": f"{len(job.val)} instances of {job.val.card.title} {job.val.split}"
        + (": numbers are reported on this split" if "watched_reported" in job.metadata else ""),
        "params": job.metadata["params"],
        "training": job.metadata["training"],
        "starts from": ", ".join(f"{name} {path}" for name, path in job.starts.items()) or "nothing",
        "device": job.device,
        "out": f"{job.out} (config {job.metadata['config']})",
    }
    console.print(plain((job.preset.name, "bold"), "  (nothing is run or written)"))
    for name, value in facts.items():
        console.print(f"  {name:<12}{value}", soft_wrap=True)
