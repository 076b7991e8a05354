"""From counts to scores: per instance, per protocol, per occlusion bucket, with intervals."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from amodal_bench.errors import Refused
from amodal_bench.metrics.cells import Bools, Cells, cell_table, effective_counts, ungiven
from amodal_bench.metrics.protocol import Protocol
from amodal_bench.metrics.resampling import blocks, ratio_intervals
from amodal_bench.metrics.table import A, Metric, Names, V, Weights, find_metrics, weights

Floats = NDArray[np.float64]
DRAWS = 2000
_LABELS = ("protocol", "subset", "rates", "metric", "value", "n", "n_undefined", "low", "high")

_AMODAL = weights(A)
_HIDDEN = weights(A & ~V)
_VISIBLE = weights(V)


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Many instances under one protocol: their pixels, and who counts.

    `counts` (N, 8) are the pixels by (predicted, amodal, visible) after the protocol has pasted and clipped. `rate` is
    |hidden| / |amodal|. `counted` is who counts for metrics of the whole object, `counted_invisible` for those of the
    hidden part; a counted instance whose denominator is 0 is undefined. `left_out` are unmatched instances that the
    protocol leaves out: they count nowhere and have no score. `rows` are what was scored, with the columns of measures.
    """

    protocol: Protocol
    counts: Cells
    rate: Floats
    occluded: Bools
    counted: Bools
    counted_invisible: Bools
    left_out: Bools
    rows: pd.DataFrame

    def parts(self, metric: Metric) -> tuple[Floats, Floats]:
        """Numerator and denominator (N,) of a metric, in pixels; the denominator is 0 where it is undefined.

        Raises `Refused` where the rows lack the columns of its measure.

        Where `undefined: one` holds, nothing predicted of nothing is perfect: one pixel of one, or none of one where
        the metric counts errors.
        """
        numerator, denominator = (self._sum(metric, what) for what in (metric.numerator, metric.denominator))
        if self.protocol.undefined == "one" and metric.counts == "full":
            empty = denominator == 0
            numerator = np.where(empty, float(metric.higher_is_better), numerator)
            denominator = np.where(empty, 1.0, denominator)
        return numerator, np.where(self.left_out, 0.0, denominator)

    def _sum(self, metric: Metric, pixels: Weights | str) -> Floats:
        if not isinstance(pixels, str):
            return _total(self.counts, pixels)
        if pixels not in self.rows:
            raise Refused(
                f"{metric.name} is measured from masks, and these rows have no column {pixels}: make it with "
                f"`amodal-bench measure RUN --metric {metric.measure}`; in Python, "
                f"Run.frame(metrics=[{metric.name!r}]) reads it"
            )
        return self.rows[pixels].to_numpy(dtype=np.float64)

    def counted_for(self, metric: Metric) -> Bools:
        """Which instances count for a metric."""
        return self.counted if metric.counts == "full" else self.counted_invisible

    def values(self, metric: Metric) -> Floats:
        """A metric (N,) of each instance, a fraction; NaN where undefined, or not of an instance of its kind."""
        ratio = _ratio(*self.parts(metric))
        return ratio if metric.counts == "full" else np.where(self.counted_invisible, ratio, np.nan)


def score(frame: pd.DataFrame, protocol: Protocol) -> Scores:
    """Apply a protocol's rules for pasting, clipping and counting to the counts of many instances."""
    table = cell_table(frame)
    counts = effective_counts(table, protocol)
    amodal, hidden = _total(counts, _AMODAL), _total(counts, _HIDDEN)
    rate = _ratio(hidden, amodal)
    left_out = ungiven(table) & (protocol.unmatched == "leave_out")
    inside = ~left_out
    if protocol.rates:
        inside &= protocol.rates.contains(rate)
    occluded = hidden > protocol.min_hidden
    if protocol.occluded == "signed":
        occluded = amodal != _total(counts, _VISIBLE)
    return Scores(
        protocol=protocol,
        counts=counts,
        rate=rate,
        occluded=occluded & inside,
        counted=inside,
        counted_invisible=inside & (protocol.invisible != "none") & (occluded | (protocol.invisible == "all")),
        left_out=left_out,
        rows=frame,
    )


def by_instance(frame: pd.DataFrame, protocol: Protocol, metrics: Names | None = None) -> pd.DataFrame:
    """`frame` with the columns `rate`, `occluded` and one a metric (fractions, NaN = undefined).

    `metrics` are names of the table of metrics, by default the headline ones: `iou_full` and `iou_inv`.
    """
    scores = score(frame, protocol)
    columns = {metric.column: scores.values(metric) for metric in find_metrics(metrics)}
    return frame.assign(rate=scores.rate, occluded=scores.occluded, **columns)


def metrics(
    frame: pd.DataFrame,
    protocols: Protocol | Sequence[Protocol],
    draws: int = DRAWS,
    seed: int = 0,
    metrics: Names | None = None,
) -> pd.DataFrame:
    """One row per protocol, subset and metric, in percent, with a 95 % interval.

    Args:
        frame: rows of instances.parquet with `v0..v7` (or `v0..v15`) and `group_id`.
        protocols: one or several; several share one pass of the bootstrap.
        draws: bootstrap draws; 0 leaves the intervals NaN.
        seed: of the bootstrap.
        metrics: names of the table of metrics (default: the headline ones); a protocol gives those that it has.

    Returns:
        protocol, subset (`all`, `bucket` or `range`), rates, metric, value, low, high, n, n_undefined. A value
        that no instance defines is NaN with n = 0.

    Raises:
        UnknownName: no metric has such a name.
    """
    chosen = [protocols] if isinstance(protocols, Protocol) else list(protocols)
    asked = find_metrics(metrics)
    columns = [column for protocol in chosen for column in columns_of(score(frame, protocol), asked)]
    return measured(columns, frame["group_id"], draws, seed)


def measured(columns: Sequence["Column"], group_id: pd.Series, draws: int = DRAWS, seed: int = 0) -> pd.DataFrame:
    """The table of `metrics` from columns that were computed before."""
    return pd.DataFrame(_rows(columns, blocks(group_id), draws, seed), columns=_LABELS)


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """One number to be printed: a ratio of sums over some instances."""

    metric: Metric
    labels: dict[str, str]
    pooled: bool
    numerator: Floats
    denominator: Floats
    counted: Bools

    def parts(self) -> tuple[Floats, Floats]:
        """Numerator and denominator an instance: (pixels, pixels) pooled, (IoU, 1) for the mean; 0 if left out."""
        defined = self.counted & (self.denominator > 0)
        if self.pooled:
            return np.where(defined, self.numerator, 0.0), np.where(defined, self.denominator, 0.0)
        return np.where(defined, _ratio(self.numerator, self.denominator), 0.0), defined.astype(np.float64)


def columns_of(scores: Scores, metrics: Names | None = None) -> list[Column]:
    """Every number that a protocol makes of scores: each metric overall, in its subsets and in its buckets."""
    protocol = scores.protocol
    parts = {metric: scores.parts(metric) for metric in find_metrics(metrics) if metric.within(protocol)}
    return [
        Column(
            metric,
            {"protocol": protocol.id, "subset": subset, "rates": rates, "metric": metric.name},
            protocol.aggregate == "pooled",
            *pair,
            scores.counted_for(metric) & inside,
        )
        for subset, rates, inside in _subsets(scores)
        for metric, pair in parts.items()
    ]


def _subsets(scores: Scores) -> Iterator[tuple[str, str, Bools]]:
    """(subset, rates, which instances): all, then the protocol's ranges of rates, then its buckets."""
    yield "all", "", np.ones(len(scores.rate), dtype=np.bool_)
    for subset, ranges in (("range", scores.protocol.subsets), ("bucket", scores.protocol.buckets)):
        for rates in ranges:
            yield subset, str(rates), rates.contains(scores.rate)


def _rows(columns: Sequence[Column], groups: NDArray[np.int64], draws: int, seed: int) -> list[dict[str, object]]:
    count = int(groups.max()) + 1 if len(groups) else 0
    sums = np.zeros((2, count, len(columns)))
    rows: list[dict[str, object]] = []
    for index, column in enumerate(columns):
        numerator, denominator = column.parts()
        sums[0, :, index] = np.bincount(groups, numerator, minlength=count)
        sums[1, :, index] = np.bincount(groups, denominator, minlength=count)
        defined = int((denominator > 0).sum())
        value = 100 * numerator.sum() / denominator.sum() if defined else float("nan")
        undefined = int(column.counted.sum()) - defined
        rows.append({**column.labels, "value": value, "n": defined, "n_undefined": undefined})
    low, high = ratio_intervals(sums[0], sums[1], draws=draws, seed=seed)
    for index, row in enumerate(rows):
        row["low"], row["high"] = 100 * low[index], 100 * high[index]
    return rows


def _total(counts: Cells, pixels: Weights) -> Floats:
    """(N,) weighted sums over the kinds of pixels."""
    total = np.zeros(len(counts))
    for kind, weight in enumerate(pixels):
        if weight:
            total += weight * counts[:, kind]
    return total


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    ratio: Floats = np.divide(numerator, denominator, out=np.full(len(numerator), np.nan), where=denominator > 0)
    return ratio
