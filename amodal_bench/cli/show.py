"""Summaries as tables in the terminal."""

import math
from collections.abc import Iterable, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from amodal_bench.cli.console import PlainConsole, plain
from amodal_bench.metrics.protocol import Protocol
from amodal_bench.metrics.table import Metric
from amodal_bench.results.data import Data, block_names
from amodal_bench.results.finished import FinishedRun
from amodal_bench.results.rank import Rank, ranks
from amodal_bench.results.seeds import mean_and_spread, to_average
from amodal_bench.results.summary import Summary, summarise
from amodal_bench.text.numbers import DIGITS, number
from amodal_bench.text.numbers import interval as band_of


def show_runs(
    console: PlainConsole,
    runs: Sequence[FinishedRun],
    protocols: Sequence[Protocol],
    metrics: Sequence[Metric] | None = None,
) -> None:
    """The comparison, the buckets and where the runs lie.

    One block holds what may be compared: the same instances (split, options, fingerprint) and protocol.
    """
    summaries = [summarise(run, protocol, metrics) for protocol in protocols for run in runs]
    blocks: dict[tuple[Data, str], list[Summary]] = {}
    for summary in summaries:
        blocks.setdefault((summary.run.data, summary.protocol.id), []).append(summary)
    names = block_names(summary.run.data for summary in summaries)
    for (data, _), block in blocks.items():
        console.print()
        console.print(_comparison(names[data], block))
        console.print(_buckets(block))
        _notes(console, block)
    for run in runs:
        console.print(plain((f"{run.name}:", "dim"), f" {run.path}"), soft_wrap=True)


def tell_left_out(console: PlainConsole, lines: Iterable[str]) -> None:
    """A line for each run that is not shown, and why."""
    for line in lines:
        console.print(f"left out: {line}", style="yellow", soft_wrap=True)


def _comparison(title: str, block: Sequence[Summary]) -> Table:
    protocol = block[0].protocol
    metrics = block[0].metrics
    first = metrics[0]
    table = _table(plain((title, "bold"), f"  protocol {protocol.id}: {protocol.title}"), "method")
    for name in (
        *(f"{metric.name} {metric.arrow}" for metric in metrics),
        *(f"{first.name} {interval} {first.arrow}" for interval in protocol.subsets),
        "n",
        "n_occluded",
        *(["n_unmatched"] if any(summary.n_unmatched for summary in block) else []),
        "n_error",
        "s/instance",
    ):
        table.add_column(name, justify="right", no_wrap=True)
    ranked = {metric: _ranked(block, metric) for metric in metrics}
    several = len({summary.run.seed for summary in block}) > 1
    for index, summary in enumerate(block):
        run = summary.run
        name = f"{run.name} (seed {run.seed})" if several else run.name
        table.add_row(
            name + (f" {run.state}" if run.state in ("partial", "running") else ""),
            *(_cell(summary, metric.name, bold=ranked[metric][index] == "best") for metric in metrics),
            *(_cell(summary, first.name, "range", str(interval)) for interval in protocol.subsets),
            str(summary.n),
            str(summary.n_occluded),
            *([str(summary.n_unmatched)] if any(s.n_unmatched for s in block) else []),
            plain((str(run.n_error), "red" if run.n_error else "")),
            "-" if math.isnan(run.seconds) else f"{run.seconds:.2g}",
        )
    if several:
        _add_spread(table, block)
    return table


def _table(title: str | Text, first: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(first, no_wrap=True)
    return table


def _add_spread(table: Table, block: Sequence[Summary]) -> None:
    table.add_section()
    for name in dict.fromkeys(summary.run.name for summary in block):
        kept = to_average([summary.run for summary in block if summary.run.name == name]).runs
        rows = [[s.value(metric.name) for s in block if s.run in kept] for metric in block[0].metrics]
        cells = ["{:.2f} ± {:.2f}".format(*mean_and_spread(r["value"] for r in row if r is not None)) for row in rows]
        table.add_row(f"{name}, mean ± sd of {len(kept)} seeds", *cells)


def _ranked(block: Sequence[Summary], metric: Metric) -> list[Rank]:
    """Of whole runs without errors, and only among several."""
    rows = [summary.value(metric.name) for summary in block]
    values = [math.nan if row is None else metric.sign * float(row["value"]) for row in rows]
    classes = ["" if summary.run.ranked else None for summary in block]
    return ranks(list(zip(classes, values, strict=True)), DIGITS)


def _cell(summary: Summary, metric: str, subset: str = "all", rates: str = "", *, bold: bool = False) -> Text:
    row = summary.value(metric, subset, rates)
    if row is None or math.isnan(row["value"]):
        return plain("-")
    band = band_of(row["low"], row["high"])
    return plain((number(row["value"]), "bold" if bold else ""), (f" {band}" if band else "", "dim"))


def _buckets(block: Sequence[Summary]) -> Table:
    table = _table("by occlusion rate (hidden / amodal)", "rate")
    table.add_column("n", justify="right")
    metrics = [metric for metric in block[0].metrics if metric.within(block[0].protocol)]
    for summary in block:
        for metric in metrics:
            table.add_column(plain(summary.run.name, f"{metric.name} {metric.arrow}", sep="\n"), justify="right")
    for interval in block[0].protocol.buckets:
        first = block[0].value(metrics[0].name, "bucket", str(interval))
        cells = [_cell(s, metric.name, "bucket", str(interval)) for s in block for metric in metrics]
        table.add_row(
            str(interval),
            str(0 if first is None else first["n"]),
            *(cell.plain.split(" ")[0] for cell in cells),
        )
    return table


def _notes(console: PlainConsole, block: Sequence[Summary]) -> None:
    console.print(
        "percent; in brackets 95 % intervals, bootstrap over groups (image, or clip of a video)",
        style="dim",
    )
    runs = [summary.run for summary in block]
    if fractions := _shares(runs, "partial"):
        console.print(
            f"partial: a hash-ordered subset of the split ({fractions}); not a result, not ranked", style="yellow"
        )
    if fractions := _shares(runs, "running"):
        text = f"running: what an earlier command left ({fractions}); one is at work or was killed; not ranked"
        console.print(text, style="yellow")
    for name in dict.fromkeys(run.name for run in runs):
        if left_out := to_average([run for run in runs if run.name == name]).left_out:
            console.print(left_out, style="yellow")
    for run in runs:
        if run.other_data:
            console.print(f"{run.name}: {run.other_data}", style="yellow")
            break
    if any(run.n_error for run in runs):
        console.print(
            "instances with errors are left out and the run is not ranked; the same command tries again",
            style="red",
        )
    if any(summary.n_unmatched for summary in block):
        scored = block[0].protocol.unmatched == "zero"
        rule = "score 0" if scored else "are left out (--protocol end-to-end scores them 0)"
        console.print(f"n_unmatched instances were given no visible mask; by this protocol they {rule}", style="yellow")
    tiny = max(summary.tiny for summary in block)
    if tiny >= 0.01:
        console.print(
            f"{100 * tiny:.0f} % of the occluded instances hide less than 1 % (--protocol with min_hidden)",
            style="dim",
        )


def _shares(runs: Sequence[FinishedRun], state: str) -> str:
    shown = [run for run in runs if run.state == state]
    return ", ".join(f"{run.name} {run.n_finished + run.n_error} of {run.planned}" for run in shown)
