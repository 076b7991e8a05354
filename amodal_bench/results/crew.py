"""Pieces of a run worked on in several processes of our own, each with its orders and the dataset open."""

import queue
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

import pyarrow as pa

from amodal_bench.errors import Refused
from amodal_bench.files.processes import pipe_of, start
from amodal_bench.results.pipes import READY, receive, send, to_bytes

R = TypeVar("R")
_AHEAD = 2  # pieces that wait, a process


@dataclass(frozen=True, slots=True)
class Work(Generic[R]):
    """What is done with each piece, a table with a column `id`.

    `module` is run with `python -m` and serves pieces (`pipes.serve`) after it was told its `orders`. `read` makes a
    result of its answer, `join` one of two of parts of a piece, and `lost` that of an instance on which the process
    died, from its id and how it ended.
    """

    module: str
    orders: str
    read: Callable[[bytes], R]
    join: Callable[[R, R], R]
    lost: Callable[[str, str], R]


class PieceCrew(Generic[R]):
    """So many processes."""

    def __init__(self, work: Work[R], count: int) -> None:
        self._work, self._count = work, count
        self._idle: queue.SimpleQueue[_Process[R]] = queue.SimpleQueue()

    def results(self, pieces: Iterator[pa.Table]) -> Iterator[R]:
        """A result a piece, in order; few pieces are held at a time."""
        started = [_Process(self._work) for _ in range(self._count)]
        for process in started:
            self._idle.put(process)
        waiting: deque[Future[R]] = deque()
        threads = ThreadPoolExecutor(self._count)
        try:
            for piece in pieces:
                waiting.append(threads.submit(self._one, piece))
                if len(waiting) > self._count * _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
            for process in started:
                process.kill()
            threads.shutdown()
            for process in started:
                process.close()

    def _one(self, piece: pa.Table) -> R:
        process = self._idle.get()
        try:
            return process.result(piece)
        finally:
            self._idle.put(process)


class _Process(Generic[R]):
    """One of them; it is started when it is first needed, and again when it has died."""

    def __init__(self, work: Work[R]) -> None:
        self._work = work
        self._process: subprocess.Popen[bytes] | None = None

    def result(self, piece: pa.Table) -> R:
        """What the process makes of a piece; one on which it dies is halved until that instance stands alone."""
        process = self._process or self._start()
        try:
            send(pipe_of(process.stdin), to_bytes(piece))
            answer = receive(pipe_of(process.stdout))
        except OSError:
            answer = None
        if answer is not None:
            return self._work.read(answer)
        how = _end(process)
        self.close()
        if len(piece) > 1:
            half = len(piece) // 2
            return self._work.join(self.result(piece.slice(0, half)), self.result(piece.slice(half)))
        return self._work.lost(str(piece["id"][0]), how)

    def kill(self) -> None:
        """End it, whatever it does."""
        if self._process:
            self._process.kill()

    def close(self) -> None:
        """It is to end, or has: let go of its pipes."""
        if not self._process:
            return
        self.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):  # what it did not read any more
                pipe_of(pipe).close()
        self._process = None

    def _start(self) -> "subprocess.Popen[bytes]":
        self._process = start(self._work.module, pipes=True)
        with suppress(OSError):  # dead already: seen when it does not answer
            send(pipe_of(self._process.stdin), self._work.orders.encode())
        answer = receive(pipe_of(self._process.stdout))
        if answer != READY:
            raise Refused(answer.decode() if answer else f"a process of it {_end(self._process)} before it had begun")
        return self._process


def _end(process: "subprocess.Popen[bytes]") -> str:
    """How a process that does not answer any more ended."""
    code = process.wait()
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
