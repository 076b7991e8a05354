"""The one text that tells a user which files of a dataset are missing and how to get them."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

from amodal_bench.errors import DatasetNotReady
from amodal_bench.files.paths import shown
from amodal_bench.plugin import DatasetCard

MOST_NAMES, MOST_INNER = 10, 3


def missing(card: DatasetCard, root: Path, what: str, names: Sequence[str] = ()) -> DatasetNotReady:
    """The error to raise when `what` (a file or folder, in words) is not under `root`.

    `names` are those of files or folders, without what they lie in: names that are nearly one of them are told.
    """
    near = near_misses(root, names)
    lines = [
        f"{card.title}: {what} not found under {root}.",
        "Expected:\n" + textwrap.indent(card.tree.strip("\n"), "  "),
        f"Found: {found_names(root)}",
        *([f"Nearly: {some(near)}; folder and spelling must be as expected."] if near else []),
        f"Get it: {card.get}",
        f"Licence: {card.licence}",
        "Then: --data-root DIR (one folder per dataset), --root DIR (this dataset's folder) or AMODAL_BENCH_DATA.",
    ]
    return DatasetNotReady("\n".join(lines))


def found_names(root: Path) -> str:
    """What lies in a folder, in one line: a few names, folders with a slash and a few of theirs."""
    if not root.exists():
        return "the folder does not exist"
    if not root.is_dir():
        return "a file, not a folder"
    return some([_inside(path) if path.is_dir() else path.name for path in shown(root)])


def near_misses(root: Path, names: Sequence[str]) -> list[str]:
    """Where names like these lie in a folder or one level deeper, whatever their case, packed or not."""
    folded = {name.casefold() for name in names}
    paths = shown(root) if root.is_dir() else []
    paths += [inner for path in paths if path.is_dir() for inner in shown(path)]
    found = (path.relative_to(root).as_posix() for path in paths if path.name.casefold().removesuffix(".gz") in folded)
    return list(found)


def _inside(folder: Path) -> str:
    names = [path.name for path in shown(folder)]
    return f"{folder.name}/ ({some(names, MOST_INNER)})" if names else f"{folder.name}/ (empty)"


def some(names: list[str], most: int = MOST_NAMES) -> str:
    """The first names of a list, and how many more there are."""
    if not names:
        return "(nothing)"
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
