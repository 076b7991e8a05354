"""From counts to scores: per instance, per protocol, per occlusion bucket, with intervals."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from amodal_bench.masks.counts import AMODAL, COLUMNS, GIVEN, GIVEN_COLUMNS, PREDICTED, VISIBLE
from amodal_bench.metrics.bootstrap import blocks, ratio_intervals
from amodal_bench.metrics.protocol import Interval, Protocol

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
DRAWS = 2000


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Numerators and denominators of a protocol's two scores, one entry an instance.

    `rate` is |hidden| / |amodal|. `counted` is who counts for the full score, `counted_invisible` for the
    invisible one; a counted instance whose denominator is 0 is undefined. Unmatched instances that a protocol
    leaves out count nowhere and have empty denominators.
    """

    rate: Floats
    intersection: Floats
    union: Floats
    hidden_intersection: Floats
    hidden_union: Floats
    occluded: Bools
    counted: Bools
    counted_invisible: Bools

    def iou(self) -> Floats:
        """Full IoU, NaN where undefined."""
        return _ratio(self.intersection, self.union)

    def invisible_iou(self) -> Floats:
        """Invisible IoU, |P & A - V| / |(P | A) - V|, NaN where undefined or not counted."""
        return np.where(self.counted_invisible, _ratio(self.hidden_intersection, self.hidden_union), np.nan)


def score(frame: pd.DataFrame, protocol: Protocol) -> Scores:
    """Apply a protocol's rules for pasting, clipping and counting to the counts of many instances."""
    table = cell_table(frame)
    cells = range(table.shape[1])
    width = table.shape[1]

    def total(chosen: Iterable[int]) -> Floats:
        summed = np.zeros(len(table))
        for k in chosen:
            summed += table[:, k]
        return summed

    given = GIVEN if width == 16 else VISIBLE

    def predicted(k: int) -> bool:
        return bool(k & PREDICTED) or (protocol.paste and bool(k & given))

    def visible(k: int) -> bool:
        return bool(k & VISIBLE) and (bool(k & AMODAL) or not protocol.clip_visible)

    amodal = total(k for k in cells if k & AMODAL)
    hidden = total(k for k in cells if k & AMODAL and not k & VISIBLE)
    rate = _ratio(hidden, amodal)
    occluded = hidden > protocol.min_hidden
    if protocol.occluded == "signed":
        occluded = amodal != total(k for k in cells if visible(k))
    inside = protocol.rates.contains(rate) if protocol.rates else np.ones(len(table), dtype=np.bool_)
    left_out = _ungiven(table) & (protocol.unmatched == "leave_out")
    inside &= ~left_out
    intersection = total(k for k in cells if predicted(k) and k & AMODAL)
    union = total(k for k in cells if predicted(k) or k & AMODAL)
    if protocol.undefined == "one":
        intersection, union = (np.where(union == 0, 1.0, values) for values in (intersection, union))
    hidden_union = total(k for k in cells if (predicted(k) or k & AMODAL) and not visible(k))
    return Scores(
        rate=rate,
        intersection=intersection,
        union=np.where(left_out, 0.0, union),
        hidden_intersection=total(k for k in cells if predicted(k) and k & AMODAL and not visible(k)),
        hidden_union=np.where(left_out, 0.0, hidden_union),
        occluded=occluded & inside,
        counted=inside,
        counted_invisible=inside & (protocol.invisible != "none") & (occluded | (protocol.invisible == "all")),
    )


def unmatched(frame: pd.DataFrame) -> Bools:
    """Rows to which no visible mask from elsewhere was given: the mask that the method was given is empty."""
    return _ungiven(cell_table(frame)) if _is_wide(frame) else np.zeros(len(frame), dtype=np.bool_)


def _ungiven(table: NDArray[np.int64]) -> Bools:
    if table.shape[1] == GIVEN:
        return np.zeros(len(table), dtype=np.bool_)
    return np.asarray(table[:, GIVEN:].sum(axis=1) == 0, dtype=np.bool_)


def by_instance(frame: pd.DataFrame, protocol: Protocol) -> pd.DataFrame:
    """`frame` with the columns `rate`, `occluded`, `iou_full` and `iou_inv` (fractions, NaN = undefined)."""
    scores = score(frame, protocol)
    return frame.assign(
        rate=scores.rate, occluded=scores.occluded, iou_full=scores.iou(), iou_inv=scores.invisible_iou()
    )


def metrics(
    frame: pd.DataFrame, protocols: Protocol | Sequence[Protocol], draws: int = DRAWS, seed: int = 0
) -> pd.DataFrame:
    """One row per protocol, subset and score, in percent, with a 95 % interval.

    Args:
        frame: rows of instances.parquet with `v0..v7` (or `v0..v15`) and `group_id`.
        protocols: one or several; several share one pass of the bootstrap.
        draws: bootstrap draws; 0 leaves the intervals NaN.
        seed: of the bootstrap.

    Returns:
        protocol, subset (`all`, `bucket` or `range`), rates, metric, value, low, high, n, n_undefined. A value
        that no instance defines is NaN with n = 0.
    """
    chosen = [protocols] if isinstance(protocols, Protocol) else list(protocols)
    return measured([c for p in chosen for c in score_columns(frame, p)], frame["group_id"], draws, seed)


def measured(columns: Sequence["Column"], group_id: pd.Series, draws: int = DRAWS, seed: int = 0) -> pd.DataFrame:
    """The table of `metrics` from columns that were computed before."""
    return pd.DataFrame(_rows(columns, blocks(group_id), draws, seed))


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """One number to be printed: a ratio of sums over some instances."""

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


def score_columns(frame: pd.DataFrame, protocol: Protocol) -> list[Column]:
    """Every number that a protocol makes of a frame: both scores overall, in its subsets and in its buckets."""
    return columns_of(score(frame, protocol), protocol)


def columns_of(scores: Scores, protocol: Protocol) -> list[Column]:
    """The same from scores that were computed before."""
    everything = np.ones(len(scores.rate), dtype=np.bool_)
    parts: list[tuple[str, Interval | None, Bools]] = [("all", None, everything)]
    parts += [("range", r, r.contains(scores.rate)) for r in protocol.subsets]
    parts += [("bucket", r, r.contains(scores.rate)) for r in protocol.buckets]
    columns = []
    for subset, rates, inside in parts:
        labels = {"protocol": protocol.id, "subset": subset, "rates": str(rates or "")}
        pooled = protocol.aggregate == "pooled"
        if protocol.full:
            full = {**labels, "metric": "mIoU_full"}
            columns.append(Column(full, pooled, scores.intersection, scores.union, scores.counted & inside))
        if protocol.invisible != "none":
            hidden = {**labels, "metric": "mIoU_inv"}
            counted = scores.counted_invisible & inside
            columns.append(Column(hidden, pooled, scores.hidden_intersection, scores.hidden_union, counted))
    return columns


def _rows(columns: Sequence[Column], groups: NDArray[np.int64], draws: int, seed: int) -> list[dict[str, object]]:
    count = int(groups.max()) + 1 if len(groups) else 0
    sums = np.zeros((2, count, len(columns)))
    rows: list[dict[str, object]] = []
    for place, column in enumerate(columns):
        numerator, denominator = column.parts()
        sums[0, :, place] = np.bincount(groups, numerator, minlength=count)
        sums[1, :, place] = np.bincount(groups, denominator, minlength=count)
        defined = int((denominator > 0).sum())
        value = 100 * numerator.sum() / denominator.sum() if defined else float("nan")
        undefined = int(column.counted.sum()) - defined
        rows.append({**column.labels, "value": value, "n": defined, "n_undefined": undefined})
    low, high = ratio_intervals(sums[0], sums[1], draws=draws, seed=seed)
    for place, row in enumerate(rows):
        row["low"], row["high"] = 100 * low[place], 100 * high[place]
    return rows


def cell_table(frame: pd.DataFrame) -> NDArray[np.int64]:
    """Counts (N, 8), or (N, 16) where the method was given other visible masks."""
    names = [*COLUMNS, *GIVEN_COLUMNS] if _is_wide(frame) else list(COLUMNS)
    return frame[names].to_numpy(dtype=np.int64)


def _is_wide(frame: pd.DataFrame) -> bool:
    given = [c for c in GIVEN_COLUMNS if c in frame]
    return len(frame) > 0 and len(given) == len(GIVEN_COLUMNS) and all(frame[c].notna().all() for c in given)


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    ratio: Floats = np.divide(numerator, denominator, out=np.full(len(numerator), np.nan), where=denominator > 0)
    return ratio
