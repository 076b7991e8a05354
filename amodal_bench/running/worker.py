"""A worker process of a bench command: `python -m amodal_bench.running.worker`, with its orders on standard input."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import BinaryIO

from amodal_bench.errors import Refused
from amodal_bench.files.processes import hear_interrupts
from amodal_bench.resolve.job import Request, prepare
from amodal_bench.running import run
from amodal_bench.running.child import Word, WorkerOrders
from amodal_bench.running.guard import Failure, guarded
from amodal_bench.running.interrupts import Interrupted, interruptible
from amodal_bench.running.predict import TooManyErrors
from amodal_bench.text import streams

_GRACE = 30.0  # seconds to write what is finished, once the parent is gone


def main() -> None:
    """Carry out the orders and tell how it ended."""
    streams.guard()
    say = _channel()
    orders = WorkerOrders.model_validate_json(sys.stdin.buffer.readline())
    word = Word(kind="stopped")
    try:
        with interruptible():
            hear_interrupts()
            word = _outcome(orders, say)
    except Interrupted as interrupt:
        word = Word(kind="stopped", text=str(interrupt))
    say(word)


def _channel() -> Callable[[Word], None]:
    """A way to the parent that nothing else writes to: what plugins print goes to standard error."""
    out: BinaryIO = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)

    def say(word: Word) -> None:
        try:
            out.write(word.model_dump_json().encode() + b"\n")
            out.flush()
        except BrokenPipeError:  # the parent is gone: nobody wants to know
            logging.getLogger(__name__).debug("unheard: %s", word)

    return say


def _outcome(orders: WorkerOrders, say: Callable[[Word], None]) -> Word:
    """How the work ended; an error of a plugin's `load` too is a word."""
    done = guarded(lambda: _work(orders, say))
    if isinstance(done, Failure):
        sys.stderr.write(done.trace)
        return Word(kind="failed", text=done.message)
    return done


def _work(orders: WorkerOrders, say: Callable[[Word], None]) -> Word:
    try:
        job = prepare(Request.model_validate(orders.request))
        if job.spec.key() != orders.key:
            raise Refused(
                f"the data or the code has changed since the run {orders.key} began: for a worker that starts now its "
                f"key would be {job.spec.key()}. The same command begins a run of what is there now"
            )
        method = job.preset.make()
        method.load(job.runtime)
        say(Word(kind="ready", worker=job.folder.worker))
        _await_go()
        run.work_shard(job, method, orders)
    except TooManyErrors as error:
        return Word(kind="too many", text=str(error))
    except Refused as error:
        return Word(kind="refused", text=str(error))
    return Word(kind="done")


def _await_go() -> None:
    """Wait for the parent's second line, and from then on for its end."""
    if not sys.stdin.buffer.readline():
        raise Interrupted(signal.SIGTERM)
    threading.Thread(target=_follow, name="parent", daemon=True).start()


def _follow() -> None:
    """When the parent is gone, stop as at a signal; a method that hangs is not waited for."""
    while os.read(0, 4096):  # not by sys.stdin, whose lock would be held when the process ends
        continue
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(_GRACE)
    os._exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    main()
