"""Two methods instance by instance: above the diagonal the second one is better."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from amodal_bench.errors import Refused
from amodal_bench.figures import style
from amodal_bench.metrics.protocol import Protocol
from amodal_bench.metrics.scores import by_instance
from amodal_bench.metrics.table import Metric, find_metric
from amodal_bench.results.finished import FinishedRun

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MANY = 20_000  # from here on density, not dots


def paired(a: FinishedRun, b: FinishedRun, protocol: Protocol, metric: str) -> pd.DataFrame:
    """id, rate, `a` and `b` in percent, of the instances that both define; raises `Refused` where there is none."""
    column = find_metric(metric).column
    left, right = (by_instance(run.instances, protocol, [metric]).set_index("id") for run in (a, b))
    both = pd.DataFrame({"rate": left["rate"], "a": 100 * left[column], "b": 100 * right[column]}).dropna()
    if both.empty:
        raise Refused(f"{a.label} and {b.label} have no instance in common that {protocol.id} scores for {metric}")
    return both.reset_index(names="id")


def scatter_figure(a: FinishedRun, b: FinishedRun, protocol: Protocol, metric: str) -> "Figure":
    """A metric of A across, of B upwards, one dot an instance coloured by occlusion rate; density for very many."""
    table = paired(a, b, protocol, metric)
    figure = style.new_figure(5.2, 4.6)
    axes = figure.subplots()
    style.tidy(axes)
    axes.plot([0, 100], [0, 100], color="#777777", linewidth=0.9, linestyle="--", zorder=3)
    if len(table) > MANY:
        drawn = axes.hexbin(table["a"], table["b"], gridsize=60, bins="log", cmap="cividis_r", mincnt=1)
        figure.colorbar(drawn, ax=axes, label="instances", shrink=0.8)
    else:
        _dots(figure, axes, table)
    axes.set(xlim=(-2, 102), ylim=(-2, 102), aspect="equal")
    axes.set_xlabel(_axis(a.label, table["a"], table["b"], find_metric(metric)))
    axes.set_ylabel(_axis(b.label, table["b"], table["a"], find_metric(metric)))
    axes.set_title(
        f"{style.words(a.block)} · {metric} · {protocol.id} · n = {len(table):,}", fontsize=9, color="#555555"
    )
    return figure


def _dots(figure: "Figure", axes: "Axes", table: pd.DataFrame) -> None:
    size = float(np.clip(4000 / len(table), 3, 22))
    drawn = axes.scatter(
        table["a"], table["b"], c=table["rate"], s=size, cmap="cividis", vmin=0, vmax=1, alpha=0.8, linewidths=0
    )
    bar = figure.colorbar(drawn, ax=axes, label="occlusion rate", shrink=0.8)
    bar.solids.set_alpha(1)  # type: ignore[union-attr]


def _axis(label: str, mine: pd.Series, other: pd.Series, metric: Metric) -> str:
    better = mine > other if metric.higher_is_better else mine < other
    what = "IoU" if metric.headline else metric.name
    return f"{style.words(label)}: {what} (%)\nmean {mine.mean():.1f}, better in {100 * float(better.mean()):.0f} %"
