"""`export-run`: a run in the forms that other tools read, with COCO's AP and AR if asked."""

from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table

from amodal_bench.cli import options as o
from amodal_bench.cli.progress import make_console
from amodal_bench.errors import Refused
from amodal_bench.files.cache import write_atomic
from amodal_bench.metrics.protocol import DEFAULT, find_protocol
from amodal_bench.results.coco_results import average_precision, coco_results, csv_rows, has_scores, lines, write_json
from amodal_bench.results.finished import FinishedRun, open_run

console = make_console()
FORMATS = ("coco", "csv")


def export_run(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Where to write it.")] = None,
    format_: Annotated[str, typer.Option("--format", help="coco (results JSON) or csv (a row an instance).")] = "coco",
    ap: Annotated[bool, typer.Option("--ap", help="Print COCO's AP and AR, by occlusion too.")] = False,
    protocol: o.ProtocolName = None,
) -> None:
    """Write a run as COCO results or CSV, and print its AP and AR. Needs no dataset."""
    if format_ not in FORMATS:
        raise Refused(f"--format takes {' or '.join(FORMATS)}, got {format_!r}")
    if out is None and not ap:
        raise Refused("nothing to do: give --out FILE, or --ap, or both")
    opened = open_run(run)
    if out is not None:
        _write(opened, out, format_, protocol or DEFAULT)
    if ap:
        _averages(opened)


def _write(run: FinishedRun, out: Path, format_: str, protocol: str) -> None:
    rows = run.rows
    if format_ == "coco":
        text = write_json(coco_results(rows, run.folder.predictions()))
    else:
        text = csv_rows(rows, find_protocol(protocol))
    out.absolute().parent.mkdir(parents=True, exist_ok=True)
    write_atomic(out.absolute(), text.encode())
    failed = run.n_error
    left_out = f" ({failed} with errors {'left out' if format_ == 'coco' else 'without scores'})" if failed else ""
    console.print(f"{run.n_finished} instances{left_out}: {out}", soft_wrap=True)
    if run.flag:
        console.print(f"the run is not complete ({run.flag})", style="yellow")


def _averages(run: FinishedRun) -> None:
    rows = run.rows
    table = Table(
        title=f"{run.path}, one pseudo category",
        title_justify="left",
        title_style="",
        box=box.SIMPLE_HEAD,
    )
    for name in ("occlusion rate", "n", "AP ↑", "AP50 ↑", "AP75 ↑", "AR ↑"):
        table.add_column(name, justify="left" if name == "occlusion rate" else "right", no_wrap=True)
    for line in lines(average_precision(rows)):
        table.add_row(*line)
    console.print(table)
    if not has_scores(rows):
        console.print(
            "the method gives no scores: all count as 1, so AP ranks nothing and is no more than a share of matches",
            style="yellow",
            soft_wrap=True,
        )
