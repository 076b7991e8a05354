"""IoU against the occlusion rate, one line a method, with the band of its 95 % interval."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from amodal_bench.figures import style
from amodal_bench.metrics.protocol import Protocol
from amodal_bench.metrics.scores import metrics, score
from amodal_bench.results.finished import FinishedRun

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TENTHS = "0,.1,.2,.3,.4,.5,.6,.7,.8,.9,1"


def points(run: FinishedRun, protocol: Protocol, draws: int = 2000, names: Sequence[str] | None = None) -> pd.DataFrame:
    """`scoring.metrics` of the protocol's buckets with `rate`: the mean rate of the instances in each."""
    table = metrics(run.instances, protocol, draws=draws, metrics=names)
    table = table[table["subset"] == "bucket"].reset_index(drop=True)
    rates = score(run.instances, protocol).rate
    inside = {str(bucket): rates[bucket.contains(rates)] for bucket in protocol.buckets}
    return table.assign(rate=[float(inside[b].mean()) if len(inside[b]) else np.nan for b in table["rates"]])


def curve_figure(runs: Sequence[FinishedRun], protocol: Protocol, names: Sequence[str]) -> "Figure":
    """One panel a metric; below them, how many instances stand behind each point.

    Args:
        runs: of one data block.
        protocol: its buckets are the points; take `with_buckets(protocol, TENTHS)` for a smooth curve.
        names: metrics, of those that the protocol has.
    """
    figure = style.new_figure(4.4 * len(names) + 0.6, 4.2)
    panels = figure.subplots(2, len(names), sharex=True, squeeze=False, height_ratios=[5, 1])
    tables = [points(run, protocol, names=names) for run in runs]
    for column, name in enumerate(names):
        upper, lower = panels[0, column], panels[1, column]
        for index, (run, table) in enumerate(zip(runs, tables, strict=True)):
            _line(upper, table[table["metric"] == name].dropna(subset=["value", "rate"]), index, style.words(run.label))
        _dress(upper, name)
        _counts(lower, tables[0][tables[0]["metric"] == name], protocol)
    panels[1, 0].set_ylabel("n")
    lines = panels[0, 0].lines  # asked for one by one: a legend leaves out labels that begin with an underscore
    figure.legend(
        lines, [line.get_label() for line in lines], loc="outside upper center", ncols=min(4, len(runs)), frameon=False
    )
    figure.supxlabel("occlusion rate (hidden / amodal)", fontsize=10)
    figure.suptitle(f"{style.words(runs[0].block)} · {protocol.id}", fontsize=9, color="#555555", x=0.99, ha="right")
    return figure


def _line(axes: "Axes", table: pd.DataFrame, index: int, label: str) -> None:
    colour = style.colour(index)
    axes.plot(table["rate"], table["value"], color=colour, marker=style.marker(index), markersize=5, label=label)
    axes.fill_between(table["rate"], table["low"], table["high"], color=colour, alpha=0.18, linewidth=0)


def _dress(axes: "Axes", name: str) -> None:
    style.tidy(axes)
    axes.set_title(f"{name} (%)", fontsize=10, loc="left")
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-2, 102)


def _counts(axes: "Axes", table: pd.DataFrame, protocol: Protocol) -> None:
    style.tidy(axes)
    for bucket, n in zip(protocol.buckets, table["n"], strict=True):
        width = max(bucket.high - bucket.low, 0.02)
        axes.bar(bucket.low, n, width=width, align="edge" if bucket.high > bucket.low else "center",
                 color="#b9c2cb", edgecolor="white", linewidth=0.6)  # fmt: skip
    axes.locator_params(axis="y", nbins=2, integer=True)
