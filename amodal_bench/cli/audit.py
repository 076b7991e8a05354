"""`audit`: what published tables compare that is not like for like, and what a protocol is worth on a run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table

from amodal_bench.cli.console import plain
from amodal_bench.cli.progress import make_console
from amodal_bench.results.finished import FinishedRun, open_run
from amodal_bench.tables.audit import AuditFinding, findings, spread
from amodal_bench.tables.render import escape_markdown
from amodal_bench.text.numbers import with_interval

console = make_console()


def audit(
    run: Annotated[
        Path | None, typer.Argument(metavar="[RUN]", help="Folder of a run: the same predictions under every protocol.")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="The published findings as a Markdown table.")] = False,
) -> None:
    """Without RUN: the published tables, from facts. With RUN: its predictions under every protocol."""
    if markdown:
        typer.echo(to_markdown(findings()), nl=False)
    elif run is None:
        _published()
    else:
        _run(open_run(run))


def to_markdown(found: Sequence[AuditFinding]) -> str:
    """Findings as a pipe table."""
    lines = ["| table | kind | points | finding |", "| --- | --- | ---: | --- |"]
    for f in found:
        points = "" if f.points is None else f"{f.points:+.2f}"
        lines.append(f"| {f.table} | {f.kind} | {points} | {escape_markdown(f.text)} |")
    return "\n".join(lines) + "\n"


def _published() -> None:
    found = findings()
    for table in dict.fromkeys(finding.table for finding in found):
        console.print()
        console.print(table, style="bold")
        grid = Table(box=None, show_header=False, pad_edge=False)
        grid.add_column(no_wrap=True)
        grid.add_column(justify="right", no_wrap=True)
        grid.add_column(overflow="fold")
        for finding in (f for f in found if f.table == table):
            points = "" if finding.points is None else f"{finding.points:+.2f}"
            grid.add_row(plain((finding.kind, "bold")), points, finding.text)
        console.print(grid)
    console.print()
    console.print(
        "points of percent; computed from the printed values in configs/tables; what each kind means and how "
        "it is known: docs/audit.md",
        style="dim",
        soft_wrap=True,
    )


def _run(run: FinishedRun) -> None:
    table = spread(run.instances)
    title = f"{run.name} on {run.data.name}: the same predictions under every protocol"
    grid = Table(title=title, title_justify="left", title_style="", box=box.SIMPLE_HEAD)
    for name in ("protocol", "mIoU_full ↑", "n", "mIoU_inv ↑", "n", "what"):
        grid.add_column(name, justify="right" if name not in ("protocol", "what") else "left", no_wrap=name != "what")
    for row in table.to_dict("records"):
        cells = [
            text
            for metric in ("mIoU_full", "mIoU_inv")
            for text in (
                with_interval(row[metric], row[f"{metric}_low"], row[f"{metric}_high"]),
                str(row[f"{metric}_n"]),
            )
        ]
        grid.add_row(row["protocol"], *cells, row["title"])
    console.print(grid)
    for metric in ("mIoU_full", "mIoU_inv"):
        values = table.set_index("protocol")[metric].dropna()
        if len(values):
            console.print(
                f"{metric}: {values.max() - values.min():.2f} points between {values.idxmin()} and {values.idxmax()} "
                "without a change of the predictions",
                soft_wrap=True,
            )
    if run.flag:
        console.print(f"the run is not complete ({run.flag}): these are the numbers of what it has", style="yellow")
