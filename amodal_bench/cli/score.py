"""`score`: runs under other protocols, from their counts alone."""

from pathlib import Path
from typing import Annotated

import typer

from amodal_bench.cli import options as o
from amodal_bench.cli.bench import chosen_protocols
from amodal_bench.cli.progress import make_console
from amodal_bench.cli.show import show
from amodal_bench.errors import Refused
from amodal_bench.store import RunFolder, find_runs, open_folder
from amodal_bench.summary import summarise


def score(
    run: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs, or one that holds runs.")],
    protocol: o.ProtocolName = None,
    buckets: o.Buckets = None,
) -> None:
    """Score finished runs under a protocol. Needs no dataset and no model."""
    protocols = chosen_protocols(protocol, buckets)
    folders = [folder for path in run for folder in _runs(path)]
    show(make_console(), [summarise(folder, p) for p in protocols for folder in folders])


def _runs(path: Path) -> list[RunFolder]:
    if (path / "run.json").is_file():
        return [open_folder(path)]
    below = list(find_runs(path)) if path.is_dir() else []
    if not below:
        raise Refused(f"{path} holds no run: name a folder results/DATASET/SPLIT/METHOD/KEY, or the results folder")
    return below
