"""Where the soak's commands run: real ones, in processes and folders of their own, watched while they run.

A `Violation` is a promise that was broken: what was seen, and what was said by the commands that were running.
"""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from amodal_bench.store.folder import RunFolder

PLUGINS = Path(__file__).resolve().parents[2] / "tests" / "plugins"
COUNT = 120  # instances
PACE = 0.04  # seconds that the method takes for one
DECIDED = ("plan", "instances", "predictions")  # the tables that the spec alone decides
_LONGEST = 300.0  # seconds that a command may take here before it counts as hanging
_AFTER = 60.0  # seconds that a worker may outlive its command


class Violation(Exception):
    """A promise that did not hold."""


@dataclass(slots=True)
class Command:
    """A command that was started, in a session of its own so that all its processes can be found.

    `sent` are the signals that it got itself, `blows` tell what was sent to it or its workers.
    """

    process: subprocess.Popen[bytes]
    log: Path
    sent: list[signal.Signals] = field(default_factory=list)
    blows: list[str] = field(default_factory=list)

    @property
    def code(self) -> int | None:
        """Its exit code as a shell tells it, None while it runs."""
        code = self.process.poll()
        return code if code is None or code >= 0 else 128 - code

    @property
    def said(self) -> str:
        """All that it wrote so far."""
        return self.log.read_text(errors="replace")

    def processes(self) -> list[psutil.Process]:
        """All of its session that run, itself and its workers."""
        mine = [pid for pid in psutil.pids() if _session(pid) == self.process.pid]
        return [process for process in map(_process, mine) if process and _runs(process)]

    def workers(self) -> list[psutil.Process]:
        """Its worker processes."""
        return [p for p in self.processes() if p.pid != self.process.pid]

    def wait(self, seconds: float = _LONGEST) -> int:
        """Its exit code; a command that does not end in time is killed and a violation."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.end()
            raise Violation(f"no end within {seconds:g} s\n{self.said}") from None
        return self.code or 0

    def end(self) -> None:
        """Kill what is left of it."""
        left = self.processes()
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()
        psutil.wait_procs(left)

    def check_code(self, allowed: Sequence[int]) -> int:
        """Raise unless it ended with one of these codes or by a signal that it was sent, and without a traceback."""
        code = self.wait()
        by_signal = [128 + number for number in self.sent]
        if code not in (*allowed, *by_signal):
            raise Violation(f"exit code {code}, expected one of {sorted({*allowed, *by_signal})}\n{self.said}")
        early = code == 128 + signal.SIGINT and self.said.rstrip().endswith("KeyboardInterrupt")  # not yet begun
        if "Traceback" in self.said and not early:
            raise Violation(f"a traceback, exit code {code}\n{self.said}")
        return code

    def check_no_orphans(self) -> None:
        """Raise where a process of the command outlives it."""
        deadline = time.monotonic() + _AFTER
        while self.workers():
            if time.monotonic() > deadline:
                left = [" ".join(p.cmdline()) for p in self.workers()]
                self.end()
                raise Violation(f"still running {_AFTER:g} s after their command: {left}\n{self.said}")
            time.sleep(0.05)


@dataclass
class Ground:
    """One results folder, and the commands that work in it.

    `home` holds what the commands write, `results` is their results folder, `options` go to all of them and
    `environment` adds to this process's. `key` says which run is meant where several lie there. `least` is the most
    finished rows that were seen so far: there must never be fewer.
    """

    home: Path
    results: Path
    options: tuple[str, ...] = (f"--set=dataset.count={COUNT}",)
    environment: dict[str, str] = field(default_factory=dict)
    method: str = "slow"
    dataset: str = "squares"
    key: str = "*"
    commands: list[Command] = field(default_factory=list)
    least: int = 0
    afterwards: ExitStack = field(default_factory=ExitStack)

    @property
    def folder(self) -> RunFolder:
        """The run that lies here."""
        found = self._folders()
        if len(found) != 1:
            raise Violation(f"{len(found)} run folders where one was expected: {found}\n{self.story()}")
        return RunFolder(found[0])

    def start(self, *options: str, pace: float = PACE) -> Command:
        """Start the bench command; its method takes `pace` seconds an instance."""
        named = ("--method", self.method, "--dataset", self.dataset, "--results", str(self.results))
        return self._start("bench", *named, *self.options, *options, pace=pace)

    def start_worker(self, shard: str, pace: float = PACE) -> Command:
        """Start a `worker` command on the run that lies here."""
        return self._start("worker", str(self.folder.path), "--shard", shard, pace=pace)

    def _start(self, *arguments: str, pace: float) -> Command:
        self.home.mkdir(parents=True, exist_ok=True)
        log = self.home / f"{len(self.commands):03d}.log"
        plugins = [f"--plugin={PLUGINS / name}.py" for name in (self.method, self.dataset)]
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "amodal_bench", *arguments, *plugins],
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, cwd=self.home, start_new_session=True,
                env={**os.environ, "SLOW_SECONDS": str(pace), **self.environment},
            )  # fmt: skip
        self.commands.append(Command(process, log))
        return self.commands[-1]

    def finished(self) -> int:
        """How many rows are finished; raises where there were more before."""
        now = self.folder.finished() if self._folders() else 0
        if now < self.least:
            raise Violation(f"{now} finished rows where there were {self.least}\n{self.story()}")
        self.least = now
        return now

    def wait_for(self, pattern: str, command: Command) -> None:
        """Wait until a file of this pattern lies in the run, or the command ends."""
        deadline = time.monotonic() + _LONGEST
        while command.code is None and not any(any(path.glob(pattern)) for path in self._folders()):
            if time.monotonic() > deadline:
                raise Violation(f"no {pattern} within {_LONGEST:g} s\n{command.said}")
            time.sleep(0.01)

    def complete(self, *options: str, tries: int = 4) -> None:
        """The same command, unhurried, until the run is complete; once more, which has nothing to do but tidy up.

        More than one try only where rows failed: an instance whose process was killed twice is an error row, and the
        next command tries it again.
        """
        codes = [self._settled(*options)]
        while codes[-1] == 1 and len(codes) < tries:
            codes.append(self._settled(*options))
        if codes[-1] != 0 or self._settled(*options) != 0:
            raise Violation(f"not complete after {codes}\n{self.story()}")

    def _settled(self, *options: str) -> int:
        command = self.start(*options, pace=0.0)
        code = command.check_code((0, 1))
        command.check_no_orphans()
        self.finished()
        self.check_true(command, code)
        return code

    def check_true(self, command: Command, code: int) -> None:
        """Raise where a command said 0 of a run that is not complete, or 1 of one that is."""
        if code in (0, 1) and self.folder.complete != (code == 0):
            raise Violation(f"exit code {code}, but complete is {self.folder.complete}\n{command.said}")

    def check_end(self, wanted: dict[str, str]) -> None:
        """Raise unless the run is complete with the wanted bytes and nothing beside it."""
        found = digests(self.folder)
        differing = [name for name in DECIDED if found[name] != wanted[name]]
        if differing:
            raise Violation(f"{', '.join(differing)} differ from the undisturbed run's\n{self.story()}")
        litter = sorted(litter_of(self.folder))
        if litter:
            raise Violation(f"left in a complete run: {litter}\n{self.story()}")

    def story(self) -> str:
        """What every command said, for the report of a violation."""
        return "\n".join(f"--- {c.log.name} (exit code {c.code})\n{c.said}" for c in self.commands)

    def close(self) -> None:
        """End what still runs."""
        for command in self.commands:
            command.end()
        self.afterwards.close()

    def _folders(self) -> list[Path]:
        return sorted(self.results.glob(f"{self.dataset}/*/{self.method}/{self.key}"))


def digests(folder: RunFolder) -> dict[str, str]:
    """sha256 of each table that the spec alone decides; empty where it is missing."""
    paths = {name: folder.path / f"{name}.parquet" for name in DECIDED}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "" for name, path in paths.items()
    }


def litter_of(folder: RunFolder) -> Iterator[str]:
    """Files of a complete run's folder that do not belong there."""
    known = {"run.json", *(f"{name}.parquet" for name in (*DECIDED, "timings"))}
    for path in folder.path.rglob("*"):
        name = str(path.relative_to(folder.path))
        if name not in known and not (path.is_dir() and name == "parts"):
            yield name


def heed_interrupts() -> None:
    """Have Ctrl-C reach the commands that are started: a shell's background job would have them ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def is_refusal(command: Command) -> bool:
    """Whether it ended with 2 and a line of its own."""
    return command.code == 2 and "amodal-bench: " in command.said


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return None


def _process(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except psutil.NoSuchProcess:
        return None


def _runs(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
