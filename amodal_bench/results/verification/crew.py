"""Pieces of a run examined in several processes: `python -m amodal_bench.results.verification.worker` each."""

import queue
import signal
import subprocess
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

import pyarrow as pa

from amodal_bench.errors import Refused
from amodal_bench.files.processes import pipe_of, start
from amodal_bench.results.verification.ledger import Problem
from amodal_bench.results.verification.orders import Orders
from amodal_bench.results.verification.pipes import READY, receive, send, to_bytes
from amodal_bench.results.verification.recount import Report

_AHEAD = 2  # pieces that wait, a process


class Crew:
    """So many processes, each with the dataset open."""

    def __init__(self, orders: Orders, count: int) -> None:
        self._orders, self._count = orders, count
        self._idle: queue.SimpleQueue[_Process] = queue.SimpleQueue()

    def examine(self, pieces: Iterator[pa.Table]) -> Iterator[Report]:
        """A report a piece, in order; few pieces are held at a time."""
        started = [_Process(self._orders) for _ in range(self._count)]
        for process in started:
            self._idle.put(process)
        waiting: deque[Future[Report]] = deque()
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

    def _one(self, piece: pa.Table) -> Report:
        process = self._idle.get()
        try:
            return process.examine(piece)
        finally:
            self._idle.put(process)


class _Process:
    """One of them; it is started when it is first needed, and again when it has died."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._process: subprocess.Popen[bytes] | None = None

    def examine(self, piece: pa.Table) -> Report:
        """What the process says; an instance on which it dies is one that cannot be read."""
        process = self._process or self._start()
        try:
            send(pipe_of(process.stdin), to_bytes(piece))
            answer = receive(pipe_of(process.stdout))
        except OSError:
            answer = None
        if answer is not None:
            return Report.model_validate_json(answer)
        how = _end(process)
        self.close()
        if len(piece) > 1:
            half = len(piece) // 2
            return self.examine(piece.slice(0, half)) + self.examine(piece.slice(half))
        example = f"{piece['id'][0]} (the process that decoded it {how})"
        return Report(seen=1, problems={}, unreadable=Problem(count=1, examples=(example,)))

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
        self._process = start(f"{__package__}.worker", pipes=True)
        with suppress(OSError):  # dead already: seen when it does not answer
            send(pipe_of(self._process.stdin), self._orders.model_dump_json().encode())
        answer = receive(pipe_of(self._process.stdout))
        if answer != READY:
            raise Refused(answer.decode() if answer else f"a process of it {_end(self._process)} before it had begun")
        return self._process


def _end(process: "subprocess.Popen[bytes]") -> str:
    """How a process that does not answer any more ended."""
    code = process.wait()
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
