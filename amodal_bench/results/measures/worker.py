"""A process that measures: `python -m amodal_bench.results.measures.worker`."""

from collections.abc import Callable

import pyarrow as pa

from amodal_bench.results.measures.pieces import MeasureOrders, measure_piece
from amodal_bench.results.pipes import serve, to_bytes
from amodal_bench.results.recorded import Recorded


def begin(text: bytes) -> Callable[[pa.Table], bytes]:
    """What measures a piece."""
    orders = MeasureOrders.model_validate_json(text)
    means = orders.means
    dataset = Recorded(orders.run, orders.record, means.plugins).open(means.flags, means.visible).dataset
    return lambda piece: to_bytes(measure_piece(dataset, orders.measures, piece))


if __name__ == "__main__":
    serve(begin)
