"""`list`: what there is, what it needs, whether it is ready."""

from importlib.util import find_spec
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from amodal_bench.cli import options as o
from amodal_bench.cli.console import plain
from amodal_bench.cli.progress import make_console
from amodal_bench.errors import Refused, WeightsNotFound
from amodal_bench.metrics.protocol import DEFAULT, protocols
from amodal_bench.plugin import MethodCard
from amodal_bench.resolve.locate import DataFlags, dataset_location, find_checkpoint, weights_root
from amodal_bench.resolve.presets import FOLDER, Preset, find_preset, preset_names, read_preset
from amodal_bench.resolve.registry import Registry

_BROKEN = plain(("broken", "red"), ", see below")


def list_(plugin: o.Plugins = None, data_root: o.DataRoot = None) -> None:
    """Methods, datasets and protocols."""
    registry = Registry(o.none_if_empty(plugin))
    console = make_console()
    broken: list[str] = []
    console.print(_methods(registry, broken))
    console.print(_datasets(registry, data_root, broken))
    console.print(_protocols())
    for line in broken:
        console.print(plain(("broken", "red"), f": {line}"), soft_wrap=True)


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)


def missing_modules(card: MethodCard) -> list[str]:
    """Modules that the method imports and that are not installed."""
    return [name for name in card.needs if find_spec(name) is None]


def _methods(registry: Registry, broken: list[str]) -> Table:
    table = _table("methods and presets")
    for name in ("name", "what", "needs", "state"):
        table.add_column(name, overflow="fold")
    for name in sorted({*registry.names("methods"), *preset_names()}):
        try:
            preset = find_preset(name, registry)
        except Refused as error:
            table.add_row(name, "", "", _BROKEN)
            broken.append(str(error))
            continue
        card = preset.plugin.cls.card
        title = read_preset(FOLDER / f"{name}.yaml").title if name in preset_names() else card.title
        table.add_row(name, title or card.title, card.weights or ", ".join(card.needs) or "nothing", _state(preset))
    return table


def _state(preset: Preset) -> Text:
    card = preset.plugin.cls.card
    lacking = missing_modules(card)
    if lacking:
        extra = f": pip install 'amodal-bench[{card.extra}]'" if card.extra else ""
        return plain(("not installed", "yellow"), f": {', '.join(lacking)}{extra}")
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
    table = _table("datasets")
    for name in ("name", "what", "splits", "state"):
        table.add_column(name, overflow="fold")
    for name in registry.names("datasets"):
        try:
            card = registry.dataset(name).cls.card
        except Refused as error:
            table.add_row(name, "", "", _BROKEN)
            broken.append(str(error))
            continue
        root = dataset_location(name, DataFlags(data_root=data_root)).root
        splits = plain(*((s, "bold" if s == card.default_split else "") for s in card.splits), sep=", ")
        table.add_row(name, card.title, splits, _place(name, root, card.embedded))
    return table


def _place(name: str, root: Path, embedded: bool) -> Text:
    if embedded:
        return plain(("ready", "green"), " (made on first use)")
    if root.is_dir():
        return plain(("folder found", "green"), f": {root} (check it: amodal-bench doctor {name})")
    return plain(("not found", "yellow"), f": {root}")


def _protocols() -> Table:
    table = _table("protocols")
    table.add_column("id")
    table.add_column("what")
    for protocol in protocols().values():
        table.add_row(plain((protocol.id, "bold" if protocol.id == DEFAULT else "")), protocol.title)
    return table
