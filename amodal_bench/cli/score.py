"""`score`: runs under other protocols, from their counts alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from amodal_bench.cli import options as o
from amodal_bench.cli.bench import chosen_protocols
from amodal_bench.cli.progress import make_console
from amodal_bench.cli.show import show, tell_left_out
from amodal_bench.errors import Refused
from amodal_bench.metrics.protocol import Protocol
from amodal_bench.metrics.table import Metric, held
from amodal_bench.results.reading import nothing_left, readable
from amodal_bench.results.summary import Summary, summarise
from amodal_bench.store.folder import RunFolder, find_runs, open_folder


def score(
    run: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs, or one that holds runs.")],
    protocol: o.ProtocolName = None,
    buckets: o.Buckets = None,
    metrics: o.Metrics = None,
) -> None:
    """Score finished runs under a protocol. Needs no dataset and no model."""
    protocols = chosen_protocols(protocol, buckets)
    asked = o.chosen_metrics(metrics)
    for each in protocols:
        held(asked, each)
    scored: list[list[Summary]] = []
    left_out: list[str] = []
    for path in run:
        if (path / "run.json").is_file():
            scored.append(_scored(open_folder(path), protocols, asked))
        else:
            found, lines = readable(_below(path), lambda folder: _scored(folder, protocols, asked))
            scored += found
            left_out += lines
    if not scored:
        raise nothing_left("none of these runs can be read", left_out)
    console = make_console()
    show(console, [summaries[place] for place in range(len(protocols)) for summaries in scored])
    tell_left_out(console, left_out)


def _scored(folder: RunFolder, protocols: Sequence[Protocol], metrics: Sequence[Metric]) -> list[Summary]:
    return [summarise(folder, protocol, metrics) for protocol in protocols]


def _below(path: Path) -> list[RunFolder]:
    below = list(find_runs(path)) if path.is_dir() else []
    if not below:
        raise Refused(f"{path} holds no run: name a folder results/DATASET/SPLIT/METHOD/KEY, or the results folder")
    return below
