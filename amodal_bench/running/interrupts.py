"""Ctrl-C, and the signals that mean the same: what is finished is written first, then the process ends.

SIGTERM is a cluster's or a system's notice, SIGHUP a closed terminal. SIGUSR1 asks a training to keep what it has
and to go on.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
_KEEP = "SIGUSR1"
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

    with _handled(dict.fromkeys(_SIGNALS, stop)):
        yield


class Notice:
    """What signals have asked for in a block of `noticed`: to stop (the signal's number, else 0), to keep the state."""

    def __init__(self) -> None:
        self.stop = 0
        self.keep = False


@contextmanager
def noticed() -> Iterator[Notice]:
    """The signals interrupt nothing in this block but are noted: the block looks, and ends where it can go on later.

    A second one waits, a third ends the process at once. In a thread other than the main one nothing is noted.
    """
    notice, seen = Notice(), 0

    def stop(number: int, _: FrameType | None) -> None:
        nonlocal seen
        seen += 1
        notice.stop = notice.stop or number
        if seen >= _ENOUGH:
            os._exit(128 + number)
        with suppress(OSError):
            os.write(2, b"keeping what is done after this step; three times ends at once\n")

    def keep(_: int, __: FrameType | None) -> None:
        notice.keep = True

    if threading.current_thread() is not threading.main_thread():
        yield notice
        return
    with _handled({**dict.fromkeys(_SIGNALS, stop), _KEEP: keep}):
        yield notice


@contextmanager
def _handled(handlers: dict[str, Callable[[int, FrameType | None], None]]) -> Iterator[None]:
    """Signals by name are handled in this block, but for those that were ignored before."""
    before: dict[int, Any] = {}
    for name, handler in handlers.items():
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
