"""`compare`: runs against one another, paired by instance."""

from collections import Counter
from collections.abc import Sequence
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
from amodal_bench.metrics.table import Metric, find_metric
from amodal_bench.resolve.locate import results_root
from amodal_bench.results.data import unlike
from amodal_bench.results.finished import FinishedRun, open_run
from amodal_bench.results.select import RunQuery, Selection, nothing_left, results_runs
from amodal_bench.text.numbers import number, p_value, with_interval

console = make_console()


def compare_(
    runs: Annotated[list[str], typer.Argument(metavar="A B [C...]", help="Folders of runs, or names of presets.")],
    dataset: Annotated[str | None, typer.Option("--dataset", "-d", help="Which dataset, for names.")] = None,
    split: o.Split = None,
    seed: Annotated[int | None, typer.Option(help="Which run, where a name has several seeds.")] = None,
    protocol: o.ProtocolName = None,
    buckets: o.Buckets = None,
    metrics: o.Metrics = None,
    results: o.Results = None,
    draws: Annotated[int, typer.Option(help="Of the bootstrap and of the sign flips.")] = DRAWS,
) -> None:
    """Is A better than B? Differences with intervals and p, by bucket and category; more runs: every pair, Holm."""
    if len(runs) < 2:
        raise Refused(f"compare takes at least two runs, got {len(runs)}")
    if draws < 1:
        raise Refused(f"--draws takes a whole number from 1, got {draws}")
    asked = o.chosen_metrics(metrics)
    chosen, left_out = _chosen(runs, results_root(results), RunQuery(datasets=_one(dataset), split=split, seed=seed))
    check_same_data(chosen)
    frames = [run.having(asked) for run in chosen]
    for each in chosen_protocols(protocol, buckets):
        if len(chosen) == 2:
            _show_two(chosen[0], chosen[1], compare(frames[0], frames[1], each, draws, metrics=asked))
        else:
            _show_all(dict(zip([run.label for run in chosen], frames, strict=True)), each, draws, asked)
    for run in chosen:
        if run.flag:
            console.print(f"{run.label} is not complete ({run.flag}): only what it has is compared", style="yellow")
    tell_left_out(console, left_out)


def check_same_data(runs: Sequence[FinishedRun]) -> None:
    """Raise `Refused` naming what two runs' data differ in."""
    for other in runs[1:]:
        if difference := unlike(runs[0].data, other.data):
            raise Refused(
                f"{runs[0].address} and {other.address} differ in {difference}: runs are compared on the same "
                "instances only; bench both on one"
            )


def _one(name: str | None) -> list[str] | None:
    return [name] if name else None


def _chosen(names: list[str], results: Path, query: RunQuery) -> tuple[list[FinishedRun], list[str]]:
    """The runs that were named, and a line for each in the results folder that cannot be read."""
    book: Selection | None = None
    chosen = []
    for name in names:
        if (Path(name) / "run.json").is_file():
            chosen.append(open_run(name))
            continue
        book = book or results_runs(results)
        chosen.append(_named(book, name, results, query))
    if len({run.path.absolute() for run in chosen}) < len(chosen):
        raise Refused(f"a run was named twice: {', '.join(names)}")
    alike = Counter(run.name for run in chosen)
    labels = [run.name if alike[run.name] == 1 else f"{run.name} [{run.path.name}]" for run in chosen]
    told_apart = [run.called(label, run.block) for run, label in zip(chosen, labels, strict=True)]
    return told_apart, book.left_out if book else []


def _named(book: Selection, name: str, results: Path, query: RunQuery) -> FinishedRun:
    labels = {run.name for run in book.runs}
    if name not in labels:
        unknown = UnknownName(f"run (a folder with a run.json, or a method that was run under {results})", name, labels)
        raise nothing_left(unknown, book.left_out)
    found = [run for run in book.runs if run.name == name and query.matches(run)]
    if len(found) == 1:
        return found[0]
    if not found:
        there = ", ".join(run.address for run in book.runs if run.name == name)
        raise Refused(f"no finished run of {name} on what was asked for; there are: {there}")
    listed = ", ".join(str(run.path) for run in found)
    raise Refused(
        f"{len(found)} runs are called {name}: say which with --dataset, --split, --seed or a folder: {listed}"
    )


def _show_two(a: FinishedRun, b: FinishedRun, found: Comparison) -> None:
    names = [a.label, b.label]
    where = f" on {a.data.name}, protocol {found.protocol.id}, {found.n} instances of both"
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


def _show_all(frames: dict[str, pd.DataFrame], protocol: Protocol, draws: int, metrics: Sequence[Metric]) -> None:
    console.print()
    console.print(f"every pair, protocol {protocol.id}")
    console.print(_table("", ["first", "second"], compare_all(frames, protocol, draws, metrics=metrics)))
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
        gap = with_interval(row["difference"], row["low"], row["high"], signed=True)
        table.add_row(
            *(str(row[name]) for name in labels), _directed(row["metric"]), number(row["a"]), number(row["b"]), gap,
            *(p_value(row[name]) for name in ("p", *holm)),
            *(str(row[name]) for name in ("wins", "ties", "losses", "n")),
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
            row["id"], number(row["rate"]), number(row["a"]), number(row["b"]), number(row["difference"], signed=True)
        )
    return table


def _directed(metric: str) -> str:
    """The metric, marked where less is better."""
    return metric if find_metric(metric).higher_is_better else f"{metric} ↓"
