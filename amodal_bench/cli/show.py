"""Summaries as tables in the terminal."""

import math
from collections.abc import Iterable, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from amodal_bench.cli.console import PlainConsole, plain
from amodal_bench.metrics.table import Metric
from amodal_bench.results.summary import Summary, over_seeds


def show(console: PlainConsole, summaries: Sequence[Summary]) -> None:
    """The comparison, the buckets and where the runs lie.

    One block holds what may be compared: the same instances (split, options, fingerprint) and protocol.
    """
    blocks: dict[tuple[str, str], list[Summary]] = {}
    for summary in summaries:
        blocks.setdefault((summary.data, summary.protocol.id), []).append(summary)
    data = {summary.data for summary in summaries}
    for block in blocks.values():
        first = block[0]
        alike = [name for name in data if name.startswith(f"{first.dataset}/{first.split} ")]
        console.print()
        console.print(_comparison(first.data if len(alike) > 1 else f"{first.dataset}/{first.split}", block))
        console.print(_buckets(block))
        _notes(console, block)
    for summary in {s.folder.path: s for s in summaries}.values():
        console.print(plain((f"{summary.name}:", "dim"), f" {summary.folder.path}"), soft_wrap=True)


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
    best = {metric: _best(block, metric) for metric in metrics}
    several = len({summary.seed for summary in block}) > 1
    for summary in block:
        name = f"{summary.name} (seed {summary.seed})" if several else summary.name
        table.add_row(
            name + (" partial" if summary.partial else ""),
            *(_cell(summary, metric.name, bold=summary is best[metric]) for metric in metrics),
            *(_cell(summary, first.name, "range", str(interval)) for interval in protocol.subsets),
            str(summary.n),
            str(summary.n_occluded),
            *([str(summary.n_unmatched)] if any(s.n_unmatched for s in block) else []),
            plain((str(summary.n_error), "red" if summary.n_error else "")),
            "-" if math.isnan(summary.seconds) else f"{summary.seconds:.2g}",
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
    for name in dict.fromkeys(summary.name for summary in block):
        runs = [summary for summary in block if summary.name == name]
        cells = ["{:.2f} ± {:.2f}".format(*over_seeds(runs, metric.name)) for metric in runs[0].metrics]
        table.add_row(f"{name}, mean ± sd of {len(runs)} seeds", *cells)


def _best(block: Sequence[Summary], metric: Metric) -> Summary | None:
    """The best of what may be ranked: whole runs without errors, and only among several."""
    ranked = [(s, row["value"]) for s in block if s.status == "complete" and (row := s.value(metric.name)) is not None]
    ranked = [(s, value if metric.higher_is_better else -value) for s, value in ranked if not math.isnan(value)]
    return max(ranked, key=lambda pair: pair[1])[0] if len(ranked) > 1 else None


def _cell(summary: Summary, metric: str, subset: str = "all", rates: str = "", *, bold: bool = False) -> Text:
    row = summary.value(metric, subset, rates)
    if row is None or math.isnan(row["value"]):
        return plain("-")
    interval = "" if math.isnan(row["low"]) else f" [{row['low']:.2f}, {row['high']:.2f}]"
    return plain((f"{row['value']:.2f}", "bold" if bold else ""), (interval, "dim"))


def _buckets(block: Sequence[Summary]) -> Table:
    table = _table("by occlusion rate (hidden / amodal)", "rate")
    table.add_column("n", justify="right")
    metrics = [metric for metric in block[0].metrics if metric.within(block[0].protocol)]
    for summary in block:
        for metric in metrics:
            table.add_column(plain(summary.name, f"{metric.name} {metric.arrow}", sep="\n"), justify="right")
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
    if any(summary.partial for summary in block):
        shares = ", ".join(f"{s.name} {s.finished + s.n_error} of {s.planned}" for s in block if s.partial)
        console.print(
            f"partial: a hash-ordered subset of the split ({shares}); not a result, not ranked",
            style="yellow",
        )
    if any(summary.n_error for summary in block):
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
