"""What passes between the processes of a crew: messages with their length in front, tables as Arrow streams."""

import os
import struct
import sys
from collections.abc import Callable
from typing import IO, BinaryIO

import pyarrow as pa

from amodal_bench.errors import Refused
from amodal_bench.text import streams

READY = b"ready"  # the first message of a process that has its orders and the dataset open
_LENGTH = struct.Struct("<Q")


def send(out: IO[bytes], message: bytes) -> None:
    """Write one message; raises `OSError` where nobody reads."""
    out.write(_LENGTH.pack(len(message)))
    out.write(message)
    out.flush()


def receive(source: IO[bytes]) -> bytes | None:
    """Read one message; None where it does not come whole any more."""
    head = source.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    message = source.read(length)
    return message if len(message) == length else None


def to_bytes(table: pa.Table) -> bytes:
    """A table as a message."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def to_table(message: bytes) -> pa.Table:
    """The table in a message."""
    with pa.ipc.open_stream(message) as stream:
        return stream.read_all()


def serve(begin: Callable[[bytes], Callable[[pa.Table], bytes]]) -> None:
    """The loop of a process of a crew: orders first, then pieces on standard input; an answer each on the output.

    `begin` makes of the orders what answers pieces; what it raises as `Refused` is told instead of `READY`.
    """
    streams.guard()
    out = _channel()
    orders = receive(sys.stdin.buffer)
    if orders is None:
        return
    try:
        answer = begin(orders)
    except Refused as error:
        send(out, str(error).encode())
        return
    send(out, READY)
    while (message := receive(sys.stdin.buffer)) is not None:
        send(out, answer(to_table(message)))


def _channel() -> BinaryIO:
    """A way to the parent that nothing else writes to: what plugins print goes to standard error."""
    out: BinaryIO = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return out
