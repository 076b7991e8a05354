"""`report`: one page with everything, that opens from disk."""

from pathlib import Path
from typing import Annotated

import typer

from amodal_bench.cli import options as o
from amodal_bench.cli.progress import make_console
from amodal_bench.cli.show import tell_left_out
from amodal_bench.errors import Refused
from amodal_bench.files.names import own_folder
from amodal_bench.metrics.protocol import DEFAULT, find_protocol, protocols, split_protocols
from amodal_bench.metrics.scores import DRAWS
from amodal_bench.report.build import build
from amodal_bench.report.gallery import GallerySettings
from amodal_bench.resolve.locate import DataFlags, results_root


def report(
    results: o.Results = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of the report [RESULTS/report].")] = None,
    protocol: Annotated[
        str | None, typer.Option(help="Protocols, comma-separated; the page begins with the first [all].")
    ] = None,
    gallery: Annotated[int, typer.Option(metavar="N", help="Instances shown a dataset; 0: no gallery.")] = 60,
    draws: Annotated[int, typer.Option(help="Bootstrap draws of every interval.")] = DRAWS,
    data_root: o.DataRoot = None,
    root: o.Root = None,
    image_root: o.ImageRoot = None,
    plugin: o.Plugins = None,
) -> None:
    """Write results/report/index.html from all runs: tables, curves, pictures, comparisons, provenance, audit."""
    if gallery < 0 or draws < 0:
        raise Refused(f"--gallery and --draws take whole numbers from 0, got {gallery} and {draws}")
    console = make_console()
    folder = results_root(results)
    names = split_protocols(protocol) if protocol else [DEFAULT, *(p for p in protocols() if p != DEFAULT)]
    settings = GallerySettings(
        count=gallery,
        flags=DataFlags(data_root=data_root, root=root, image_root=image_root),
        plugins=o.none_if_empty(plugin),
    )
    written = build(
        folder,
        out or own_folder(folder, "report"),
        [find_protocol(name) for name in names],
        settings,
        draws,
        lambda text: console.print(text, style="dim"),
    )
    tell_left_out(console, written.left_out)
    for line in written.notes:
        console.print(f"note: {line}", style="yellow", soft_wrap=True)
    console.print(f"{written.runs} runs: {written.page}", soft_wrap=True)
