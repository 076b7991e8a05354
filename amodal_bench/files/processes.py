"""Python processes of the package's own: started in one way, and never left behind.

Not `multiprocessing`, which would run an unguarded script or notebook again in every one of them.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import IO

_OWN_GROUP = 0 if os.name == "posix" else None
FOLLOWER = "amodal_bench.files.follower"
_CAN_HOLD = hasattr(signal, "pthread_sigmask")


def start(
    module: str,
    *arguments: str,
    pipes: bool = False,
    held: bool = False,
    environment: Mapping[str, str] | None = None,
) -> "subprocess.Popen[bytes]":
    """`python -m module`, with pipes for its input and output if asked for, one thread a library unless told otherwise.

    `held`: its input is a pipe too, which ends when this process does.

    It finds the package, and plugins, where this process found them, installed or not.
    It is in a process group of its own, so that a terminal's Ctrl-C reaches the parent alone, and is deaf to SIGINT
    until it calls `hear_interrupts`: one that is still importing has nothing to end in order, and would only print a
    traceback.
    """
    found = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    with _interrupts_held():
        return subprocess.Popen(
            [sys.executable, "-P", "-m", module, *arguments],
            stdin=subprocess.PIPE if pipes or held else subprocess.DEVNULL,
            stdout=subprocess.PIPE if pipes else None,
            env={**os.environ, **found, **(environment or {})},
            process_group=_OWN_GROUP,
        )


def run(module: str, commands: Sequence[Sequence[str]]) -> list[int]:
    """Exit codes of one process a command, at the same time; they end with the call, and with this process, however
    it ends.
    """
    with ExitStack() as stack:
        processes = [stack.enter_context(_ended(start(FOLLOWER, module, *c, held=True))) for c in commands]
        return [process.wait() for process in processes]


def hear_interrupts() -> None:
    """In a process that was started so: be told of SIGINT from now on, also of one that came before."""
    if _CAN_HOLD:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def pipe_of(pipe: IO[bytes] | None) -> IO[bytes]:
    """The input or output of a process that was started with pipes."""
    if pipe is None:
        raise ValueError("the process was started without pipes")
    return pipe


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """What is started in this block inherits a mask without SIGINT; one for this process comes when it ends."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if _CAN_HOLD else set()
    try:
        yield
    finally:
        if _CAN_HOLD:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _ended(process: "subprocess.Popen[bytes]") -> "Iterator[subprocess.Popen[bytes]]":
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdin:
            process.stdin.close()
