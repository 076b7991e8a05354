"""Standard output and error that never end a run: what cannot be encoded is escaped, a failed write is noted."""

import io
import logging
import os
import select
import sys
import traceback
from types import TracebackType
from typing import Any, TextIO

from amodal_bench.text.printable import indented, printable


class Outlet(io.RawIOBase):
    """The raw end of a stream. Writing to it never fails; `lost` is the first reason why something was not written."""

    def __init__(self, raw: io.RawIOBase) -> None:
        super().__init__()
        self._raw = raw
        self.lost: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Number of bytes taken: all of them where the reader is gone or the disk is full."""
        try:
            while (written := self._raw.write(data)) is None:  # a pipe that others made non-blocking, and that is full
                select.select([], [self._raw], [])
        except OSError as error:
            self.lost = self.lost or error
            return len(data)
        return written

    def writable(self) -> bool:
        """Always."""
        return True

    def fileno(self) -> int:
        """Of the stream itself."""
        return self._raw.fileno()

    def isatty(self) -> bool:
        """Whether a terminal reads it."""
        return self._raw.isatty()


class _Text(io.TextIOWrapper):
    """A standard stream that a plugin cannot close."""

    def close(self) -> None:
        self.flush()


def guard() -> None:
    """For the start of a process of ours: outlets below sys.stdout and sys.stderr, and logs in plain lines.

    Streams that were closed lead nowhere. Log records, warnings and tracebacks steer no terminal.
    """
    _fill_closed()
    sys.stdout, sys.stderr = _guarded(sys.stdout), _guarded(sys.stderr)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines("%(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.captureWarnings(True)
    sys.excepthook = _show_traceback


def lost_output() -> OSError | None:
    """Why standard output is not whole; None where it is, and where its reader has seen enough (`| head`)."""
    sys.stdout.flush()
    outlet = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    lost = outlet.lost if isinstance(outlet, Outlet) else None
    return None if isinstance(lost, BrokenPipeError) else lost


class _Lines(logging.Formatter):
    """A record whose first line alone begins at the margin."""

    def format(self, record: logging.LogRecord) -> str:
        return indented(super().format(record).rstrip("\n"))


def _show_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """As Python does, without the control characters that a message may hold."""
    sys.stderr.write(printable("".join(traceback.format_exception(kind, error, trace)), keep="\n\t"))


def _guarded(stream: TextIO | None) -> TextIO:
    if stream is None:
        return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    stream.flush()
    raw: Any = getattr(stream.buffer, "raw", stream.buffer)  # python -u has no buffer
    return _Text(
        io.BufferedWriter(Outlet(raw)),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _fill_closed() -> None:
    """Open what is closed of 0, 1 and 2: a file of results that took the number would be printed into."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            os.set_inheritable(number, True)
