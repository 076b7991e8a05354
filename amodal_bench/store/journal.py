"""What a process is doing to a run right now, on disk, so that its death leaves word of what it died on.

A run's `journal/` holds one small file a process, written in place: who it is, and the ids that it decodes and
predicts at this moment. A process that ends takes its file away. What a dead one has left names the *suspects*: one
of them may have killed it.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import orjson

from amodal_bench.store.holder import Holder, Pulse

FOLDER = "journal"
_HEAD = 256  # bytes kept for who the process is


class Journal:
    """The file of this process, gone again when the block is left, by an error too.

    `alone`: its instances were suspected before and are worked on one at a time, with nothing else beside them.
    """

    def __init__(self, run: Path, worker: str, alone: bool = False) -> None:
        self._alone = alone
        self._path = run / FOLDER / f"{worker}.json"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        head = f"{Holder.me().model_dump_json()}\n{os.fstat(self._file).st_ino}"
        os.pwrite(self._file, head.encode().ljust(_HEAD), 0)
        self._steps = 0
        self.holds([])
        self._pulse = Pulse(self._path)

    def holds(self, ids: Sequence[str]) -> None:
        """Note what is being decoded and predicted from now on: one write, whole for whoever reads it."""
        self._steps += 1
        state = [self._steps, ids, self._alone]
        os.pwrite(self._file, orjson.dumps(state, option=orjson.OPT_APPEND_NEWLINE), _HEAD)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self._pulse.stop()
        os.close(self._file)
        self._path.unlink(missing_ok=True)


class JournalEntry:
    """A journal file as another process reads it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.worker = path.stem
        try:
            text, inode = path.read_bytes(), path.stat().st_ino
        except OSError:
            text, inode = b"", 0
        holder, _, written = text[:_HEAD].strip().partition(b"\n")
        self._holder = Holder.read(holder)
        self._copied = written != str(inode).encode()
        self.step, self.ids, self.alone = _state(text[_HEAD:])

    @property
    def alive(self) -> bool:
        """Whether the process that wrote it still runs. In a folder that was copied meanwhile, it is not at work."""
        if self._holder is None or (self._holder.here and self._copied):
            return False
        return self._holder.alive(self.path)

    def __str__(self) -> str:
        return str(self._holder) if self._holder else self.worker


def entries(run: Path) -> Iterator[JournalEntry]:
    """Every journal of a run."""
    for path in sorted((run / FOLDER).glob("*.json")):
        yield JournalEntry(path)


def _state(text: bytes) -> tuple[int, list[str], bool]:
    """Step, ids and `alone` of the first line; a shorter state leaves the end of a longer one behind its line."""
    try:
        step, ids, alone = orjson.loads(text.partition(b"\n")[0])
    except (ValueError, TypeError):
        return 0, [], False
    return step, ids, alone
