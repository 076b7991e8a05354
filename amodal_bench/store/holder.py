"""Who works on a run folder: processes that can be told alive from dead, also on another machine.

On one machine a process is known by its number and the time it started. On another one only its *heartbeat* can be
seen: the time of change of a file that it touches every half minute, read by the clock of the file system, which is
the same for all that share it.
"""

import os
import socket
import tempfile
import threading
from pathlib import Path

import psutil
from pydantic import ValidationError

from amodal_bench.plugin import Settings

BEAT = 30.0  # seconds between two heartbeats
SILENCE = 600.0  # seconds without one after which a process on another machine counts as dead


class Holder(Settings):
    """One process: the machine's name, the process's number, and when it started, in seconds after the machine did.

    Counted from there and not from 1970, a start does not move when the machine's clock is set.
    """

    host: str
    pid: int
    started: float

    @classmethod
    def me(cls) -> "Holder":
        """This process."""
        return cls(host=socket.gethostname(), pid=os.getpid(), started=_since_boot(psutil.Process()))

    @classmethod
    def read(cls, text: bytes) -> "Holder | None":
        """From the JSON of a file that may have been cut off."""
        try:
            return cls.model_validate_json(text)
        except ValidationError:
            return None

    @property
    def here(self) -> bool:
        """Whether it runs, or ran, on this machine."""
        return self.host == socket.gethostname()

    def alive(self, pulse: Path) -> bool:
        """Whether it still runs, as far as can be seen; `pulse` is the file that it touches."""
        if self.here:
            return _runs(self.pid, self.started)
        return _age(pulse) < SILENCE

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def _runs(pid: int, started: float) -> bool:
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and abs(_since_boot(process) - started) < 1.5
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def _since_boot(process: psutil.Process) -> float:
    return float(process.create_time() - psutil.boot_time())


def _age(path: Path) -> float:
    """Seconds since a file was touched, by the file system's clock; a file that is gone is as old as can be."""
    try:
        touched = path.stat().st_mtime
        with tempfile.TemporaryFile(dir=path.parent) as probe:
            return float(os.fstat(probe.fileno()).st_mtime - touched)
    except OSError:
        return float("inf")


class Pulse:
    """Touches a file every half minute, in a thread of its own, until it is stopped."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Beat no more."""
        self._end.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._end.wait(BEAT):
            try:
                os.utime(self._path)
            except OSError:  # the file was taken away, or the disk is gone: the next one who looks finds no pulse
                return
