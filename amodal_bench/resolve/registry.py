"""Find plugins by name, importing only the one that is asked for.

A plugin is a file in methods/ or datasets/, an entry point of another distribution in the group
`amodal_bench.methods` or `amodal_bench.datasets`, or a file given on the command line.
"""

import hashlib
import importlib
import importlib.util
import inspect
import pkgutil
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Generic, Literal, TypeVar

from amodal_bench.errors import Refused, UnknownName
from amodal_bench.files.names import plain_name
from amodal_bench.files.package import PACKAGE
from amodal_bench.plugin import AnyDataset, AnyMethod, Dataset, Method

PluginKind = Literal["methods", "datasets"]
T = TypeVar("T")
# What importing somebody's file raises; one broken plugin must not hide the others from `list`.
_IMPORT_FAULTS = (
    ImportError, SyntaxError, NameError, AttributeError, TypeError, ValueError, KeyError, OSError, RuntimeError,
    SystemExit,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plugin(Generic[T]):
    """A plugin's class, its own folder, and for one that is not built in the sha256 of its source."""

    name: str
    cls: type[T]
    folder: Path
    source: str | None


class Registry:
    """The plugins there are: built in, from entry points, and the given files."""

    def __init__(self, files: Sequence[Path] = ()) -> None:
        self._files: dict[PluginKind, dict[str, ModuleType]] = {"methods": {}, "datasets": {}}
        self._installed: dict[PluginKind, list[EntryPoint]] = {}
        for path in files:
            self._add_file(path)

    def names(self, kind: PluginKind) -> list[str]:
        """Sorted names; nothing is imported."""
        return sorted(set(self._all_names(kind)))

    def method(self, name: str) -> Plugin[AnyMethod]:
        """The method of that name; raises `UnknownName` with suggestions."""
        return self._find("methods", name, Method)  # type: ignore[type-abstract]

    def dataset(self, name: str) -> Plugin[AnyDataset]:
        """The dataset of that name; raises `UnknownName` with suggestions."""
        return self._find("datasets", name, Dataset)  # type: ignore[type-abstract]

    def origin(self, kind: PluginKind, name: str) -> str:
        """Which file or distribution a plugin comes from; empty where it is built in."""
        module = self._files[kind].get(name)
        if module:
            return Path(inspect.getfile(module)).name
        found = [entry.dist.name for entry in self._entries(kind) if entry.name == name and entry.dist]
        return found[0] if found else ""

    def _entries(self, kind: PluginKind) -> list[EntryPoint]:
        """Looked for once: it takes a file of every distribution that is installed."""
        if kind not in self._installed:
            self._installed[kind] = list(entry_points(group=f"amodal_bench.{kind}"))
        return self._installed[kind]

    def _all_names(self, kind: PluginKind) -> list[str]:
        return [*_built_in(kind), *(e.name for e in self._entries(kind)), *self._files[kind]]

    def _find(self, kind: PluginKind, name: str, base: type[T]) -> Plugin[T]:
        times = Counter(self._all_names(kind))[name]
        if not times:
            raise UnknownName(kind[:-1], name, self.names(kind))
        plain_name(name, kind[:-1])
        if times > 1:
            raise Refused(f"{times} {kind} are called {name!r} (built in, entry points, --plugin): rename all but one")
        if name in _built_in(kind):
            return Plugin(name, _only_class(_load_built_in(kind, name), base), PACKAGE / kind / name, None)
        module = self._files[kind].get(name) or _load_entry(next(e for e in self._entries(kind) if e.name == name))
        folder = Path(inspect.getfile(module)).absolute().parent
        return Plugin(name, _only_class(module, base), folder, _source_digest(module))

    def _add_file(self, path: Path) -> None:
        module = _load_file(path)
        held: dict[PluginKind, type] = {"methods": Method, "datasets": Dataset}
        kinds = [kind for kind, base in held.items() if _classes(module, base)]
        if not kinds:
            raise Refused(f"--plugin {path}: it defines neither a Method nor a Dataset")
        for kind in kinds:
            if path.stem in self._files[kind]:
                raise Refused(f"2 {kind} are called {path.stem!r} (--plugin): rename all but one")
            self._files[kind][path.stem] = module


def _built_in(kind: PluginKind) -> list[str]:
    folder = PACKAGE / kind
    if not folder.is_dir():
        raise Refused(
            f"{folder} is not a folder: the link to ../{kind} was lost in copying; make it again with "
            f"`ln -sfn ../{kind} amodal_bench/{kind}` (on Windows: clone with core.symlinks=true)"
        )
    return [module.name for module in pkgutil.iter_modules([str(folder)]) if not module.name.startswith("_")]


def _load_built_in(kind: PluginKind, name: str) -> ModuleType:
    try:
        return importlib.import_module(f"amodal_bench.{kind}.{name}")
    except _IMPORT_FAULTS as error:
        raise Refused(f"{kind}/{name} cannot be imported: {type(error).__name__}: {_why(error)}") from error


def _load_entry(entry: EntryPoint) -> ModuleType:
    try:
        return importlib.import_module(entry.module)
    except _IMPORT_FAULTS as error:
        owner = entry.dist.name if entry.dist else "an unknown distribution"
        raise Refused(f"plugin {entry.name!r} of {owner} cannot be imported: {_why(error)}") from error


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise Refused(f"--plugin {path}: no such file")
    name = f"amodal_bench_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise Refused(f"--plugin {path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except _IMPORT_FAULTS as error:
        raise Refused(f"--plugin {path}: cannot be imported: {_why(error)}") from error
    return module


def _why(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"it asked to end the process with {error.code!r}; leave sys.exit to `if __name__ == '__main__'`"
    return str(error)


def _classes(module: ModuleType, base: type[T]) -> list[type[T]]:
    """Concrete subclasses that the module, or a module of its package, defines."""
    found = inspect.getmembers(module, inspect.isclass)
    classes = [cls for _, cls in found if (cls.__module__ + ".").startswith(module.__name__ + ".")]
    return [cls for cls in classes if issubclass(cls, base) and not inspect.isabstract(cls)]


def _only_class(module: ModuleType, base: type[T]) -> type[T]:
    found = _classes(module, base)
    if len(found) != 1:
        names = ", ".join(cls.__name__ for cls in found) or "none"
        raise Refused(f"{module.__file__} must define exactly one {base.__name__}, found: {names}")
    return found[0]


def _source_digest(module: ModuleType) -> str:
    """sha256 over a plugin's file, or over all Python files of its package."""
    file = Path(inspect.getfile(module))
    files = sorted(file.parent.rglob("*.py")) if file.name == "__init__.py" else [file]
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(file.parent)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
