"""One piece of a run: its masks decoded beside the dataset's, and measured."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from amodal_bench.errors import BadRecord
from amodal_bench.masks import rle
from amodal_bench.metrics.pixels import MEASURES, Measure, Pixels
from amodal_bench.plugin import AnyDataset
from amodal_bench.results.verification.orders import PieceOrders
from amodal_bench.running.guard import Failure, guarded
from amodal_bench.running.predict import planned_sample
from amodal_bench.types import MOST_PIXELS

INDEX = "_index"  # a row's index in the dataset


class MeasureOrders(PieceOrders):
    """What a process that measures is told: a run, what may be used of this machine, and which measures."""

    names: tuple[str, ...]

    @property
    def measures(self) -> list[Measure]:
        """The measures of these names."""
        return [MEASURES[name] for name in self.names]


def measure_piece(dataset: AnyDataset, measures: Sequence[Measure], piece: pa.Table) -> pa.Table:
    """id, the columns of the measures, and `error`: why an instance could not be measured, else null.

    Args:
        dataset: the one of the run.
        measures: what to measure.
        piece: id, size, counts of predictions.parquet and `INDEX`.
    """
    rows = []
    for row in piece.to_pylist():
        found = guarded(lambda row=row: _measured(dataset, measures, row))  # type: ignore[misc]
        if isinstance(found, Failure):
            rows.append({"id": row["id"], "error": found.message})
        else:
            rows.append({"id": row["id"], **found})
    return to_table(rows, measures)


def failed(id: str, message: str, measures: Sequence[Measure]) -> pa.Table:
    """The row of an instance that could not be measured."""
    return to_table([{"id": id, "error": message}], measures)


def to_table(rows: Sequence[dict[str, Any]], measures: Sequence[Measure]) -> pa.Table:
    """Rows as the table of `measure_piece`."""
    numbers = [pa.field(name, pa.int64()) for measure in measures for name in measure.columns]
    schema = pa.schema([pa.field("id", pa.string()), *numbers, pa.field("error", pa.string())])
    return pa.Table.from_pylist(list(rows), schema=schema)


def _measured(dataset: AnyDataset, measures: Sequence[Measure], row: dict[str, Any]) -> dict[str, int]:
    if row[INDEX] is None:
        raise BadRecord(f"{row['id']}: the dataset has no such instance here")
    sample = planned_sample(dataset, row["id"], row[INDEX])
    height, width = sample.amodal.shape
    if height * width > MOST_PIXELS:
        raise BadRecord(f"{row['id']}: an image of {width} x {height} pixels cannot be")
    # The code is checked first: what decodes it writes wherever the runs lead.
    code = rle.from_annotation({"size": row["size"], "counts": row["counts"]}, height, width, f"mask of {row['id']}")
    predicted = rle.decode(code).astype(np.bool_, copy=False)
    visible = sample.visible & sample.amodal
    found: dict[str, int] = {}
    for measure in measures:
        parts: dict[str, Pixels] = measure.of(predicted, sample.amodal, visible)
        found.update(zip(measure.columns, (n for part in measure.parts for n in parts[part]), strict=True))
    return found
