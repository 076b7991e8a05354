"""A grid of pictures: one instance a row; image, visible mask, predictions, truth, error maps across."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from amodal_bench.errors import RunDamaged
from amodal_bench.figures import pictures, style
from amodal_bench.figures.pick import Rule, choose
from amodal_bench.figures.source import SampleSource, readable_masks
from amodal_bench.metrics.protocol import Protocol
from amodal_bench.metrics.scores import by_instance
from amodal_bench.metrics.table import find_metric
from amodal_bench.results.finished import FinishedRun
from amodal_bench.types import Image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE = 300  # pixels of a picture
INCHES = 1.5  # its side on paper
DPI = 200


def scores(runs: Sequence[FinishedRun], protocol: Protocol, metric: str) -> pd.DataFrame:
    """id, rate and one column a run (percent), of the instances that all runs have; `a` and `b` are the first two."""
    column = find_metric(metric).column
    tables = [by_instance(run.instances, protocol, [metric]).set_index("id") for run in runs]
    columns = {run.label: 100 * table[column] for run, table in zip(runs, tables, strict=True)}
    joined = pd.concat([tables[0]["rate"], *(c.rename(name) for name, c in columns.items())], axis=1, join="inner")
    letters = dict(zip("ab", columns, strict=False))
    return joined.assign(**{letter: joined[name] for letter, name in letters.items()}).reset_index(names="id")


def grid_figure(
    runs: Sequence[FinishedRun],
    source: SampleSource,
    protocol: Protocol,
    metric: str,
    rules: Sequence[Rule],
    seed: int = 0,
    tell: Callable[[str], None] | None = None,
) -> "Figure":
    """Rows that the rules choose by the first run's score (`difference`: the first two).

    `tell` hears a line for each run that is left out because its predictions cannot be read; without it such a run
    is refused.
    """
    table = scores(runs, protocol, metric)
    ids = choose(rules, table, seed)
    masks, left_out = readable_masks(runs, ids)
    if left_out:
        if tell is None:
            raise RunDamaged(left_out[0])
        for reason in left_out:
            tell(reason)
        rest = [run for run in runs if run.label in masks]
        return grid_figure(rest, source, protocol, metric, rules, seed, tell)
    rows = table.set_index("id").loc[ids].to_dict("index")
    labels = [run.label for run in runs]
    count = 3 + 2 * len(runs)
    figure = style.new_figure(INCHES * count + 0.2, (INCHES + 0.3) * len(ids) + 0.6)
    axes = figure.subplots(len(ids), count, squeeze=False)
    for line, id in enumerate(ids):
        shown = pictures.panels(source.sample(id), {name: masks[name][id] for name in labels}, SIZE)
        values = {name: float(rows[id][name]) for name in labels}
        for column, (title, image, below) in enumerate(_cells(shown, values)):
            _show(axes[line, column], image, title if line == 0 else "", below)
        _caption(axes[line, 0], id, float(rows[id]["rate"]))
    _legend(figure)
    figure.suptitle(f"{style.words(runs[0].block)} · {metric} · {protocol.id}", fontsize=8, color="#555555")
    return figure


def _cells(shown: pictures.Panels, values: dict[str, float]) -> list[tuple[str, Image, str]]:
    """(heading, picture, line below) from left to right."""
    texts = {name: "undefined" if np.isnan(value) else f"IoU {value:.1f}" for name, value in values.items()}
    return [
        ("image", shown.image, ""),
        ("given: visible", shown.visible, ""),
        *((name, picture, texts[name]) for name, picture in shown.predicted.items()),
        ("truth", shown.truth, ""),
        *((f"errors: {name}", picture, "") for name, picture in shown.errors.items()),
    ]


def _show(axes: "Axes", image: Image, title: str, below: str) -> None:
    axes.imshow(image, interpolation="antialiased")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    if title:
        axes.set_title(style.words(title), fontsize=8)
    axes.set_xlabel(below, fontsize=7, labelpad=2)


def _caption(axes: "Axes", id: str, rate: float) -> None:
    short = "/".join(id.split("/")[2:])
    axes.set_xlabel(f"{style.words(short)}\n{100 * rate:.0f} % hidden", fontsize=6.5, labelpad=2)


def _legend(figure: "Figure") -> None:
    from matplotlib.patches import Patch

    handles = [Patch(facecolor="#{:02x}{:02x}{:02x}".format(*rgb), label=name) for name, rgb in pictures.ERRORS.items()]
    handles[-1].set(hatch="////", edgecolor="#783000", linewidth=0.5)
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=7, frameon=False)
