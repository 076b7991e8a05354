"""The names in a table's file, of presets, datasets, splits and tables, against those that there are."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from amodal_bench.errors import Refused, UnknownName
from amodal_bench.files import configs
from amodal_bench.resolve.presets import preset_names
from amodal_bench.resolve.registry import Registry
from amodal_bench.tables.spec import TableSpec


@dataclass(frozen=True, slots=True)
class KnownNames:
    """Methods and presets, the splits of every dataset that the table names, all datasets, all tables."""

    presets: Collection[str]
    datasets: Collection[str]
    splits: Mapping[str, Collection[str]]
    tables: Collection[str]


def known_names(spec: TableSpec, registry: Registry, runs: Iterable[tuple[str, str, str]] = ()) -> KnownNames:
    """What this installation knows, and what was run: (preset, dataset, split), perhaps with plugins of then.

    Only the datasets that the table names are imported.
    """
    runs = list(runs)
    installed = registry.names("datasets")
    splits: dict[str, set[str]] = {}
    for name in {column.dataset_key for column in spec.columns if column.dataset_key}:
        found = set(registry.dataset(name).cls.card.splits) if name in installed else set()
        splits[name] = found | {split for _, dataset, split in runs if dataset == name}
    return KnownNames(
        presets={*registry.names("methods"), *preset_names(), *(preset for preset, _, _ in runs)},
        datasets={*installed, *(dataset for _, dataset, _ in runs)},
        splits=splits,
        tables=configs.names("tables"),
    )


def check_names(spec: TableSpec, known: KnownNames, file: Path) -> None:
    """Raise `Refused` naming file, field and suggestion where a table names what there is not."""
    fault = next(_faults(spec, known), None)
    if fault:
        field, error = fault
        raise Refused(f"{file}: {field}: {error} A method or dataset of --plugin is known once it has been run.")


def _faults(spec: TableSpec, known: KnownNames) -> Iterator[tuple[str, UnknownName]]:
    if spec.derived_from and spec.derived_from not in known.tables:
        yield "derived_from", UnknownName("table", spec.derived_from, known.tables)
    for name in spec.references:
        if name not in known.presets:
            yield "references", UnknownName("method or preset", name, known.presets)
    for row in spec.rows:
        if row.preset and row.preset not in known.presets:
            yield f"row {row.id}: preset", UnknownName("method or preset", row.preset, known.presets)
    for column in spec.columns:
        if column.dataset_key and column.dataset_key not in known.datasets:
            yield f"column {column.id}: dataset_key", UnknownName("dataset", column.dataset_key, known.datasets)
        elif column.dataset_key and column.split and column.split not in known.splits[column.dataset_key]:
            yield f"column {column.id}: split", UnknownName("split", column.split, known.splits[column.dataset_key])
