"""What `bench` tells of its data before a run, and of its errors after it."""

from amodal_bench.cli.console import PlainConsole
from amodal_bench.formats.release import unlike_published
from amodal_bench.funnel import Funnel
from amodal_bench.plugin import AnyDataset
from amodal_bench.running.kinds import by_kind
from amodal_bench.store.folder import RunFolder

MOST_KINDS = 10


def tell_funnel(console: PlainConsole, title: str, funnel: Funnel) -> None:
    """One line: what was left out or is odd, by reason; nothing where every annotation is an instance."""
    parts = [
        f"{sum(counts.values()):,} {verb} ({', '.join(f'{name} {n:,}' for name, n in counts.most_common() if n)})"
        for verb, counts in (("dropped", funnel.dropped), ("noted", funnel.noted))
        if sum(counts.values())
    ]
    if parts:
        text = f"{title}: {funnel.read:,} annotations, {', '.join(parts)}; doctor has them all"
        console.print(text, style="dim", soft_wrap=True)


def tell_files(console: PlainConsole, title: str, dataset: AnyDataset) -> None:
    """One line where the files are not the published ones."""
    if text := unlike_published(dataset):
        console.print(f"{title}: {text}; it fills no cell of a paper's table", style="yellow", soft_wrap=True)


def tell_errors(console: PlainConsole, folder: RunFolder) -> None:
    """Every kind of error with its count, its text, where in the plugin it arose, the first id and the traceback."""
    rows = folder.instances()
    rows = rows[rows["status"] == "error"]
    kinds = by_kind(folder.path, zip(rows["id"], rows["error"], strict=True))
    for kind in kinds[:MOST_KINDS]:
        line = f" - {kind.line}" if kind.line else ""
        console.print(f"{kind.count} x {kind.text}{line}", style="red", soft_wrap=True)
        trace = f"; traceback in {kind.trace}" if kind.trace else ""
        console.print(f"    first at {kind.first}{trace}", soft_wrap=True)
    if len(kinds) > MOST_KINDS:
        more = sum(kind.count for kind in kinds[MOST_KINDS:])
        console.print(f"{len(kinds) - MOST_KINDS} more kinds, {more} instances: column error of instances.parquet")
