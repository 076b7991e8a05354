"""`figure`: curves, scatters, bars and grids of pictures from finished runs."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from amodal_bench.cli import options as o
from amodal_bench.cli.progress import make_console
from amodal_bench.cli.show import tell_left_out
from amodal_bench.errors import Refused
from amodal_bench.figures import style
from amodal_bench.figures.bars import bar_figure
from amodal_bench.figures.curves import TENTHS, curve_figure
from amodal_bench.figures.grid import DPI, grid_figure
from amodal_bench.figures.pick import Rule, parse_rules
from amodal_bench.figures.scatter import scatter_figure
from amodal_bench.figures.source import open_first
from amodal_bench.files.names import file_name, own_folder
from amodal_bench.metrics.protocol import DEFAULT, Protocol, find_protocol, with_buckets
from amodal_bench.metrics.table import find_metrics, held, names
from amodal_bench.resolve.locate import DataFlags, results_root
from amodal_bench.results.finished import FinishedRun, open_run
from amodal_bench.results.select import (
    RunQuery,
    Selection,
    by_data,
    labelled,
    nothing_left,
    results_runs,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class FigureKind(StrEnum):
    """What to draw."""

    curve = "curve"
    scatter = "scatter"
    bars = "bars"
    grid = "grid"


def figure(
    kind: Annotated[FigureKind, typer.Argument(help="curve, scatter, bars or grid.")],
    method: Annotated[str | None, typer.Option("--method", "-m", metavar="M[,M]", help="Runs of these.")] = None,
    dataset: Annotated[str | None, typer.Option("--dataset", "-d", metavar="D[,D]", help="Runs on these.")] = None,
    split: Annotated[str | None, typer.Option(help="Runs on this split only.")] = None,
    run: Annotated[list[Path] | None, typer.Option("--run", metavar="RUN", help="Just these folders of runs.")] = None,
    protocol: Annotated[str, typer.Option(help="One protocol.")] = DEFAULT,
    buckets: o.Buckets = None,
    metric: Annotated[str | None, typer.Option(help=f"One of {', '.join(names())} [default: the mIoUs].")] = None,
    rows: Annotated[
        str, typer.Option(metavar="worst:K|best:K|median:K|random:K|difference:K|ID,...", help="Rows of a grid.")
    ] = "worst:3,median:2,best:1",
    seed: Annotated[int, typer.Option(help="Of random rows.")] = 0,
    data_root: o.DataRoot = None,
    root: o.Root = None,
    image_root: o.ImageRoot = None,
    plugin: o.Plugins = None,
    results: o.Results = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Without a suffix: .png and .pdf [RESULTS/report/figures/...].")
    ] = None,
) -> None:
    """Draw finished runs. Needs no model; only `grid` needs the dataset's files."""
    chosen = _protocol(kind, protocol, buckets)
    query = RunQuery(
        methods=o.split_list(method, "method") if method else None,
        datasets=o.split_list(dataset, "dataset") if dataset else None,
        split=split,
    )
    folder = results_root(results)
    found = Selection([open_run(path) for path in run]) if run else _of_results(folder).select(query)
    request = FigureRequest(
        kind=kind,
        protocol=chosen,
        metrics=_metrics(chosen, metric),
        rules=parse_rules(rows),
        seed=seed,
        flags=DataFlags(data_root=data_root, root=root, image_root=image_root),
        plugins=o.none_if_empty(plugin),
    )
    _draw(request, folder, found, out, metric, named=bool(run))


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureRequest:
    """What to draw of a block of runs, and how."""

    kind: FigureKind
    protocol: Protocol
    metrics: list[str]
    rules: list[Rule]
    seed: int
    flags: DataFlags
    plugins: tuple[Path, ...]

    def draw(self, block: Sequence[FinishedRun], tell: Callable[[str], None] | None) -> "Figure":
        """The figure of these runs; raises `Refused` where they do not fit the kind. `tell`: see `grid_figure`."""
        if self.kind is FigureKind.curve:
            return curve_figure(block, self.protocol, self.metrics)
        if self.kind is FigureKind.bars:
            return bar_figure(block, self.protocol, self.metrics)
        if self.kind is FigureKind.scatter:
            return scatter_figure(*_two(block), self.protocol, self.metrics[0])
        source = open_first(block, self.flags, self.plugins)
        return grid_figure(block, source, self.protocol, self.metrics[0], self.rules, self.seed, tell)


def _of_results(results: Path) -> Selection:
    """The runs of a results folder; raises `Refused` where it has none."""
    found = results_runs(results)
    if found.runs:
        return found
    text = f"{results} holds no run yet: `amodal-bench bench` makes some (or name their folder: --results DIR)"
    raise nothing_left(text, found.left_out)


def _draw(
    request: FigureRequest, results: Path, found: Selection, out: Path | None, metric: str | None, named: bool
) -> None:
    """One figure a data block (bars: one of all), and the names of the files that were written.

    Where the runs themselves were `named`, none is left out of a grid.
    """
    if out:
        style.targets(out)
    asked = find_metrics(request.metrics)
    runs, left_out = [run.with_columns_of(asked) for run in labelled(found.runs)], list(found.left_out)
    blocks = {"": runs} if request.kind is FigureKind.bars else by_data(runs)
    if out and len(blocks) > 1:
        raise Refused(f"--out names one figure, these runs make {len(blocks)} ({', '.join(blocks)}): add --dataset")
    console = make_console()
    tell = None if named else left_out.append
    targets = _paths(
        request.kind, blocks, metric, out, own_folder(results, "report/figures") if out is None else results
    )
    for target, block in zip(targets, blocks.values(), strict=True):
        for saved in style.save(request.draw(block, tell), target, DPI if request.kind is FigureKind.grid else 300):
            console.print(str(saved), soft_wrap=True)
    tell_left_out(console, left_out)


def _paths(kind: FigureKind, data: Iterable[str], metric: str | None, out: Path | None, folder: Path) -> Iterator[Path]:
    """Where each block's figure goes, without a suffix unless `out` has one; no two are called alike."""
    taken: set[str] = set()
    for name in data:
        plain = file_name("-".join(filter(None, [kind.value, file_name(name) if name else "", metric])))
        while plain in taken:
            plain = f"{plain}-2"
        taken.add(plain)
        yield out or folder / plain.replace(".", "_")  # what stands behind a dot is the kind of file


def _protocol(kind: FigureKind, name: str, buckets: str | None) -> Protocol:
    protocol = find_protocol(name)
    text = buckets or (TENTHS if kind is FigureKind.curve else None)
    return with_buckets(protocol, text) if text else protocol


def _metrics(protocol: Protocol, metric: str | None) -> list[str]:
    """The metrics to draw; raises `UnknownName`, or `Refused` where the protocol has it not."""
    asked = find_metrics([metric] if metric else None)
    return [metric.name for metric in held(asked, protocol)]


def _two(block: Sequence[FinishedRun]) -> tuple[FinishedRun, FinishedRun]:
    if len(block) != 2:
        names = ", ".join(run.label for run in block)
        raise Refused(f"a scatter takes two runs of one dataset, got {len(block)} ({names}): --method A,B or --run")
    return block[0], block[1]
