"""Whether a file is still the one that was read, told without reading it again."""

import os
import stat
import time
from collections.abc import Callable
from functools import lru_cache, wraps
from pathlib import Path
from typing import Concatenate, NamedTuple, ParamSpec, TypeVar

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


def remembered(most: int) -> Callable[[Callable[Concatenate[Path, P], T]], Callable[Concatenate[Path, P], T]]:
    """Keep what a function made of the last `most` files, each for as long as its stamp stays."""

    def decorate(read: Callable[Concatenate[Path, P], T]) -> Callable[Concatenate[Path, P], T]:
        def anew(path: Path, _: Stamp, *args: P.args, **options: P.kwargs) -> T:
            return read(path, *args, **options)

        kept: Callable[..., T] = lru_cache(maxsize=most)(anew)

        @wraps(read)
        def call(path: Path, /, *args: P.args, **options: P.kwargs) -> T:
            now, stamp = time.time_ns(), stamp_of(path)
            if stamp is None or not stamp.settled(now):
                return read(path, *args, **options)
            return kept(path, stamp, *args, **options)

        return call

    return decorate
