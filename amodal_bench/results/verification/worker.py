"""A process of a verification: `python -m amodal_bench.results.verification.worker`."""

from collections.abc import Callable

import pyarrow as pa

from amodal_bench.results.pipes import serve
from amodal_bench.results.recorded import Recorded
from amodal_bench.results.verification.orders import PieceOrders
from amodal_bench.results.verification.recount import Examiner


def begin(text: bytes) -> Callable[[pa.Table], bytes]:
    """What makes a report, as JSON, of a piece of the run."""
    orders = PieceOrders.model_validate_json(text)
    dataset, means = None, orders.means
    if not means.quick:
        dataset = Recorded(orders.run, orders.record, means.plugins).open(means.flags, means.visible).dataset
    examiner = Examiner(dataset, orders.sixteen)
    return lambda piece: examiner.examine(piece).model_dump_json().encode()


if __name__ == "__main__":
    serve(begin)
