"""Several datasets as one, to train on: `--dataset synthetic,composites`."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from amodal_bench.errors import Refused
from amodal_bench.files.cache import manifest_digest
from amodal_bench.files.names import JOIN, names_of
from amodal_bench.masks.rle import Code
from amodal_bench.plugin import AnyDataset, Dataset, DatasetCard, Location, Settings
from amodal_bench.resolve.job import open_dataset
from amodal_bench.resolve.locate import DataFlags
from amodal_bench.resolve.registry import Registry
from amodal_bench.store.spec import resolved
from amodal_bench.types import AmodalSample, Seen, parse_id


class Mixture(Dataset[Settings]):
    """One split of several datasets, one after the other. An instance keeps the id that its dataset gave it."""

    def __init__(self, parts: Sequence[AnyDataset]) -> None:
        titles = " + ".join(part.card.title for part in parts)
        self.parts = list(parts)
        self.name = JOIN.join(part.name for part in parts)
        self.split = parts[0].split
        self.card: DatasetCard = DatasetCard(title=titles, splits={self.split: {}}, default_split=self.split)  # type: ignore[misc]
        self.options = Settings()
        self.location: Location = parts[0].location
        self.funnel = parts[0].funnel
        self._ends = np.array(list(accumulate(len(part) for part in parts)))
        self._ids = [id for part in parts for id in part.ids()]
        self._by_name = {part.name: part for part in parts}

    def ids(self) -> Sequence[str]:
        """Those of the first dataset, then those of the next."""
        return self._ids

    def __getitem__(self, index: int) -> AmodalSample:
        part, inner = self._at(index)
        return part[inner]

    def seen(self, index: int) -> Seen:
        """As its dataset says."""
        part, inner = self._at(index)
        return part.seen(inner)

    def fingerprint(self) -> str:
        """Of the parts' names and fingerprints, in their order."""
        return manifest_digest((f"{number}/{part.name}", part.fingerprint()) for number, part in enumerate(self.parts))

    def group(self, id: str) -> str:
        """The group in its dataset, with that one's name: two datasets may call a group alike."""
        name = parse_id(id).dataset
        return f"{name}/{self._by_name[name].group(id)}"

    def codes(self) -> Iterator[tuple[str, Code, Code]]:
        """Of every part."""
        for part in self.parts:
            yield from part.codes()

    def category_of(self, index: int) -> str | None:
        """As its dataset says."""
        part, inner = self._at(index)
        return part.category_of(inner)

    def _at(self, index: int) -> tuple[AnyDataset, int]:
        number = range(len(self._ids))[index]
        which = int(np.searchsorted(self._ends, number, side="right"))
        return self.parts[which], number - (int(self._ends[which - 1]) if which else 0)


def open_parts(
    dataset: str, registry: Registry, split: str, options: Mapping[str, Any], flags: DataFlags
) -> tuple[AnyDataset, str | None]:
    """A split of one dataset, or of each of several, whose `options` are by dataset: `{synthetic: {size: 100}}`.

    Beside it the digest of a plugin's source, or of all plugins' that are not built in.
    """
    names = names_of(dataset)
    if len(names) == 1:
        data, _, source = open_dataset(dataset, registry, split, dict(options), flags)
        return data, source
    if len(set(names)) < len(names):
        raise Refused(f"--dataset {','.join(names)}: a dataset is named twice")
    if flags.root or flags.image_root:
        raise Refused("--root and --image-root are of one dataset: of several, --data-root DIR holds a folder for each")
    unknown = sorted(set(options) - set(names))
    if unknown:
        raise Refused(
            f"--set dataset.{unknown[0]}: with several datasets, say whose option it is: "
            f"--set dataset.{names[0]}.KEY=VALUE"
        )
    opened = [open_dataset(n, registry, split, dict(options.get(n, {})), flags) for n in names]
    sources = [(name, source) for name, (_, _, source) in zip(names, opened, strict=True) if source]
    return Mixture([data for data, _, _ in opened]), manifest_digest(sources) if sources else None


def splits_of(dataset: str, registry: Registry) -> list[str]:
    """The splits that every one of the datasets has."""
    first, *rest = (registry.dataset(name).cls.card.splits for name in names_of(dataset))
    return [split for split in first if all(split in other for other in rest)]


def options_of(data: AnyDataset) -> dict[str, Any]:
    """The options that a dataset was opened with, as plain values; of several, by name."""
    if isinstance(data, Mixture):
        return {part.name: resolved(part.options) for part in data.parts}
    return resolved(data.options)
