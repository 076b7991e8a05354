"""`measure`: metrics of pixels, from the stored masks of finished runs and their dataset."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from amodal_bench.cli import options as o
from amodal_bench.cli.progress import make_console, reporter
from amodal_bench.errors import Incomplete, Refused
from amodal_bench.metrics.pixels import MEASURES
from amodal_bench.resolve.predicted_visible import absolute
from amodal_bench.results.measures.loop import measure as measure_run
from amodal_bench.results.verification.means import Means
from amodal_bench.running.interrupts import Interrupted, interruptible
from amodal_bench.store.folder import RunFolder, runs_below

console = make_console()
_KNOWN = "; ".join(f"{measure.name}: {measure.text}" for measure in MEASURES.values())


def measure(
    run: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs, or one that holds runs.")],
    metric: Annotated[str, typer.Option("--metric", metavar="NAME[,NAME]", help=_KNOWN)] = ",".join(MEASURES),
    data_root: o.DataRoot = None,
    root: o.Root = None,
    image_root: o.ImageRoot = None,
    visible: Annotated[
        str | None, typer.Option(metavar="predicted:FILE", help="Where the visible masks of the run lie now.")
    ] = None,
    plugin: o.Plugins = None,
    workers: Annotated[int | None, typer.Option(help="Processes [default: as many as pay].")] = None,
) -> None:
    """Measure what counts cannot give. Needs the dataset and never a model; a cut-off measure goes on."""
    if workers is not None and workers < 1:
        raise Refused(f"--workers takes a whole number from 1, got {workers}")
    names = o.split_list(metric, "metric")
    means = Means(
        plugins=tuple(path.absolute() for path in o.none_if_empty(plugin)),
        visible=absolute(visible) if visible else None,
        workers=workers,
        **o.absolute_all(data_root=data_root, root=root, image_root=image_root),
    )
    folders = [folder for path in run for folder in runs_below(path)]
    missing = [text for folder in folders if (text := _measured(folder, names, means, alone=len(folders) == 1))]
    if missing:
        raise Incomplete("\n".join(missing))


def _measured(folder: RunFolder, names: Sequence[str], means: Means, alone: bool) -> str:
    """Measure one run and print where it lies; what is lacking, or nothing. Of several, none stops the others."""
    try:
        with interruptible(), reporter(console, f"measure {folder.path.name}") as r:
            found = measure_run(folder, names, means, r)
    except Incomplete as error:
        return str(error)
    except Refused as error:
        if alone:
            raise
        return f"{folder.path}: {error}"
    except Interrupted as interrupt:
        raise typer.Exit(interrupt.code) from None
    for one in found:
        console.print(str(one.path), soft_wrap=True)
    return ""
