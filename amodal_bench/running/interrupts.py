"""Ctrl-C, and the signals that mean the same: what is finished is written first, then the process ends.

SIGTERM is a cluster's or a system's notice, SIGHUP a closed terminal.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
_ENOUGH = 3  # a user who asks so often does not want to wait for anything


class Interrupted(KeyboardInterrupt):
    """A signal asked the process to end; `code` is the exit code that a shell expects of it."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise `Interrupted` in this block at the first of the signals; a second one waits, a third ends at once.

    A signal that was ignored before (nohup, a shell's background job) stays ignored. In a child that this process
    forks meanwhile (a pool of workers in a method), the signals do what they do by default.
    """
    mine, seen = os.getpid(), 0

    def stop(number: int, _: FrameType | None) -> None:
        nonlocal seen
        if os.getpid() != mine:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        seen += 1
        if seen == 1:
            raise Interrupted(number)
        if seen >= _ENOUGH:
            os._exit(128 + number)
        with suppress(OSError):
            os.write(2, b"writing what is finished; once more ends at once\n")

    before: dict[int, Any] = {}
    for name in _SIGNALS:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
