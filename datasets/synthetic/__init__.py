"""synthetic: the embedded default dataset, rendered on first use, with exact amodal masks."""

import operator
from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import Field

from amodal_bench.files.cache import manifest_digest
from amodal_bench.plugin import Dataset, DatasetCard, Location, Settings
from amodal_bench.types import AmodalQuery, AmodalSample, Seen

from .draw import GENERATOR_VERSION
from .families import FAMILIES
from .scene import RenderedScene, SceneObject, render_object, render_scene, things_of
from .store import Store

__all__ = [
    "GENERATOR_VERSION",
    "RenderedScene",
    "SceneObject",
    "Synthetic",
    "SyntheticOptions",
    "render_object",
    "render_scene",
]

_INSTANCES: Mapping[str, int] = {"val": 200, "test": 300}


class SyntheticOptions(Settings):
    """`resolution` in pixels, rendered natively; `size` is the number of scenes of `train` and of nothing else.

    `complete` leaves out what stands before the target, so that all of it is visible: for training models that must
    never see a hidden part.
    """

    resolution: Literal[64, 128, 256] = 256
    size: int = Field(default=20_000, ge=1, le=1_000_000)
    complete: bool = False


class Synthetic(Dataset[SyntheticOptions]):
    """Scenes of parametric objects, one instance each: the target, 15 % of them unoccluded.

    Scene `i` of a split is the same in every process, at every size of the split and on every machine (masks
    to the bit, images up to rounding). What it shows at two resolutions is the same scene.
    """

    card = DatasetCard(
        title="Synthetic (embedded)",
        licence="Apache-2.0 (made by this project)",
        get="nothing to get: rendered on first use into the cache folder",
        splits={"train": {}, **{name: {"instances": count} for name, count in _INSTANCES.items()}},
        default_split="test",
        embedded=True,
    )
    Options = SyntheticOptions

    def __init__(self, location: Location, split: str, options: SyntheticOptions) -> None:
        super().__init__(location, split, options)
        count = _INSTANCES.get(split, options.size)
        self._ids = [self.id_of(f"{index:06d}", 0) for index in range(count)]
        self._store = Store(location.cache, split, options.resolution, count, options.complete)
        self.funnel.read = count

    def ids(self) -> Sequence[str]:
        """`synthetic/SPLIT/SCENE/0`, scenes in order."""
        return self._ids

    def __getitem__(self, index: int) -> AmodalSample:
        """Read a scene from the cache; the first access renders: a whole evaluation split, of `train` a part."""
        scene = range(len(self._ids))[operator.index(index)]
        image, amodal, visible, family = self._store.read(scene)
        return AmodalSample(AmodalQuery(self._ids[scene], f"{scene:06d}", image, visible, family), amodal)

    def seen(self, index: int) -> Seen:
        """The target's query and what is seen of every object of the scene, though the target alone is an instance."""
        scene, options = range(len(self._ids))[operator.index(index)], self.options
        return Seen(self[scene].query, things_of(self.split, scene, options.resolution, options.complete))

    def fingerprint(self) -> str:
        """sha256 (hex) of what names the pixels: generator version, split, resolution, count, families."""
        facts = {
            "generator": str(GENERATOR_VERSION),
            "split": self.split,
            "resolution": str(self.options.resolution),
            "instances": str(len(self._ids)),
            "families": " ".join(family.name for family in FAMILIES),
        }
        if self.options.complete:
            facts["shows"] = "complete targets"
        return manifest_digest(facts.items())

    def prepare(self) -> None:
        """Render all that is not yet in the cache, on all cores. Reading does so too, bit by bit."""
        self._store.make_all()
