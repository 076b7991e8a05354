"""Groups of a training split that are left out of training, to watch it by: a reported split is then seen by nobody.

A group (an image, a clip, a scene) is left out by the hash of its name, so that the same ones are by everybody.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

from amodal_bench.errors import Refused
from amodal_bench.plugin import AnyDataset, Dataset, Fault
from amodal_bench.types import AmodalSample, Seen

HELD_OUT = "held-out"  # what --val-split calls it
SHARE, LEAST = 0.02, 8  # of all groups; and how many at least, where that is not more than a fifth of them


def divided(dataset: AnyDataset) -> tuple[AnyDataset, AnyDataset, str]:
    """What is trained on, what is watched, and in words how they were divided.

    Raises `Refused` where there is one group only.
    """
    groups = [dataset.group(id) for id in dataset.ids()]
    names = sorted(set(groups), key=lambda name: hashlib.sha256(name.encode()).digest())
    if len(names) < 2:
        raise Refused(
            f"{dataset.card.title} {dataset.split}: all instances are of one group, so none can be held out to watch "
            "the training by: name a split with --val-split"
        )
    count = max(math.ceil(SHARE * len(names)), min(LEAST, len(names) // 5), 1)
    chosen = set(names[:count])
    held = [index for index, group in enumerate(groups) if group in chosen]
    rest = [index for index, group in enumerate(groups) if group not in chosen]
    words = f"{count} of {len(names)} groups by hash, {len(held)} of {len(groups)} instances"
    return part(dataset, rest, dataset.split), part(dataset, held, f"{dataset.split}, {HELD_OUT}"), words


def part(inner: AnyDataset, indices: Sequence[int], name: str) -> AnyDataset:
    """The instances of `inner` at `indices`, with their own ids; `name` is what the part is called as a split."""
    all_ids = inner.ids()
    ids = [all_ids[index] for index in indices]

    class Part(Dataset[Any]):
        """Some instances of a dataset."""

        card = inner.card

        def __init__(self) -> None:
            super().__init__(inner.location, inner.split, inner.options)
            self.split = name
            self.funnel = inner.funnel

        def ids(self) -> Sequence[str]:
            return ids

        def group(self, id: str) -> str:
            return inner.group(id)

        def fingerprint(self) -> str:
            return inner.fingerprint()

        def category_of(self, index: int) -> str | None:
            return inner.category_of(indices[index])

        def remarks(self) -> Iterator[str]:
            yield from inner.remarks()

        def faults(self) -> Iterator[Fault]:
            yield from inner.faults()

        def __getitem__(self, index: int) -> AmodalSample:
            return inner[indices[index]]

        def seen(self, index: int) -> Seen:
            return inner.seen(indices[index])

    return Part()
