"""`score`: runs under other protocols, from their counts alone."""

from pathlib import Path
from typing import Annotated

import typer

from amodal_bench.cli import options as o
from amodal_bench.cli.bench import chosen_protocols
from amodal_bench.cli.progress import make_console
from amodal_bench.cli.show import show_runs, tell_left_out
from amodal_bench.metrics.table import held
from amodal_bench.results.select import open_runs


def score(
    run: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs, or folders above runs.")],
    protocol: o.ProtocolName = None,
    buckets: o.Buckets = None,
    metrics: o.Metrics = None,
) -> None:
    """Score finished runs under a protocol. Needs no dataset and no model."""
    protocols = chosen_protocols(protocol, buckets)
    asked = o.chosen_metrics(metrics)
    for each in protocols:
        held(asked, each)
    found = open_runs(run)
    console = make_console()
    show_runs(console, found.runs, protocols, asked)
    tell_left_out(console, found.left_out)
