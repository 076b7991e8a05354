"""The numbers of the page: every run under every protocol and bucket, printed here so that the page only switches."""

import math
from collections.abc import Sequence
from itertools import chain
from typing import Any

from amodal_bench.figures.style import metric_names
from amodal_bench.metrics.protocol import Protocol
from amodal_bench.metrics.scores import metrics
from amodal_bench.metrics.table import METRICS, PARTS, Metric, find_metric, headline, others
from amodal_bench.results.finished import FinishedRun
from amodal_bench.results.measures.files import with_present
from amodal_bench.results.rank import ranks

Cell = list[str | int]  # value, low, high, n, n_undefined, rank (1 best, 2 second, 0 neither)
Cells = dict[str, dict[str, dict[str, Cell]]]  # protocol -> subset -> metric
RANK = 5
DIGITS = 2


def printed(value: float, digits: int = DIGITS) -> str:
    """A number as the page shows it; empty where it is undefined."""
    return "" if math.isnan(value) else f"{value:.{digits}f}"


def probability(p: float) -> str:
    """A p-value as the page shows it."""
    return "" if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def protocol_facts(protocol: Protocol) -> dict[str, Any]:
    """What the page says of a protocol: `subsets` are the names of the cells, with what a reader sees."""
    parts = [{"name": "all", "text": "all rates"}]
    parts += [{"name": f"range {r}", "text": f"rate in {r}"} for r in protocol.subsets]
    buckets = [{"name": f"bucket {r}", "text": f"rate in {r}", "low": r.low, "high": r.high} for r in protocol.buckets]
    return {
        "id": protocol.id,
        "title": protocol.title,
        "source": protocol.source,
        "evidence": " ".join(protocol.evidence.split()),
        "metrics": metric_names(protocol),
        "subsets": [*parts, *buckets],
    }


def cells(run: FinishedRun, protocols: Sequence[Protocol], draws: int) -> Cells:
    """Every number of a run: the headline metrics, then all others of the table, both from a pass of the bootstrap.

    Of the metrics of a measure those that were measured.
    """
    found: Cells = {protocol.id: {} for protocol in protocols}
    frame = with_present(run.instances, run.folder, run.record, METRICS)
    more = [metric for metric in METRICS if metric.measure and metric.numerator in frame]
    for row in chain(
        metrics(frame, protocols, draws).to_dict("records"),
        metrics(frame, protocols, draws, metrics=[*others(), *more]).to_dict("records"),
    ):
        subset = f"{row['subset']} {row['rates']}".strip()
        numbers = [printed(row[name]) for name in ("value", "low", "high")]
        cell: Cell = [*numbers, int(row["n"]), int(row["n_undefined"]), 0]
        found[row["protocol"]].setdefault(subset, {})[row["metric"]] = cell
    return found


def rank(block: Sequence[tuple[FinishedRun, Cells]]) -> None:
    """Mark best and second of each number at its printed digits, among whole runs without errors on the same data."""
    ranked = [numbers for run, numbers in block if run.ranked]
    if len(ranked) < 2:
        return
    for protocol, subsets in ranked[0].items():
        for subset, names in subsets.items():
            for name in names:
                _rank_one([numbers[protocol][subset][name] for numbers in ranked], find_metric(name))


def _rank_one(column: Sequence[Cell], metric: Metric) -> None:
    values = [("", metric.sign * float(cell[0]) if cell[0] else math.nan) for cell in column]
    for cell, found in zip(column, ranks(values, DIGITS), strict=True):
        cell[RANK] = {"best": 1, "second": 2, "": 0}[found]


def spread(numbers: Cells) -> dict[str, str]:
    """metric -> how many points lie between the protocols' values of one run; empty where one or none has it."""
    found = {}
    for metric in headline():
        name = metric.name
        values = [float(cell[0]) for subsets in numbers.values() if (cell := subsets["all"].get(name)) and cell[0]]
        found[name] = printed(max(values) - min(values)) if len(values) > 1 else ""
    return found


def splits(run: FinishedRun, protocols: Sequence[Protocol]) -> dict[str, dict[str, list[str]]]:
    """protocol -> subset -> `PARTS` in percent, of the protocols with a full score."""
    found: dict[str, dict[str, list[str]]] = {protocol.id: {} for protocol in protocols}
    for row in metrics(run.instances, protocols, draws=0, metrics=PARTS).to_dict("records"):
        subset = f"{row['subset']} {row['rates']}".strip()
        found[row["protocol"]].setdefault(subset, []).append(printed(row["value"], 1))
    return found
