"""All files below a folder."""

import os
from collections.abc import Iterator
from pathlib import Path

from amodal_bench.files.paths import is_hidden


def files_below(folder: Path) -> list[Path]:
    """Sorted, without hidden files and folders; links are followed, each folder once."""
    return sorted(_found(folder))


def _found(folder: Path) -> Iterator[Path]:
    seen: set[str] = set()
    for base, folders, names in os.walk(folder, followlinks=True):
        seen.add(os.path.realpath(base))
        visible = [name for name in folders if not is_hidden(name)]
        folders[:] = [name for name in visible if os.path.realpath(Path(base) / name) not in seen]
        yield from (Path(base) / name for name in names if not is_hidden(name))
