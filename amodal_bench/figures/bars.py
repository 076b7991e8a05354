"""Bars per dataset, one a method, with 95 % intervals."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from amodal_bench.figures import style
from amodal_bench.metrics.protocol import Protocol
from amodal_bench.metrics.scores import metrics
from amodal_bench.results.finished import FinishedRun
from amodal_bench.results.select import by_data

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def bar_figure(runs: Sequence[FinishedRun], protocol: Protocol, names: Sequence[str]) -> "Figure":
    """One panel a metric, one group of bars a data block, one colour a method."""
    blocks = by_data(runs)
    methods = list(dict.fromkeys(run.label for run in runs))
    most = sum(len(block) for block in blocks.values())
    figure = style.new_figure(max(4.5, 1.2 + 0.62 * most + 0.4 * len(blocks)), 2.6 * len(names) + 0.7)
    panels = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
    tables = {run: metrics(run.instances, protocol, metrics=names) for run in runs}
    for axes, name in zip(panels, names, strict=True):
        style.tidy(axes)
        axes.grid(False, axis="x")
        for group, block in enumerate(blocks.values()):
            for index, run in enumerate(block):
                at = group + (index - (len(block) - 1) / 2) * 0.8 / len(block)
                _bar(axes, at, 0.72 / len(block), tables[run], name, methods.index(run.label), run)
        axes.set_ylabel(f"{name} (%)")
        axes.set_ylim(0, 109)
    panels[-1].set_xticks(range(len(blocks)), [style.words(name) for name in blocks])
    handles = [_patch(style.colour(index), style.words(method)) for index, method in enumerate(methods)]
    figure.legend(handles=handles, loc="outside upper center", ncols=min(4, len(methods)), frameon=False)
    figure.supxlabel(
        f"{protocol.id}; lines: 95 % intervals; hatched: partial or with errors", fontsize=8, color="#555555"
    )
    return figure


def _bar(axes: "Axes", at: float, width: float, table: pd.DataFrame, name: str, method: int, run: FinishedRun) -> None:
    row = table[(table["metric"] == name) & (table["subset"] == "all")].iloc[0]
    if np.isnan(row["value"]):
        axes.text(at, 1, "none", ha="center", fontsize=7, rotation=90, color="#555555")
        return
    hatch = None if run.ranked else "///"
    axes.bar(at, row["value"], width=width, color=style.colour(method), hatch=hatch, edgecolor="white")
    top = row["value"]
    if not np.isnan(row["low"]):
        axes.plot([at, at], [row["low"], row["high"]], color="#222222", linewidth=1.1)
        top = row["high"]
    axes.text(at, top + 1, f"{row['value']:.1f}", ha="center", va="bottom", fontsize=7)


def _patch(colour: str, label: str) -> "object":
    from matplotlib.patches import Patch

    return Patch(facecolor=colour, label=label)
