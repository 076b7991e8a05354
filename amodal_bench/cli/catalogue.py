"""`list`: what there is, what it needs, whether it is ready."""

from importlib.util import find_spec
from pathlib import Path

from rich import box
from rich.table import Table

from amodal_bench.cli import options as o
from amodal_bench.cli.progress import make_console
from amodal_bench.errors import Refused, WeightsNotFound
from amodal_bench.locate import DataFlags, dataset_location, find_checkpoint, weights_root
from amodal_bench.plugin import MethodCard
from amodal_bench.presets import FOLDER, Preset, find_preset, preset_names, read_preset
from amodal_bench.protocol import DEFAULT, protocols
from amodal_bench.registry import Registry


def list_(plugin: o.Plugins = None, data_root: o.DataRoot = None) -> None:
    """Methods, datasets and protocols."""
    registry = Registry(o.none_if_empty(plugin))
    console = make_console()
    broken: list[str] = []
    console.print(_methods(registry, broken))
    console.print(_datasets(registry, data_root, broken))
    console.print(_protocols())
    for line in broken:
        console.print(f"[red]broken[/]: {line}", soft_wrap=True, highlight=False)


def _table(title: str) -> Table:
    return Table(title=f"[bold]{title}[/]", title_justify="left", title_style="", box=box.SIMPLE_HEAD, pad_edge=False)


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
            table.add_row(name, "", "", "[red]broken[/], see below")
            broken.append(str(error))
            continue
        card = preset.plugin.cls.card
        title = read_preset(FOLDER / f"{name}.yaml").title if name in preset_names() else card.title
        table.add_row(name, title or card.title, card.weights or ", ".join(card.needs) or "nothing", _state(preset))
    return table


def _state(preset: Preset) -> str:
    card = preset.plugin.cls.card
    lacking = missing_modules(card)
    if lacking:
        extra = f": pip install 'amodal-bench[{card.extra}]'" if card.extra else ""
        return f"[yellow]not installed[/]: {', '.join(lacking)}{extra}"
    try:
        preset.make().pretrained(weights_root(None))
        found = find_checkpoint(preset, "DATASET", None, weights_root(None))
    except WeightsNotFound as error:
        names = ", ".join(error.missing) or "weights"
        return "[yellow]to be trained[/]" if card.trained else f"[yellow]missing[/]: {names}"
    except Refused:
        return "[red]weights unusable[/]: bench says why"
    if not card.trained:
        return "[green]ready[/]"
    return f"[green]ready[/]: {found.path.name if found else ''}"


def _datasets(registry: Registry, data_root: Path | None, broken: list[str]) -> Table:
    table = _table("datasets")
    for name in ("name", "what", "splits", "state"):
        table.add_column(name, overflow="fold")
    for name in registry.names("datasets"):
        try:
            card = registry.dataset(name).cls.card
        except Refused as error:
            table.add_row(name, "", "", "[red]broken[/], see below")
            broken.append(str(error))
            continue
        root = dataset_location(name, DataFlags(data_root=data_root)).root
        state = "[green]ready[/] (made on first use)" if card.embedded else f"[yellow]not found[/]: {root}"
        if not card.embedded and root.is_dir():
            state = f"[green]folder found[/]: {root} (check it: amodal-bench doctor {name})"
        splits = ", ".join(f"[bold]{s}[/]" if s == card.default_split else s for s in card.splits)
        table.add_row(name, card.title, splits, state)
    return table


def _protocols() -> Table:
    table = _table("protocols")
    table.add_column("id")
    table.add_column("what")
    for protocol in protocols().values():
        table.add_row(f"[bold]{protocol.id}[/]" if protocol.id == DEFAULT else protocol.id, protocol.title)
    return table
