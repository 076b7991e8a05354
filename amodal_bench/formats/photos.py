"""From the file name in an annotation to a file: one file for one name, never outside the image folders."""

import contextlib
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from amodal_bench.errors import BadRecord
from amodal_bench.files.paths import name_on_disk, shown
from amodal_bench.files.stamp import remembered
from amodal_bench.formats.missing import some
from amodal_bench.masks.file_kind import not_there

ROOTS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://[^/]*/|[A-Za-z]:[\\/]|[\\/]+")  # of URLs, of Windows, of Unix
MOST_NAMES = 3
Parts = tuple[str, ...]


def parts_of(name: str) -> Parts:
    """The folders and the file of a name, without the root of a URL or of an absolute path."""
    root = ROOTS.match(name)
    rest = name[root.end() :] if root else name
    if root and "://" in root[0]:
        rest = rest.partition("?")[0]
    return tuple(part for part in rest.replace("\\", "/").split("/") if part not in ("", "."))


class Photos:
    """The image files of one annotation file.

    A name is looked for as it stands. Where no file has it, its endings are tried, the longest first, also with
    percent signs decoded, accents composed or apart, and as `renamed` spells the last part, but only those in which
    no two names of the annotation file are alike: else one photo would stand for several.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        names: Callable[[], Iterable[str]],
        renamed: Callable[[str], str] = lambda name: name,
    ) -> None:
        self._folders = folders
        self._names = names
        self._renamed = renamed

    def find(self, name: str, where: str) -> Path:
        """The file of `name`; raises `BadRecord`, beginning with `where`, that tells of names that are nearly it."""
        parts = parts_of(name)
        if not parts or ".." in parts or "\0" in name:
            raise BadRecord(f"{where}: file_name {name!r} leads out of the image folder")
        if _is_plain(name) and (path := self._there([name, name_on_disk(name)])):
            return path
        for length in range(len(parts), 0, -1):
            path = self._there(self._spelled(parts[-length:]))
            alike = self._endings.get(self._canonical(name)[-length:], [name])
            if path and len(alike) == 1:
                return path
            if path:
                raise BadRecord(
                    f"{where}: image {name} is not in {self._told_folders()}. There is {path}, but {len(alike)} names "
                    f"of the annotation file end like that ({some(alike, MOST_NAMES)}): which of them is it?"
                )
        raise BadRecord(f"{where}: image {name} not found in {self._told_folders()}{self._hint(parts)}")

    def _there(self, names: Iterable[str]) -> Path | None:
        paths = (folder / name for name in names for folder in self._folders)
        return next((path for path in paths if os.path.isfile(path)), None)  # noqa: PTH113  (too long a name is False)

    def _spelled(self, parts: Parts) -> Iterator[str]:
        for last in dict.fromkeys((parts[-1], self._renamed(parts[-1]))):
            whole = (*parts[:-1], last)
            for name in dict.fromkeys(("/".join(whole), "/".join(map(_decoded, whole)))):
                yield from dict.fromkeys((name, *(unicodedata.normalize(form, name) for form in ("NFC", "NFD"))))

    def _canonical(self, name: str) -> Parts:
        """The same for names that may be looked for under the same spelling."""
        parts = [unicodedata.normalize("NFC", _decoded(part)) for part in parts_of(name)]
        return (*parts[:-1], self._renamed(parts[-1])) if parts else ()

    @cached_property
    def _endings(self) -> dict[Parts, list[str]]:
        """The names of the annotation file by each of their endings."""
        found: dict[Parts, list[str]] = {}
        for name in self._names():
            canonical = self._canonical(name)
            for length in range(1, len(canonical) + 1):
                found.setdefault(canonical[-length:], []).append(name)
        return found

    def _told_folders(self) -> str:
        return ", ".join(map(str, self._folders))

    def _hint(self, parts: Parts) -> str:
        """What nearly has that name: a link to nowhere, another case, another suffix."""
        inner = [folder / PurePosixPath(*parts[:-1]) for folder in self._folders]
        for folder in dict.fromkeys((*inner, *self._folders)):
            if os.path.islink(folder / parts[-1]):  # noqa: PTH114  (too long a name is False)
                return f": {not_there(folder / parts[-1])}"
            if near := _stems(folder).get(_stem(parts[-1])):
                return f"; there is {some(near, MOST_NAMES)} in {folder}"
        return ""


def _is_plain(name: str) -> bool:
    return not ROOTS.match(name) and not {"", ".", ".."} & set(name.split("/"))


def _decoded(part: str) -> str:
    """Percent signs decoded, where what comes out is still one part of a path."""
    decoded = unquote(part)
    return part if decoded in ("", ".", "..") or "/" in decoded or "\0" in decoded else decoded


def _stem(name: str) -> str:
    return unicodedata.normalize("NFC", PurePosixPath(name).stem).casefold()


@remembered(8)
def _stems(folder: Path) -> dict[str, list[str]]:
    """The files in a folder by their names without case and suffix."""
    found: dict[str, list[str]] = {}
    with contextlib.suppress(OSError):  # a folder that is not there, or may not be listed, gives no hint
        for path in shown(folder):
            found.setdefault(_stem(path.name), []).append(path.name)
    return found
