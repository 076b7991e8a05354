"""The one text that tells a user which files of a dataset are missing and how to get them."""

import textwrap
from pathlib import Path

from amodal_bench.errors import DatasetNotReady
from amodal_bench.plugin import DatasetCard

MOST_NAMES = 10


def missing(card: DatasetCard, root: Path, what: str) -> DatasetNotReady:
    """The error to raise when `what` (a file or folder, in words) is not under `root`."""
    lines = [
        f"{card.title}: {what} not found under {root}.",
        "Expected:\n" + textwrap.indent(card.tree.strip("\n"), "  "),
        f"Found: {found_names(root)}",
        f"Get it: {card.get}",
        f"Licence: {card.licence}",
        "Then: --data-root DIR (one folder per dataset), --root DIR (this dataset's folder) or AMODAL_BENCH_DATA.",
    ]
    return DatasetNotReady("\n".join(lines))


def found_names(root: Path) -> str:
    """What lies in a folder, in one line: a few names, folders with a slash."""
    if not root.exists():
        return "the folder does not exist"
    if not root.is_dir():
        return "a file, not a folder"
    return some(sorted(f"{path.name}/" if path.is_dir() else path.name for path in root.iterdir()))


def some(names: list[str], most: int = MOST_NAMES) -> str:
    """The first names of a list, and how many more there are."""
    if not names:
        return "(nothing)"
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
