"""Training pairs from any COCO instances: whole objects of photos, pasted over with objects of other photos.

Ordinary instance sets hold no hidden parts. Where an object is known to be whole, its mask is its amodal mask, and what
an object of another photo pasted over it leaves is its visible one: the usual way to training pairs in this field.
"""

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import Field

from amodal_bench.errors import DatasetNotReady
from amodal_bench.files.cache import manifest_digest
from amodal_bench.masks import rle
from amodal_bench.plugin import Dataset, DatasetCard, Location, Settings
from amodal_bench.store.spec import resolved
from amodal_bench.types import AmodalQuery, AmodalSample, Seen

from .cutouts import Cutouts
from .paste import Composite, Look, Pasting, composed
from .whole import WholeRules, roles

__all__ = ["Composites", "CompositesOptions"]

REVISION = 1  # raise it when a composite changes
SPANS = {"train": (0.0, 0.9), "val": (0.9, 0.95), "test": (0.95, 1.0)}  # of the photos, by their draw
INSTANCES: Mapping[str, int] = {"val": 300, "test": 300}
FEWEST = 2  # photos with a whole object, and photos with any


class CompositesOptions(Settings):
    """`size` is the number of composites of `train` and of nothing else.

    `whole` says which objects count as whole, `paste` what is pasted and how, `look` what hides that it was pasted.
    """

    size: int = Field(default=20_000, ge=1, le=10_000_000)
    whole: WholeRules = WholeRules()
    paste: Pasting = Pasting()
    look: Look = Look()


class Composites(Dataset[CompositesOptions]):
    """`composites/SPLIT/NUMBER/0`: one target each.

    Composite `i` of a split depends on the fingerprint and `i` alone: not on the order of reading, nor on how many
    there are. No photo is in two splits, neither as a target's nor as an occluder's.
    """

    card = DatasetCard(
        title="composites of your own COCO instances",
        licence="that of the photos",
        get="any COCO instances file with its photos, such as COCO 2017 train",
        tree="""
FILE.json                              named by --root FILE.json (.json.gz as well), or
[annotations/]instances*.json          the one such file of a folder
[images/|train2017/|val2017/]NAME.jpg  its photos, beside the file, in these folders or in --image-root
""",
        splits={"train": {}, "val": {}, "test": {}},
        default_split="test",
    )
    Options = CompositesOptions

    def __init__(self, location: Location, split: str, options: CompositesOptions) -> None:
        super().__init__(location, split, options)
        self._cutouts = Cutouts(location, self.card)
        found = roles(self._cutouts, options.whole)
        low, high = SPANS[split]
        here = (found.draw >= low) & (found.draw < high)
        self._targets, self._occluders = np.flatnonzero(here & found.target), np.flatnonzero(here & found.occluder)
        self._photos = self._cutouts.photo_numbers
        for what, rows in (("targets", self._targets), ("occluders", self._occluders)):
            if len(np.unique(self._photos[rows])) < FEWEST:
                raise DatasetNotReady(
                    f"{self._cutouts.file}: of {len(self._photos):,} objects, {len(rows)} can be {what} in the split "
                    f"{split!r}, and those of {FEWEST} photos are needed. Left out: {found.told()}. The rules are "
                    "--set dataset.whole.KEY=VALUE"
                )
        self._weights = _by_category(self._cutouts.category_names[self._targets])
        count = INSTANCES.get(split, options.size)
        self._ids = [self.id_of(f"{index:07d}", 0) for index in range(count)]
        self.funnel.read = count
        for reason, number in found.reasons.items():
            self.funnel.note(f"annotation is no target: {reason}", number)

    def ids(self) -> Sequence[str]:
        """Numbers in order."""
        return self._ids

    def fingerprint(self) -> str:
        """Of the annotation file, the split and the options; photos are not looked at."""
        facts: dict[str, Any] = {
            "revision": REVISION,
            "annotations": self._cutouts.digest,
            "split": self.split,
            "options": resolved(self.options),
        }
        return manifest_digest((name, str(value)) for name, value in facts.items())

    def __getitem__(self, index: int) -> AmodalSample:
        query, found, _ = self._drawn(index)
        return AmodalSample(query, found.amodal)

    def seen(self, index: int) -> Seen:
        """The target, what was pasted, and whatever else is annotated in the target's photo."""
        query, found, row = self._drawn(index)
        things = found.visible | found.pasted
        same = self._photos == self._photos[row]
        same[row] = False
        for other in np.flatnonzero(same):
            mask = rle.decode(self._cutouts.code(int(other)))
            things |= mask[:, ::-1] if found.mirrored else mask
        return Seen(query, things)

    def _drawn(self, index: int) -> tuple[AmodalQuery, Composite, int]:
        """A composite, and which object is its target."""
        number = range(len(self._ids))[operator.index(index)]
        rng = np.random.default_rng([*self._seed, number])
        row = int(rng.choice(self._targets, p=self._weights))
        others = self._occluders[self._photos[self._occluders] != self._photos[row]]
        target = self._cutouts.read(row)
        found = composed(
            target, lambda: self._cutouts.read(int(rng.choice(others))), self.options.paste, self.options.look, rng
        )
        query = AmodalQuery(self._ids[number], f"{number:07d}", found.image, found.visible, target.category)
        return query, found, row

    @property
    def _seed(self) -> tuple[int, int]:
        """What all chance comes from: the annotations and the split, not how many composites are asked for."""
        return int(self._cutouts.digest[:15], 16), list(self.card.splits).index(self.split)


def _by_category(names: np.ndarray[Any, np.dtype[np.object_]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """How likely each target is: a category by the square root of its size, its objects alike."""
    _, of, counts = np.unique(names.astype(str), return_inverse=True, return_counts=True)
    weights = 1 / np.sqrt(counts[of])
    return np.asarray(weights / weights.sum())
