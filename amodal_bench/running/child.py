"""One worker process as its parent sees it: orders go in, words come out."""

import logging
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from typing import IO, Any, Literal

from pydantic import ValidationError

from amodal_bench.files.processes import pipe_of
from amodal_bench.plugin import Settings
from amodal_bench.store.folder import RunFolder
from amodal_bench.store.journal import FOLDER, JournalEntry

log = logging.getLogger(__name__)
_LINGER = 1.0  # seconds that its output may stay open after its end


class WorkerOrders(Settings):
    """What a worker is to do: its shard (number, count), or nothing but the instances that must run alone.

    `key` is the run's: a worker that resolves the request to another one, because data or code have changed since,
    does nothing. `skip` holds what is not to be tried again in this command.
    """

    request: dict[str, Any]
    key: str
    shard: tuple[int, int] | None = None
    alone: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()


class Word(Settings):
    """What a worker tells its parent: that it has loaded (`worker` is its name in the run), or how it ended."""

    kind: Literal["ready", "done", "refused", "failed", "too many", "stopped"]
    text: str = ""
    worker: str = ""


@dataclass(slots=True)
class Child:
    """A worker process."""

    orders: WorkerOrders
    process: subprocess.Popen[bytes]
    deaths: int = 0
    ready: Word | None = None
    end: Word | None = None
    late: bool = False
    suspects: JournalEntry | None = None
    _seen: tuple[int, float] = (0, 0.0)
    _listener: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    @property
    def title(self) -> str:
        """Its name in messages."""
        shard = self.orders.shard
        return f"worker {shard[0]}/{shard[1]}" if shard else "the worker of suspected instances"

    @property
    def gone(self) -> bool:
        """Whether it has ended and all that it said was read."""
        if self.process.poll() is None:
            return False
        self._listener.join(_LINGER)  # what it forked may hold its output open for longer
        return True

    @property
    def how(self) -> str:
        """How its process ended, in words."""
        code = self.process.poll() or 0
        if code >= 0:
            return f"ended with exit code {code}"
        try:
            return f"was killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"was killed by signal {-code}"

    def tell(self, line: bytes) -> None:
        """Send a line; one that is gone does not hear it."""
        try:
            self._input.write(line + b"\n")
            self._input.flush()
        except OSError:
            log.debug("%s is gone", self.title)

    def stop(self) -> None:
        """End its input: it writes what is finished and ends."""
        try:
            self._input.close()
        except OSError:
            log.debug("%s is gone", self.title)

    def close(self) -> None:
        """It is gone: let go of its pipes."""
        self.stop()
        if self.process.stdout:
            self.process.stdout.close()

    def entry(self, folder: RunFolder) -> JournalEntry | None:
        """Its journal."""
        return JournalEntry(folder.path / FOLDER / f"{self.ready.worker}.json") if self.ready else None

    def hangs(self, folder: RunFolder, seconds: float, batch_size: int) -> bool:
        """Whether it has worked on the same instances for longer than `seconds` each."""
        entry = self.entry(folder)
        now = time.monotonic()
        if entry is None or not entry.ids or entry.step != self._seen[0]:
            self._seen = (entry.step if entry else 0, now)
            return False
        return now - self._seen[1] > seconds * (1 if entry.alone else batch_size)

    @property
    def _input(self) -> IO[bytes]:
        return pipe_of(self.process.stdin)

    def _listen(self) -> None:
        for line in self.process.stdout or ():
            try:
                word = Word.model_validate_json(line)
            except ValidationError:
                continue
            if word.kind == "ready":
                self.ready = word
            else:
                self.end = word
