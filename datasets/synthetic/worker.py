"""Render some chunks and end: `python -m ....worker CACHE SPLIT RESOLUTION COUNT COMPLETE CHUNK...`."""

import sys
from pathlib import Path

from amodal_bench.text import streams

from .store import Store


def main(arguments: list[str]) -> None:
    """Have the chunks on disk; called by `Store.make`, once a core."""
    cache, split, resolution, count, complete, *numbers = arguments
    store = Store(Path(cache), split, int(resolution), int(count), complete == "1")
    for number in map(int, numbers):
        if not store.path(number).exists():
            store.render(number)


if __name__ == "__main__":
    streams.guard()
    main(sys.argv[1:])
