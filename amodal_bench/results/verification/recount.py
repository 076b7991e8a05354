"""From a stored mask and the dataset back to the counts: what a row should say, compared with what it says."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from amodal_bench.masks import rle
from amodal_bench.masks.counts import COLUMNS, GIVEN_COLUMNS
from amodal_bench.metrics.protocol import DEFAULT, find_protocol
from amodal_bench.metrics.scores import score
from amodal_bench.metrics.table import FULL, INVISIBLE
from amodal_bench.plugin import AnyDataset, Settings
from amodal_bench.results.verification.ledger import Ledger, Problem
from amodal_bench.results.verification.rows import GROUP, Counts, check_rows, counts_of
from amodal_bench.running.guard import Failure, guarded
from amodal_bench.running.held import Held
from amodal_bench.running.predict import Item, count, hold
from amodal_bench.store.rows import Row
from amodal_bench.types import Mask

INDEX = "_index"  # a row's index in the dataset; null where that has no such instance
DIFFERS = "rows that are not what their mask and the dataset give"
UNREADABLE = "the dataset cannot give the instance"


class Sums(Settings):
    """Sums of the two scores of the default protocol over the instances that define them, and how many do."""

    full: float = 0.0
    n_full: int = 0
    invisible: float = 0.0
    n_invisible: int = 0

    @classmethod
    def of(cls, counts: Counts) -> "Sums":
        """Of counts (N, 8) or (N, 16)."""
        names = (*COLUMNS, *GIVEN_COLUMNS)[: counts.shape[1]]
        scores = score(pd.DataFrame(counts, columns=list(names)), find_protocol(DEFAULT))
        both = (scores.values(metric)[scores.counted_for(metric)] for metric in (FULL, INVISIBLE))
        full, invisible = (values[~np.isnan(values)] for values in both)
        return cls(
            full=float(full.sum()), n_full=len(full), invisible=float(invisible.sum()), n_invisible=len(invisible)
        )

    def __add__(self, other: "Sums") -> "Sums":
        sums, more = self.model_dump(), other.model_dump()
        return Sums(**{name: sums[name] + more[name] for name in sums})

    @property
    def means(self) -> tuple[float, float]:
        """mIoU_full and mIoU_inv in percent, NaN where no instance defines it."""
        pairs = (self.full, self.n_full), (self.invisible, self.n_invisible)
        full, invisible = (100 * total / number if number else float("nan") for total, number in pairs)
        return full, invisible


class PieceReport(Settings):
    """What one piece of a run has: faults by kind, instances that cannot be read here, scores stored and recounted.

    `seen` rows, of which `rows` are finished and were examined whole.
    """

    seen: int
    rows: int = 0
    problems: dict[str, Problem]
    unreadable: Problem | None = None
    stored: Sums = Sums()
    recounted: Sums = Sums()

    def __add__(self, other: "PieceReport") -> "PieceReport":
        ledger, unreadable = Ledger(), Ledger()
        for report in (self, other):
            ledger.merge(report.problems)
            if report.unreadable:
                unreadable.merge({UNREADABLE: report.unreadable})
        return PieceReport(
            seen=self.seen + other.seen,
            rows=self.rows + other.rows,
            problems=ledger.problems,
            unreadable=unreadable.problems.get(UNREADABLE),
            stored=self.stored + other.stored,
            recounted=self.recounted + other.recounted,
        )


class Examiner:
    """Looks at pieces of a run; `dataset` is None where only the folder is looked at."""

    def __init__(self, dataset: AnyDataset | None, sixteen: bool) -> None:
        self._dataset, self._sixteen = dataset, sixteen

    def examine(self, table: pa.Table) -> PieceReport:
        """One piece, with the columns of `STORED`, `GROUP` and `INDEX`."""
        ledger, unreadable = Ledger(), Ledger()
        rows = check_rows(table, self._sixteen, ledger)
        if not len(rows):
            return PieceReport(seen=len(table), problems=ledger.problems)
        stored = counts_of(rows, self._sixteen)
        sums = again = Sums.of(stored)
        if self._dataset is not None:
            counts = self._recount(self._dataset, rows.to_pylist(), stored, ledger, unreadable)
            again = sums if np.array_equal(counts, stored) else Sums.of(counts)
        unread = unreadable.problems.get(UNREADABLE)
        return PieceReport(
            seen=len(table),
            rows=len(rows) - (unread.count if unread else 0),
            problems=ledger.problems,
            unreadable=unread,
            stored=sums,
            recounted=again,
        )

    def _recount(
        self, dataset: AnyDataset, rows: list[Row], stored: Counts, ledger: Ledger, unreadable: Ledger
    ) -> Counts:
        """Counts as the masks and the dataset give them; those of an instance that cannot be counted are as stored."""
        counts = stored.copy()
        names = (*COLUMNS, *GIVEN_COLUMNS)[: counts.shape[1]]
        for index, row in enumerate(rows):
            if row[INDEX] is None:  # the plan is told of it
                continue
            found = guarded(lambda row=row: recounted(dataset, row))  # type: ignore[misc]
            if isinstance(found, Failure):
                unreadable.add(UNREADABLE, f"{row['id']} ({found.message})")
                continue
            differing = [name for name, value in found.items() if row[name] != value]
            if differing:
                changes = [f"{name} stored {row[name]!r}, recomputed {found[name]!r}" for name in differing]
                ledger.add(DIFFERS, f"{row['id']} ({', '.join(changes)})", differing)
            now = {**row, **found}
            counts[index] = [now[name] for name in names]
        return counts


def recounted(dataset: AnyDataset, row: dict[str, Any]) -> Row:
    """What a row should say, as far as that can be made again; raises what the dataset does."""
    item = Item(row["id"], row[GROUP] if row[GROUP] is not None else dataset.group(row["id"]), row[INDEX])
    held = hold(dataset, item, {})
    if held.shape != (row["height"], row["width"]):
        height, width = held.shape
        return {"height": height, "width": width}
    return count(item, held, _mask(row, held))


def _mask(row: dict[str, Any], held: Held) -> Mask:
    """The stored mask (H, W) in the ground truth's size, which its code was checked for."""
    height, width = held.shape
    return rle.decode({"size": [height, width], "counts": row["counts"]})
