"""Paired comparisons for the page: every two runs on the same data, or each with the best where they are many."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from amodal_bench.errors import Refused
from amodal_bench.metrics.compare import Comparison, compare
from amodal_bench.metrics.protocol import Protocol
from amodal_bench.metrics.scores import score
from amodal_bench.metrics.table import FULL
from amodal_bench.report.numbers import printed
from amodal_bench.results.finished import FinishedRun
from amodal_bench.text.numbers import interval, number, p_value

MOST_PAIRS = 21
MOST_CATEGORIES = 40


def order(block: Sequence[FinishedRun], protocol: Protocol) -> list[FinishedRun]:
    """Runs with the best mean IoU first; whole ones before others."""
    scores = {run: score(run.instances, protocol).values(FULL) for run in block}
    means = {run: float(np.nan_to_num(np.nanmean([0.0, *values]))) for run, values in scores.items()}
    return sorted(block, key=lambda run: (not run.ranked, -means[run], run.label))


def chosen_pairs(block: Sequence[FinishedRun], protocol: Protocol) -> list[tuple[FinishedRun, FinishedRun]]:
    """Which runs are compared, the better one first."""
    runs = order(block, protocol)
    every = list(combinations(runs, 2))
    return every if len(every) <= MOST_PAIRS else [(runs[0], other) for other in runs[1:]]


def pair(a: FinishedRun, b: FinishedRun, protocol: Protocol, draws: int) -> dict[str, Any]:
    """One comparison as tables of printed numbers; `fault` is a sentence where it cannot be made."""
    facts: dict[str, Any] = {"a": a.label, "b": b.label, "data": a.block, "protocol": protocol.id}
    try:
        found = compare(a.instances, b.instances, protocol, draws=draws)
    except Refused as error:
        return {**facts, "fault": str(error)}
    return {**facts, "fault": "", "note": _note(found, a, b), "tables": _tables(found)}


def _note(found: Comparison, a: FinishedRun, b: FinishedRun) -> str:
    left_behind = [f"{n} only in {run.label}" for n, run in ((found.only_a, a), (found.only_b, b)) if n]
    left_out = f" (left out: {', '.join(left_behind)})" if left_behind else ""
    return f"{found.n:,} instances that both have{left_out}."


def _tables(found: Comparison) -> list[dict[str, Any]]:
    categories = found.categories.sort_values(["n", "category"], ascending=[False, True], kind="stable")
    kept = categories["category"].drop_duplicates().head(MOST_CATEGORIES)
    cut = categories["category"].nunique() - len(kept)
    title = "by category" + (f" (the {len(kept)} largest of {len(kept) + cut})" if cut else "")
    tables = [
        _table("overall", found.metrics, []),
        _table("by occlusion rate", found.buckets, ["rates"]),
        _table(title, categories[categories["category"].isin(kept)], ["category"]),
    ]
    return [table for table in tables if table["rows"]] + [_flips(found.flips)]


def _table(title: str, rows: pd.DataFrame, names: list[str]) -> dict[str, Any]:
    head = [*names, "metric", "A", "B", "A - B", "95 % interval", "p", "A wins", "ties", "B wins", "n"]
    body = [
        [
            *(str(row[name]) for name in names),
            row["metric"],
            printed(row["a"]),
            printed(row["b"]),
            signed(row["difference"]),
            interval(row["low"], row["high"], signed=True),
            p_value(row["p"], undefined=""),
            *(f"{row[name]:,}" for name in ("wins", "ties", "losses", "n")),
        ]
        for row in rows.to_dict("records")
    ]
    return {"title": title, "head": head, "rows": body, "words": len(names) + 1}


def _flips(flips: pd.DataFrame) -> dict[str, Any]:
    body = [
        [row["id"], str(row["category"] or ""), printed(row["rate"]), *(printed(row[k]) for k in ("a", "b")),
         signed(row["difference"])]
        for row in flips.to_dict("records")
    ]  # fmt: skip
    head = ["id", "category", "occlusion rate", "A", "B", "A - B"]
    return {"title": "largest differences of one instance (full IoU)", "head": head, "rows": body, "words": 2}


def signed(value: float) -> str:
    """A difference with its sign; empty where undefined."""
    return number(value, undefined="", signed=True)
