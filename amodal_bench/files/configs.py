"""Presets, protocols, tables and training files by name: the package's own and those from outside it, in one way.

From outside come the folders that ./amodal-bench.yaml names under `configs`, and the packages that installed
distributions name in the entry point group `amodal_bench.configs`. Each holds some of methods/, protocols/, tables/ and
train/. A single file is named by its path.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TypeVar, get_args

from amodal_bench.errors import Refused
from amodal_bench.files import machine
from amodal_bench.files.package import CONFIGS

ConfigKind = Literal["methods", "protocols", "tables", "train"]
GROUP = "amodal_bench.configs"
_WORDS: dict[ConfigKind, str] = {
    "methods": "presets", "protocols": "protocols", "tables": "tables", "train": "training files",
}  # fmt: skip
_SUFFIXES = (".yaml", ".yml")
_FOLDERS = ", ".join(f"{kind}/" for kind in get_args(ConfigKind))
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A file, and the folder or distribution it comes from: empty where it is built in."""

    path: Path
    origin: str = ""

    @property
    def name(self) -> str:
        """What it is found by."""
        return self.path.stem


@dataclass(frozen=True, slots=True)
class ConfigSource:
    """A folder that holds the folders of the kinds; `fault` says why it cannot be read."""

    folder: Path
    origin: str = ""
    fault: str = ""


def is_path(name: str) -> bool:
    """Whether what was given for a name is a file's path."""
    return name.endswith(_SUFFIXES)


def sources() -> list[ConfigSource]:
    """Every place that is looked into; raises `Refused` where ./amodal-bench.yaml names one that is none."""
    outside = [ConfigSource(_checked(folder), str(folder)) for folder in machine.read_paths().configs]
    return [ConfigSource(CONFIGS), *outside, *_installed()]


def files(kind: ConfigKind) -> list[ConfigFile]:
    """All files of a kind, the built-in ones first; a name may stand for several."""
    found: dict[Path, ConfigFile] = {}
    for source in sources():
        folder = source.folder / kind
        real = folder.resolve()
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.suffix in _SUFFIXES:
                file = path.resolve() if path.is_symlink() else real / path.name  # each would take `list` a second
                found.setdefault(file, ConfigFile(path, source.origin))
    return list(found.values())


def names(kind: ConfigKind) -> list[str]:
    """Sorted."""
    return sorted({file.name for file in files(kind)})


def find(kind: ConfigKind, name: str) -> ConfigFile | None:
    """The file of that name or path, None for an unknown name; raises `Refused` where a name stands for two files."""
    if is_path(name):
        file = by_path(Path(name))
        refuse_clash(kind, file.name, file)
        return file
    found = [file for file in files(kind) if file.name == name]
    if len(found) > 1:
        raise _clash(kind, name, found[0], found[1])
    return found[0] if found else None


def by_path(path: Path) -> ConfigFile:
    """A file that the command line names; raises `Refused` where there is none."""
    if not path.is_file():
        raise Refused(f"{path}: no such file")
    return ConfigFile(path.absolute(), "given as a file")


def refuse_clash(kind: ConfigKind, name: str, file: ConfigFile) -> None:
    """Raise `Refused` where another file has the name of one that was given by its path."""
    for other in files(kind):
        if other.name == name and other.path.resolve() != file.path.resolve():
            raise _clash(kind, name, other, file)


def read_all(kind: ConfigKind, read: Callable[[Path], T]) -> tuple[dict[str, T], dict[str, str]]:
    """What can be read of a kind, and the faults of what cannot, both by the files' names: one stops no other."""
    found, faults = {}, {}
    for name in names(kind):
        try:
            file = find(kind, name)
            if file:
                found[name] = read(file.path)
        except Refused as error:
            faults[name] = str(error)
    return found, faults


def _clash(kind: ConfigKind, name: str, one: ConfigFile, other: ConfigFile) -> Refused:
    return Refused(f"2 {_WORDS[kind]} are called {name!r}, {one.path} and {other.path}: rename all but one")


def _checked(folder: Path) -> Path:
    fault = _fault_of(folder)
    if fault:
        raise Refused(f"{machine.CONFIG}: configs: {folder}: {fault}")
    return folder


def _fault_of(folder: Path) -> str:
    if not folder.is_dir():
        return "no such folder"
    if not any((folder / kind).is_dir() for kind in get_args(ConfigKind)):
        return f"it holds none of the folders {_FOLDERS}"
    return ""


def _installed() -> list[ConfigSource]:
    """Of installed distributions; a broken one is told by `list` and hides no other."""
    return [_source(entry) for entry in _entries()]


@cache
def _entries() -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=GROUP))


def _source(entry: EntryPoint) -> ConfigSource:
    """The folder of a package, found without running any of its code."""
    owner = entry.dist.name if entry.dist else "an unknown distribution"
    top, *inner = entry.value.strip().split(".")
    spec = find_spec(top) if top.isidentifier() else None
    folders = [Path(folder, *inner) for folder in (spec and spec.submodule_search_locations) or ()]
    faults = [(folder, _fault_of(folder)) for folder in folders]
    for folder, fault in faults:
        if not fault:
            return ConfigSource(folder, owner)
    folder, fault = faults[0] if faults else (Path(entry.value), "no such package")
    return ConfigSource(
        folder, owner, f"the configs of {owner} ({GROUP}: {entry.value}) cannot be read: {folder}: {fault}"
    )
