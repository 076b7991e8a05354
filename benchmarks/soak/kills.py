"""Signals at random moments, to a command, to its process group or to one of its workers; then the same again."""

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from random import Random

import psutil
from ground import Command, Ground

SIGNALS: dict[str, tuple[signal.Signals, ...]] = {
    "KILL": (signal.SIGKILL,),
    "TERM": (signal.SIGTERM,),
    "INT": (signal.SIGINT,),
    "INT twice": (signal.SIGINT, signal.SIGINT),
    "HUP": (signal.SIGHUP,),
    "STOP, CONT": (signal.SIGSTOP, signal.SIGCONT),
}
TARGETS = ("command", "group", "worker")
_SLOWEST = 6.0  # seconds after its start in which a command is struck
_BETWEEN = 0.3  # seconds between two signals


@dataclass(frozen=True, slots=True)
class Blow:
    """Signals and whom they are sent to."""

    name: str
    target: str

    @classmethod
    def drawn(cls, rng: Random) -> "Blow":
        """Any of them."""
        return cls(rng.choice(list(SIGNALS)), rng.choice(TARGETS))

    def strike(self, command: Command, rng: Random) -> None:
        """Send them, if the target still runs."""
        command.blows.append(self.name)
        workers = sorted(command.workers(), key=lambda process: process.pid)
        worker = rng.choice(workers) if self.target == "worker" and workers else None
        for index, number in enumerate(SIGNALS[self.name]):
            if index:
                time.sleep(_BETWEEN)
            if worker is None and number not in (signal.SIGSTOP, signal.SIGCONT):
                command.sent.append(number)
            with suppress(ProcessLookupError, psutil.NoSuchProcess):
                self._send(command, worker, number)

    def _send(self, command: Command, worker: psutil.Process | None, number: signal.Signals) -> None:
        if worker:
            worker.send_signal(number)
        elif self.target == "group":
            os.killpg(command.process.pid, number)
        else:
            command.process.send_signal(number)

    def __str__(self) -> str:
        return f"{self.name} to the {self.target}"


def watch(ground: Ground, command: Command, seconds: float) -> None:
    """Look at the run for so long, or until the command ends: no finished row may go."""
    end = time.monotonic() + seconds
    while command.code is None and time.monotonic() < end:
        ground.finished()
        time.sleep(min(0.25, max(0.0, end - time.monotonic())))


def struck(ground: Ground, command: Command, blow: Blow, rng: Random) -> None:
    """Strike a command, and check how it ends and what it leaves."""
    blow.strike(command, rng)
    # A worker that was killed twice at one instance leaves an error row behind: 1.
    code = command.check_code((0, 1) if blow.target == "worker" else (0,))
    command.check_no_orphans()
    ground.finished()
    ground.check_true(command, code)


def kills(ground: Ground, rng: Random) -> str:
    """Two to five commands, each struck once; then one that is not."""
    told = []
    for _ in range(rng.randint(2, 5)):
        workers, blow = rng.randint(1, 3), Blow.drawn(rng)
        command = ground.start("--workers", str(workers))
        seconds = rng.uniform(0, _SLOWEST)
        watch(ground, command, seconds)
        struck(ground, command, blow, rng)
        told.append(f"{blow} of {workers} after {seconds:.1f} s")
    ground.complete("--workers", str(rng.randint(1, 3)))
    return "; ".join(told)


def barrage(ground: Ground, rng: Random) -> str:
    """One command whose workers are struck again and again."""
    command = ground.start("--workers", str(rng.randint(2, 3)))
    ground.wait_for("journal/*", command)
    told: list[str] = []
    while command.code is None and len(told) < 6:
        watch(ground, command, rng.uniform(0, 2))
        blow = Blow(rng.choice(list(SIGNALS)), "worker")
        if command.code is None and command.workers():
            blow.strike(command, rng)
            told.append(blow.name)
    code = command.check_code((0, 1))
    command.check_no_orphans()
    ground.check_true(command, code)
    ground.complete()
    return f"workers struck while one command went on: {', '.join(told)}"
