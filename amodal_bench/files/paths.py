"""Names of files: which a folder shows, and how a name is spelled in an id."""

import os
import re
from pathlib import Path

_ESCAPED = re.compile(rb"\\x([89a-f][0-9a-f])")  # bytes below 128 are UTF-8 by themselves


def shown(folder: Path) -> list[Path]:
    """What lies in a folder, sorted, without hidden names: `._x` and `.DS_Store` are macOS's, not the dataset's."""
    return sorted(path for path in folder.iterdir() if not is_hidden(path.name))


def is_hidden(name: str) -> bool:
    """Whether a name is one that systems and editors put beside the data."""
    return name.startswith(".")


def id_part(name: str) -> str:
    r"""The name of a file or folder as it stands in ids: text that every file of results can hold.

    Names on disk are bytes. Those that are not UTF-8 keep their other letters: b"caf\xe9" is `caf\xe9`, spelled
    with a backslash.
    """
    return os.fsencode(name).decode("utf-8", errors="backslashreplace")


def name_on_disk(part: str) -> str:
    """The inverse of `id_part`, for names that hold no such escapes themselves."""
    return os.fsdecode(_ESCAPED.sub(lambda match: bytes.fromhex(match[1].decode()), part.encode()))
