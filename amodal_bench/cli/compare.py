"""`compare`: runs against one another, paired by instance."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from rich import box
from rich.table import Table

from amodal_bench.cli import options as o
from amodal_bench.cli.bench import chosen_protocols
from amodal_bench.cli.console import plain
from amodal_bench.cli.progress import make_console
from amodal_bench.cli.show import tell_left_out
from amodal_bench.errors import Refused, UnknownName
from amodal_bench.metrics.compare import Comparison, compare, compare_all
from amodal_bench.metrics.protocol import Protocol
from amodal_bench.metrics.scores import DRAWS
from amodal_bench.resolve.locate import results_root
from amodal_bench.results.reading import nothing_left
from amodal_bench.store.folder import open_folder
from amodal_bench.tables.runs import RunBook, StoredRun

console = make_console()


def compare_(
    runs: Annotated[list[str], typer.Argument(metavar="A B [C...]", help="Folders of runs, or names of presets.")],
    dataset: Annotated[str | None, typer.Option("--dataset", "-d", help="Which dataset, for names.")] = None,
    split: o.Split = None,
    seed: Annotated[int | None, typer.Option(help="Which run, where a name has several seeds.")] = None,
    protocol: o.ProtocolName = None,
    buckets: o.Buckets = None,
    results: o.Results = None,
    draws: Annotated[int, typer.Option(help="Of the bootstrap and of the sign flips.")] = DRAWS,
) -> None:
    """Is A better than B? Differences with intervals and p, by bucket and category; more runs: every pair, Holm."""
    if len(runs) < 2:
        raise Refused(f"compare takes at least two runs, got {len(runs)}")
    if draws < 1:
        raise Refused(f"--draws takes a whole number from 1, got {draws}")
    chosen, left_out = _chosen(runs, results_root(results), dataset, split, seed)
    check_same_data(chosen)
    for each in chosen_protocols(protocol, buckets):
        if len(chosen) == 2:
            _show_two(chosen[0], chosen[1], compare(chosen[0].frame, chosen[1].frame, each, draws))
        else:
            _show_all({_label(run, chosen): run.frame for run in chosen}, each, draws)
    for run in chosen:
        if run.record["status"] != "complete":
            console.print(f"{run.name} is {run.record['status']}: only what it has is compared", style="yellow")
    tell_left_out(console, left_out)


def check_same_data(runs: Iterable[StoredRun]) -> None:
    """Raise `Refused` naming the field where two runs are of different data."""
    first, *others = runs
    for other in others:
        for name in ("dataset", "split", "fingerprint"):
            if first.spec[name] != other.spec[name]:
                raise Refused(
                    f"{first.key} and {other.key} differ in {name} ({first.spec[name]} and {other.spec[name]}): "
                    "runs are compared on the same annotations only; bench both on one"
                )


def _chosen(
    names: list[str], results: Path, dataset: str | None, split: str | None, seed: int | None
) -> tuple[list[StoredRun], list[str]]:
    """The runs that were named, and a line for each in the results folder that cannot be read."""
    book: RunBook | None = None
    chosen = []
    for name in names:
        if (Path(name) / "run.json").is_file():
            chosen.append(StoredRun.checked(open_folder(Path(name))))
            continue
        book = book or RunBook.open(results)
        chosen.append(_named(book, name, results, dataset, split, seed))
    if len({run.folder.path.absolute() for run in chosen}) < len(chosen):
        raise Refused(f"a run was named twice: {', '.join(names)}")
    return chosen, book.left_out if book else []


def _named(
    book: RunBook, name: str, results: Path, dataset: str | None, split: str | None, seed: int | None
) -> StoredRun:
    labels = {run.name for run in book.runs}
    if name not in labels:
        unknown = UnknownName(f"run (a folder with a run.json, or a method that was run under {results})", name, labels)
        raise nothing_left(str(unknown), book.left_out) if book.left_out else unknown
    found = [
        run
        for run in book.runs
        if run.name == name
        and dataset in (None, run.spec["dataset"])
        and split in (None, run.spec["split"])
        and seed in (None, run.spec["seed"])
    ]
    if len(found) == 1:
        return found[0]
    if not found:
        there = ", ".join(run.key for run in book.runs if run.name == name)
        raise Refused(f"no finished run of {name} on what was asked for; there are: {there}")
    listed = ", ".join(str(run.folder.path) for run in found)
    raise Refused(
        f"{len(found)} runs are called {name}: say which with --dataset, --split, --seed or a folder: {listed}"
    )


def _label(run: StoredRun, among: Iterable[StoredRun]) -> str:
    alike = [other for other in among if other.name == run.name]
    return run.name if len(alike) == 1 else f"{run.name} [{run.folder.path.name}]"


def _show_two(a: StoredRun, b: StoredRun, found: Comparison) -> None:
    names = [_label(run, (a, b)) for run in (a, b)]
    where = f" on {a.spec['dataset']}/{a.spec['split']}, protocol {found.protocol.id}, {found.n} instances of both"
    console.print()
    console.print(plain("A = ", (names[0], "bold"), ", B = ", (names[1], "bold"), where))
    for name, count in zip(names, (found.only_a, found.only_b), strict=True):
        if count:
            console.print(f"{count} instances are in {name} only and are left out", style="yellow")
    console.print(_table("", [], found.metrics))
    console.print(_table("by occlusion rate", ["rates"], found.buckets))
    if not found.categories.empty:
        console.print(_table("by category", ["category"], found.categories))
    console.print(_flips(found.flips))
    _note()


def _show_all(frames: dict[str, pd.DataFrame], protocol: Protocol, draws: int) -> None:
    console.print()
    console.print(f"every pair, protocol {protocol.id}")
    console.print(_table("", ["first", "second"], compare_all(frames, protocol, draws)))
    _note()


def _note() -> None:
    console.print(
        "A - B in points of percent, paired by instance; 95 % intervals and p (sign flips) over groups: image, "
        "or clip of a video. docs/statistics.md",
        style="dim",
        soft_wrap=True,
    )


def _table(title: str, labels: list[str], frame: pd.DataFrame) -> Table:
    table = Table(title=title or None, title_justify="left", title_style="", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in (*labels, "metric"):
        table.add_column(name, no_wrap=True)
    holm = ["p_holm"] if "p_holm" in frame else []
    for name in ("A", "B", "A - B", "p", *holm, "wins", "ties", "losses", "n"):
        table.add_column(name.replace("p_holm", "p (Holm)"), justify="right", no_wrap=True)
    for row in frame.to_dict("records"):
        gap = "-"
        if not math.isnan(row["difference"]):
            gap = f"{row['difference']:+.2f}" + (
                "" if math.isnan(row["low"]) else f" [{row['low']:+.2f}, {row['high']:+.2f}]"
            )
        table.add_row(
            *(str(row[name]) for name in labels), row["metric"], _number(row["a"]), _number(row["b"]), gap,
            *(_p(row[name]) for name in ("p", *holm)), *(str(row[name]) for name in ("wins", "ties", "losses", "n")),
        )  # fmt: skip
    return table


def _flips(frame: pd.DataFrame) -> Table:
    table = Table(
        title="largest differences", title_justify="left", title_style="", box=box.SIMPLE_HEAD, pad_edge=False
    )
    for name in ("id", "rate", "A", "B", "A - B"):
        table.add_column(name, justify="left" if name == "id" else "right", no_wrap=True)
    for row in frame.to_dict("records"):
        table.add_row(
            row["id"], f"{row['rate']:.2f}", _number(row["a"]), _number(row["b"]), f"{row['difference']:+.2f}"
        )
    return table


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"


def _p(value: float) -> str:
    return "-" if math.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"
