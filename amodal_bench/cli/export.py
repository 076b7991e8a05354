"""`export`: write a dataset in the official layout of another."""

from pathlib import Path
from typing import Annotated

import typer

from amodal_bench.cli import options as o
from amodal_bench.cli.progress import make_console, reporter
from amodal_bench.errors import Refused
from amodal_bench.funnel import Funnel
from amodal_bench.resolve.job import open_dataset
from amodal_bench.resolve.locate import DataFlags
from amodal_bench.resolve.presets import parse_changes
from amodal_bench.resolve.registry import Registry
from amodal_bench.running.export import TABLE, UNREADABLE, Export, export, find_format, prepare

console = make_console()


def export_(
    dataset: Annotated[str, typer.Argument(help="What to export.")],
    format_: Annotated[str, typer.Option("--format", help="The layout to write; docs/export.md lists them.")],
    out: Annotated[Path, typer.Option(help="A new or empty folder.")],
    split: o.Split = None,
    target_split: Annotated[str | None, typer.Option(help="Split to write (default: of the same name).")] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first N instances.")] = None,
    data_root: o.DataRoot = None,
    root: o.Root = None,
    image_root: o.ImageRoot = None,
    set_: o.Set = None,
    plugin: o.Plugins = None,
) -> None:
    """Write a dataset in the official layout of another, masks to the pixel."""
    registry = Registry(o.none_if_empty(plugin))
    params, options = parse_changes(set_ or [])
    if params:
        raise Refused(f"export runs no method; for the dataset: --set dataset.{next(iter(params))}=VALUE")
    found = find_format(format_, registry)
    flags = DataFlags(data_root=data_root, root=root, image_root=image_root)
    source, _, _ = open_dataset(dataset, registry, split, options, flags)
    job = prepare(source, found, out, registry, target_split, limit)
    with reporter(console, f"{dataset}/{source.split} as {format_}") as bar:
        funnel = export(job, bar)
    _report(job, funnel)
    if funnel.dropped[UNREADABLE]:
        raise typer.Exit(1)


def _report(job: Export, funnel: Funnel) -> None:
    card = job.layout.cls.card
    _say(f"{funnel.kept:,} of {funnel.read:,} instances written to {job.out} as {card.title}, split {job.split}")
    for reason, count in sorted(funnel.dropped.items()):
        _say(f"  left out {count:,}: {reason}")
    lost = [what for what, kept in (("categories", card.category), ("stuff", card.stuff)) if not kept]
    for text in filter(None, [card.remark, lost and f"this layout has no place for: {', '.join(lost)}"]):
        _say(f"  {text}")
    _say(f"ids, source and exported: {job.out / TABLE}")
    _say(f"check it: amodal-bench doctor {job.layout.dataset} --split {job.split} --root {job.out}")


def _say(text: str) -> None:
    console.print(text, soft_wrap=True)
