"""One process at a time begins, merges or deletes a run, or trains into a folder of weights: the folder's lock.

The lock itself is the system's (`run.lock`), which ends with its process whatever kills it. `run.holder` beside it
says who that process is. On a shared file system where a lock outlives a machine that was lost, the holder's
heartbeat tells: a lock without one for ten minutes is broken, with a warning. So is one that a child of a dead
holder has inherited.
"""

import logging
import os
import time
import uuid
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout

from amodal_bench.errors import Refused
from amodal_bench.store.holder import Holder, Pulse

log = logging.getLogger(__name__)

LOCK, HOLDER = "run.lock", "run.holder"
_TRIES = 100  # to make a folder that others make and remove
_GRACE = 2.0  # seconds that a process may take from locking to writing down that it did


class FolderLock:
    """The lock of one folder. Taking it makes the folder where there is none; a folder left empty goes again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._note = Holder.me().model_dump_json().encode() + b"\n" + uuid.uuid4().hex.encode()
        self._lock: FileLock | None = None
        self._pulse: Pulse | None = None
        self._made: list[Path] = []  # folders, the innermost first

    def take(self) -> bool:
        """Take the lock if it is free; raises `Refused` where the file system can not lock."""
        try:
            return self._try() or (self._break_stale() and self._try())
        except OSError as error:
            raise Refused(f"cannot lock {self._folder} ({error.strerror}): choose another folder") from None

    def release(self) -> None:
        """Give it back."""
        if self._lock is None:
            return
        if self._pulse:
            self._pulse.stop()
        if self.mine:
            for name in (HOLDER, LOCK):
                (self._folder / name).unlink(missing_ok=True)
            self._remove_empty()
        self._lock.release()
        self._lock = None

    @property
    def mine(self) -> bool:
        """Whether this process holds it still: no other has broken it because it saw no heartbeat."""
        return self._lock is not None and self._read() == self._note

    def holder(self) -> Holder | None:
        """Who holds it, as far as is written down."""
        return Holder.read(self._read().partition(b"\n")[0])

    def holder_name(self) -> str:
        """The holder in words."""
        return str(self.holder() or "another process")

    def __enter__(self) -> "FolderLock":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()

    def _try(self) -> bool:
        while True:
            self._make_folder()
            path = self._folder / LOCK
            lock = FileLock(path)
            try:
                # While this is open, its inode stands for one file: equal before and after means locked on it.
                with path.open("ab") as pin:
                    lock.acquire(timeout=0)
                    if not _is_at(path, os.fstat(pin.fileno())):  # its last holder took the file away meanwhile
                        lock.release()
                        continue
            except Timeout:
                return False
            except FileNotFoundError:  # the folder was left empty and removed between two lines
                continue
            (self._folder / HOLDER).write_bytes(self._note)
            self._lock, self._pulse = lock, Pulse(self._folder / HOLDER)
            return True

    def _read(self) -> bytes:
        try:
            return (self._folder / HOLDER).read_bytes()
        except OSError:
            return b""

    def _make_folder(self) -> None:
        for path in (self._folder, *self._folder.parents):
            if not path.exists():
                self._made.append(path)
        for chances in range(_TRIES, -1, -1):
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
            except (FileExistsError, FileNotFoundError):
                # Others remove what they left empty: one that mkdir found may be gone before it is looked at, and a
                # parent before the folder is made in it. Where there is nobody else, it stays as it is.
                if not chances:
                    raise
            else:
                return

    def _remove_empty(self) -> None:
        """Remove the folders that were made here and that nothing came into."""
        for path in self._made:
            with suppress(OSError):
                path.rmdir()

    def _break_stale(self) -> bool:
        holder = self.holder()
        if holder is None or holder.alive(self._folder / HOLDER):
            return False
        time.sleep(_GRACE)
        if self.holder() != holder:
            return False
        log.warning("%s was held by %s, which has shown no sign of life: taken over", self._folder, holder)
        (self._folder / LOCK).unlink(missing_ok=True)
        return True


def _is_at(path: Path, expected: os.stat_result) -> bool:
    try:
        return os.path.samestat(path.stat(), expected)
    except FileNotFoundError:
        return False
