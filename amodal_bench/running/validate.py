"""Scores of a method on a few instances, for training: counts as in a run, nothing on disk."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from amodal_bench.masks.counts import COLUMNS, Counts
from amodal_bench.metrics.protocol import DEFAULT, find_protocol
from amodal_bench.metrics.scores import columns_of, score
from amodal_bench.plugin import AnyDataset, AnyMethod
from amodal_bench.resolve.asking import asked
from amodal_bench.running import plan as planning
from amodal_bench.running.held import Held
from amodal_bench.store.spec import instance_seed


def prefix(dataset: AnyDataset, limit: int) -> list[int]:
    """Indices of the first `limit` instances in the order in which `--limit` takes them."""
    indices: list[int] = planning.make_plan(dataset).slice(0, limit)["index"].to_pylist()
    return indices


def counts_of(method: AnyMethod, dataset: AnyDataset, indices: Sequence[int], batch: int, seed: int = 0) -> Counts:
    """Venn counts (N, 8) of the instances at `indices`, predicted `batch` at a time."""
    found = []
    for start in range(0, len(indices), batch):
        held = [Held.of(dataset[index]) for index in indices[start : start + batch]]
        queries = [h.query for h in held]
        masks = asked(method, queries, [instance_seed(seed, query.id) for query in queries])
        found += [h.counts(mask).reshape(-1, len(COLUMNS)).sum(axis=0) for mask, h in zip(masks, held, strict=True)]
    return np.stack(found) if found else np.zeros((0, len(COLUMNS)), dtype=np.int64)


def mean_scores(counts: Counts, protocol: str = DEFAULT) -> tuple[float, float]:
    """mIoU_full and mIoU_inv in percent under a protocol; NaN where no instance defines it."""
    scores = score(pd.DataFrame(counts, columns=list(COLUMNS)), find_protocol(protocol))
    found = {column.metric.name: column.parts() for column in columns_of(scores) if column.labels["subset"] == "all"}
    full, inv = (_percent(*found[name]) for name in ("mIoU_full", "mIoU_inv"))
    return full, inv


def _percent(numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> float:
    total = float(denominator.sum())
    return 100 * float(numerator.sum()) / total if total else float("nan")
