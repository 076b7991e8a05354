"""Whether a file is still the one that was read, told without reading it again."""

import hashlib
import os
import stat
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from threading import Lock
from typing import Any, Concatenate, Generic, NamedTuple, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

TICK, COARSE_TICK = 50_000_000, 2_000_000_000  # ns: clocks of file systems are no coarser, those of whole seconds


class Stamp(NamedTuple):
    """What changes with a file. `ctime` is the kernel's: unlike `mtime` it cannot be set back. Times are in ns."""

    size: int
    mtime: int
    ctime: int
    inode: int

    def settled(self, now: int) -> bool:
        """Whether every change after `now` (ns since 1970) is sure to make another stamp.

        Within one tick of its clock a file can change twice under one stamp. A time in whole seconds is taken as a
        sign of a clock that counts no finer.
        """
        return self.ctime + (TICK if self.ctime % 1_000_000_000 else COARSE_TICK) <= now


def stamp_of(path: str | Path) -> Stamp | None:
    """The stamp of a file or folder, links followed; None where there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 (a million Path objects take longer than this)
    except OSError:
        return None
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        return None
    return Stamp(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino & 0x7FFF_FFFF_FFFF_FFFF)


@dataclass(slots=True)
class _Kept(Generic[T]):
    """What was made of a file. `digest` is of one that was just written: its stamp does not tell it."""

    value: T
    stamp: Stamp | None
    digest: str | None

    def still(self, path: Path, stamp: Stamp, now: int) -> bool:
        """Whether the file is the one that was read."""
        if self.stamp != stamp or (self.digest is not None and self.digest != (_sha256(path) or None)):
            return False
        if stamp.settled(now):
            self.digest = None
        return True


def remembered(most: int) -> Callable[[Callable[Concatenate[Path, P], T]], Callable[Concatenate[Path, P], T]]:
    """Keep what a function made of the last `most` files, each for as long as it is the same file."""

    def decorate(read: Callable[Concatenate[Path, P], T]) -> Callable[Concatenate[Path, P], T]:
        kept: OrderedDict[Any, _Kept[T]] = OrderedDict()
        lock = Lock()

        @wraps(read)
        def call(path: Path, /, *args: P.args, **options: P.kwargs) -> T:
            key = path, args, *options.items()
            now, stamp = time.time_ns(), stamp_of(path)
            found = kept.get(key)
            if found is None or stamp is None or not found.still(path, stamp, now):
                digest = None if stamp is None or stamp.settled(now) else _sha256(path)
                found = _Kept(read(path, *args, **options), stamp, digest)
            with lock:
                kept[key] = found
                kept.move_to_end(key)
                while len(kept) > most:
                    kept.popitem(last=False)
            return found.value

        return call

    return decorate


def _sha256(path: Path) -> str:
    """Empty for what cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
