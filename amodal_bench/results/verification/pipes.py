"""What passes between the processes of a verification: messages with their length in front, tables as Arrow streams."""

import struct
from typing import IO

import pyarrow as pa

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
