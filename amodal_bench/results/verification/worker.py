"""A process of a verification: orders first, then pieces of a run on standard input; a report each on the output."""

import os
import sys
from typing import BinaryIO

from amodal_bench.errors import Refused
from amodal_bench.results.recorded import Recorded
from amodal_bench.results.verification.orders import Orders
from amodal_bench.results.verification.pipes import READY, receive, send, to_table
from amodal_bench.results.verification.recount import Examiner
from amodal_bench.text import streams


def main() -> None:
    """Examine until the input ends."""
    streams.guard()
    out = _channel()
    text = receive(sys.stdin.buffer)
    if text is None:
        return
    orders = Orders.model_validate_json(text)
    try:
        examiner = _open(orders)
    except Refused as error:
        send(out, str(error).encode())
        return
    send(out, READY)
    while (message := receive(sys.stdin.buffer)) is not None:
        send(out, examiner.examine(to_table(message)).model_dump_json().encode())


def _open(orders: Orders) -> Examiner:
    dataset = None
    if not orders.means.quick:
        means = orders.means
        dataset = Recorded(orders.run, orders.record, means.plugins).open(means.flags, means.visible).dataset
    return Examiner(dataset, orders.sixteen)


def _channel() -> BinaryIO:
    """A way to the parent that nothing else writes to: what plugins print goes to standard error."""
    out: BinaryIO = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return out


if __name__ == "__main__":
    main()
