"""Is one method better than another on the same instances? Paired by instance, clustered by image or clip."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from amodal_bench.errors import Refused
from amodal_bench.masks.counts import AMODAL, VISIBLE
from amodal_bench.metrics.cells import Bools, cell_table
from amodal_bench.metrics.protocol import Protocol
from amodal_bench.metrics.resampling import Floats, difference_intervals, sign_flip_p
from amodal_bench.metrics.scores import DRAWS, Column, Scores, columns_of, score
from amodal_bench.metrics.table import Metric, Names, find_metrics, held

FLIPS = 10
Pairs = Sequence[tuple[Column, Column]]  # the same number of A and of B


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """A against B under one protocol; every difference is A - B in points of percent.

    Above 0 A is better, but where a lower value of the metric is (`Metric.higher_is_better`).
    `metrics`, `buckets` and `categories` have the columns metric, a, b (percent), difference, low, high (its 95 %
    interval), p (two-sided, sign flips of whole groups), wins, ties, losses (instances), n (instances) and groups;
    `buckets` has `rates` too and `categories` `category`. `flips` has id, category, rate, a, b, difference of the
    instances whose first metric differs most. `only_a` and `only_b` count the instances that the other run lacks:
    they are left out.
    """

    protocol: Protocol
    metrics: pd.DataFrame
    buckets: pd.DataFrame
    categories: pd.DataFrame
    flips: pd.DataFrame
    n: int
    only_a: int
    only_b: int


def compare(
    a: pd.DataFrame,
    b: pd.DataFrame,
    protocol: Protocol,
    draws: int = DRAWS,
    seed: int = 0,
    metrics: Names | None = None,
) -> Comparison:
    """Compare two runs on the instances that both have.

    Args:
        a, b: rows of instances.parquet (status ok) of the same data.
        protocol: how instances are scored and put together.
        draws: of the bootstrap (the same groups for both runs) and of the sign flips; 0 leaves low, high, p NaN.
        seed: of the draws.
        metrics: names of the table of metrics (default: the headline ones); those that the protocol has are compared.

    Raises:
        Refused: no instance is in both, the truth of one differs between them, or the protocol has none of the metrics.
        UnknownName: no metric has such a name.
    """
    asked = held(find_metrics(metrics), protocol)
    first, second = paired_frames(a, b)
    scores = score(first, protocol), score(second, protocol)
    groups = np.asarray(pd.factorize(first["group_id"], sort=True)[0])
    pairs = list(zip(*(columns_of(of_run, asked) for of_run in scores), strict=True))
    cells = [*_cells(pairs), *_category_cells(pairs, first)]
    table = pd.DataFrame(_rows(cells, groups, draws, seed))
    return Comparison(
        protocol=protocol,
        metrics=_of_kind(table, "all"),
        buckets=_of_kind(table, "bucket", "rates"),
        categories=_of_kind(table, "category", "category"),
        flips=_flips(first, *scores, asked[0]),
        n=len(first),
        only_a=len(a) - len(first),
        only_b=len(b) - len(second),
    )


def _of_kind(table: pd.DataFrame, kind: str, label: str | None = None) -> pd.DataFrame:
    """The rows of one kind, with their name in the column `label`."""
    rows = table[table["kind"] == kind].drop(columns="kind").reset_index(drop=True)
    return rows.rename(columns={"name": label}) if label else rows.drop(columns="name")


def compare_all(
    frames: Mapping[str, pd.DataFrame],
    protocol: Protocol,
    draws: int = DRAWS,
    seed: int = 0,
    metrics: Names | None = None,
) -> pd.DataFrame:
    """Every pair of several runs: the columns of `Comparison.metrics` after `first`, `second`, with `p_holm`.

    `p_holm` is corrected over all pairs of one metric (Holm 1979).
    """
    tables = [
        compare(frames[x], frames[y], protocol, draws, seed, metrics).metrics.assign(first=x, second=y)
        for x, y in combinations(frames, 2)
    ]
    if not tables:
        raise Refused(f"a comparison takes at least two runs, got {len(frames)}")
    table = pd.concat(tables, ignore_index=True)
    table["p_holm"] = table.groupby("metric")["p"].transform(lambda p: holm(p.tolist()))
    return table[["first", "second", *(c for c in table.columns if c not in ("first", "second"))]]


def holm(p: Sequence[float]) -> Floats:
    """Step-down corrected p-values (Holm 1979): the k-th smallest of m times m - k + 1, made monotone; NaN stays."""
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values, kind="stable")  # NaN last
    known = int((~np.isnan(values)).sum())
    corrected = np.full(len(values), np.nan)
    stepped = np.maximum.accumulate(values[order[:known]] * np.arange(known, 0, -1)) if known else np.empty(0)
    corrected[order[:known]] = np.minimum(stepped, 1.0)
    return corrected


def paired_frames(a: pd.DataFrame, b: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of both that stand for the same instances, in the order of their ids, with the truth checked."""
    for name, frame in (("A", a), ("B", b)):
        if frame["id"].duplicated().any():
            raise Refused(f"run {name} has {frame['id'][frame['id'].duplicated()].iloc[0]} twice: it is damaged")
    common = sorted(set(a["id"]) & set(b["id"]))
    if not common:
        examples = [str(frame["id"].iloc[0]) if len(frame) else "no instance" for frame in (a, b)]
        raise Refused(
            f"the runs share no instance (A has {examples[0]}, B has {examples[1]}): "
            "compare runs on the same dataset, split and options"
        )
    first, second = (frame.set_index("id", drop=False).loc[common].reset_index(drop=True) for frame in (a, b))
    differing = (_truth(first) != _truth(second)).any(axis=1)
    if differing.any():
        raise Refused(
            f"{int(differing.sum())} of {len(common)} instances have other true masks in A than in B, the first is "
            f"{first['id'][differing.argmax()]}: the runs are of different annotations; bench both on the same files"
        )
    return first, second


def _truth(frame: pd.DataFrame) -> NDArray[np.int64]:
    """(N, 4) pixels that are neither, amodal, visible, both: what no prediction changes."""
    table = cell_table(frame)
    bits = np.arange(table.shape[1]) & (AMODAL | VISIBLE)
    return np.stack([table[:, bits == kind].sum(axis=1) for kind in (0, AMODAL, VISIBLE, AMODAL | VISIBLE)], axis=1)


@dataclass(frozen=True, slots=True, eq=False)
class _Cell:
    """One line of a table: a metric of A and of B over the same instances."""

    kind: str
    name: str
    a: Column
    b: Column

    def parts(self) -> Floats:
        """(N, 4): numerator and denominator of A, then of B. A mean takes the instances that both define."""
        counted = self.both
        return np.stack([*replace(self.a, counted=counted).parts(), *replace(self.b, counted=counted).parts()], axis=1)

    @property
    def defined(self) -> Bools:
        """Instances with an IoU in both."""
        return self.a.counted & self.b.counted & (self.a.denominator > 0) & (self.b.denominator > 0)

    @property
    def both(self) -> Bools:
        """Instances that count: pooled pixels of one run count where the other has none."""
        return self.a.counted & self.b.counted if self.a.pooled else self.defined

    def outcomes(self) -> dict[str, int]:
        """Instances that A wins, ties and loses; the better one is the smaller one where the metric says so."""
        inside = self.defined
        x, y = (c.numerator[inside] / c.denominator[inside] for c in (self.a, self.b))
        if not self.a.metric.higher_is_better:
            x, y = y, x
        return {"wins": int((x > y).sum()), "ties": int((x == y).sum()), "losses": int((x < y).sum())}


def _cells(pairs: Pairs) -> list[_Cell]:
    """Overall and by bucket."""
    parts = ("all", "bucket")
    return [_Cell(x.labels["subset"], x.labels["rates"], x, y) for x, y in pairs if x.labels["subset"] in parts]


def _category_cells(pairs: Pairs, frame: pd.DataFrame) -> Iterator[_Cell]:
    """By category, where the dataset has any."""
    if "category" not in frame:
        return
    codes, names = pd.factorize(frame["category"], sort=True)
    whole = [pair for pair in pairs if pair[0].labels["subset"] == "all"]
    for code, category in enumerate(names):
        inside = np.asarray(codes == code, dtype=np.bool_)
        for x, y in whole:
            yield _Cell("category", str(category), *(replace(c, counted=c.counted & inside) for c in (x, y)))


def _rows(cells: Sequence[_Cell], groups: NDArray[np.int64], draws: int, seed: int) -> list[dict[str, object]]:
    count = int(groups.max()) + 1
    sums = np.empty((count, 4, len(cells)))
    for column, cell in enumerate(cells):
        parts = cell.parts()
        for part in range(4):
            sums[:, part, column] = np.bincount(groups, parts[:, part], minlength=count)
    total = sums.sum(axis=0)
    values = 100 * np.divide(total[::2], total[1::2], out=np.full((2, len(cells)), np.nan), where=total[1::2] > 0)
    low, high = difference_intervals(sums, draws=draws, seed=seed)
    p = sign_flip_p(sums, draws=draws, seed=seed)
    return [
        {
            "kind": cell.kind, "name": cell.name, "metric": cell.a.metric.name,
            "a": values[0, k], "b": values[1, k], "difference": values[0, k] - values[1, k],
            "low": 100 * low[k], "high": 100 * high[k], "p": p[k],
            **cell.outcomes(), "n": int(cell.both.sum()), "groups": len(np.unique(groups[cell.both])),
        }
        for k, cell in enumerate(cells)
    ]  # fmt: skip


def _flips(rows: pd.DataFrame, a: Scores, b: Scores, metric: Metric) -> pd.DataFrame:
    """The instances of `rows` whose scores in one metric differ most."""
    x, y = (100 * scores.values(metric) for scores in (a, b))
    table = pd.DataFrame(
        {"id": rows["id"], "category": rows.get("category"), "rate": a.rate, "a": x, "b": y, "difference": x - y}
    )
    table = table[table["difference"].abs() > 0]
    order = np.lexsort([table["id"].to_numpy(dtype=str), -table["difference"].abs().to_numpy()])
    return table.iloc[order[:FLIPS]].reset_index(drop=True)
