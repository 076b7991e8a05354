"""`list`: what there is, what it needs, whether it is ready."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from rich import box
from rich.table import Table
from rich.text import Text

from amodal_bench.cli import options as o
from amodal_bench.cli.console import plain
from amodal_bench.cli.progress import make_console
from amodal_bench.errors import Refused, WeightsNotFound
from amodal_bench.files import configs
from amodal_bench.metrics.protocol import DEFAULT, named_protocol
from amodal_bench.plugin import MethodCard
from amodal_bench.resolve.locate import DataFlags, dataset_location, find_checkpoint, weights_root
from amodal_bench.resolve.presets import Preset, find_preset
from amodal_bench.resolve.registry import Registry
from amodal_bench.resolve.training import read_train_file
from amodal_bench.tables.spec import read_spec

T = TypeVar("T")
_Row = tuple[str | Text, ...]
_TITLES = {"protocols": "protocols", "tables": "tables", "train": "training files"}
_BROKEN = plain(("broken", "red"), ", see below")


def list_(plugin: o.Plugins = None, data_root: o.DataRoot = None) -> None:
    """Methods, datasets, protocols, tables and training files."""
    registry = Registry(o.none_if_empty(plugin))
    console = make_console()
    broken = [source.fault for source in configs.sources() if source.fault]
    console.print(_methods(registry, broken))
    console.print(_datasets(registry, data_root, broken))
    console.print(_files("protocols", named_protocol, lambda p: (p.id, p.title), broken))
    console.print(_files("tables", read_spec, lambda spec: (spec.name, spec.title), broken))
    console.print(_files("train", read_train_file, lambda file: ("", file.title), broken))
    for line in dict.fromkeys(broken):
        console.print(plain(("broken", "red"), f": {line}"), soft_wrap=True)


def _table(title: str, columns: Sequence[str], rows: Sequence[_Row]) -> Table:
    """The last cell of each row says where it comes from; the column is left out where all is built in."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    outside = any(row[-1] for row in rows)
    for name in (*columns, *(["from"] if outside else [])):
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(row if outside else row[:-1]))
    return table


def missing_modules(card: MethodCard) -> list[str]:
    """Modules that the method imports and that are not installed."""
    return [name for name in card.needs if find_spec(name) is None]


def _methods(registry: Registry, broken: list[str]) -> Table:
    rows: list[_Row] = []
    for name in sorted({*registry.names("methods"), *configs.names("methods")}):
        origin = _origin("methods", name) or registry.origin("methods", name)
        try:
            preset = find_preset(name, registry)
        except Refused as error:
            rows.append((name, "", "", _BROKEN, origin))
            broken.append(str(error))
            continue
        card = preset.plugin.cls.card
        needs = card.weights or ", ".join(card.needs) or "nothing"
        rows.append((name, preset.title or card.title, needs, _state(preset), origin))
    return _table("methods and presets", ("name", "what", "needs", "state"), rows)


def _origin(kind: configs.ConfigKind, name: str) -> str:
    """Where a configuration file comes from: of two that clash, the one from outside."""
    found = [file.origin for file in configs.files(kind) if file.name == name and file.origin]
    return found[0] if found else ""


def _state(preset: Preset) -> Text:
    card = preset.plugin.cls.card
    missing = missing_modules(card)
    if missing:
        extra = f": pip install 'amodal-bench[{card.extra}]'" if card.extra else ""
        return plain(("not installed", "yellow"), f": {', '.join(missing)}{extra}")
    try:
        preset.make().pretrained(weights_root(None))
        found = find_checkpoint(preset, "DATASET", None, weights_root(None))
    except WeightsNotFound as error:
        names = ", ".join(error.missing) or "weights"
        return plain(("to be trained", "yellow")) if card.trained else plain(("missing", "yellow"), f": {names}")
    except Refused:
        return plain(("weights unusable", "red"), ": bench says why")
    if not card.trained:
        return plain(("ready", "green"))
    return plain(("ready", "green"), f": {found.path.name if found else ''}")


def _datasets(registry: Registry, data_root: Path | None, broken: list[str]) -> Table:
    rows: list[_Row] = []
    for name in registry.names("datasets"):
        origin = registry.origin("datasets", name)
        try:
            card = registry.dataset(name).cls.card
        except Refused as error:
            rows.append((name, "", "", _BROKEN, origin))
            broken.append(str(error))
            continue
        root = dataset_location(name, DataFlags(data_root=data_root)).root
        splits = plain(*((s, "bold" if s == card.default_split else "") for s in card.splits), sep=", ")
        rows.append((name, card.title, splits, _location(name, root, card.embedded), origin))
    return _table("datasets", ("name", "what", "splits", "state"), rows)


def _location(name: str, root: Path, embedded: bool) -> Text:
    if embedded:
        return plain(("ready", "green"), " (made on first use)")
    if root.is_dir():
        return plain(("folder found", "green"), f": {root} (check it: amodal-bench doctor {name})")
    return plain(("not found", "yellow"), f": {root}")


def _files(
    kind: configs.ConfigKind, read: Callable[[Path], T], describe: Callable[[T], tuple[str, str]], broken: list[str]
) -> Table:
    """`describe` gives name and title of what was read, or no name where it is the file's."""
    found, faults = configs.read_all(kind, read)
    broken.extend(faults.values())
    rows: list[_Row] = []
    for name in configs.names(kind):
        shown, title = describe(found[name]) if name in found else ("", _BROKEN)
        style = "bold" if shown == DEFAULT else ""
        rows.append((plain((shown or name, style)), title, _origin(kind, name)))
    return _table(_TITLES[kind], ("name", "what"), rows)
