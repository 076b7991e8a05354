"""The command line: a thin layer over the library. Exit codes: 0 done, 1 rows failed or missing, 2 refused."""

import logging
import sys

import typer
from rich.console import Console

from amodal_bench.cli import (
    audit,
    bench,
    catalogue,
    compare,
    doctor,
    export,
    export_run,
    figure,
    report,
    score,
    tables,
    train,
)
from amodal_bench.errors import Incomplete, Refused

app = typer.Typer(
    name="amodal-bench",
    help="Every amodal-segmentation method on every amodal dataset under every published protocol.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("list")(catalogue.list_)
app.command()(doctor.doctor)
app.command()(bench.bench)
app.command()(score.score)
app.command()(bench.worker)
app.command()(train.train)
app.command("export")(export.export_)
app.command()(report.report)
app.command()(figure.figure)
app.command()(tables.tables)
app.command()(tables.table)
app.command("compare")(compare.compare_)
app.command()(audit.audit)
app.command("export-run")(export_run.export_run)


def main() -> None:
    """Entry point of `amodal-bench`."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    errors = Console(stderr=True, soft_wrap=True, highlight=False)
    try:
        app()
    except Refused as error:
        errors.print(f"amodal-bench: {error}", markup=False)
        sys.exit(2)
    except OSError as error:
        errors.print(f"amodal-bench: cannot read or write {error.filename}: {error.strerror}", markup=False)
        sys.exit(2)
    except Incomplete as error:
        errors.print(f"amodal-bench: {error}", markup=False)
        sys.exit(1)
