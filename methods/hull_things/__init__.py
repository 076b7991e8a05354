"""hull_things: the convex hull where things are seen. Importing this needs no torch; `load` does."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from amodal_bench.masks.hull import hull_mask
from amodal_bench.methods._things import load as things
from amodal_bench.methods._things.settings import ThingsSettings
from amodal_bench.plugin import AnyDataset, Method, MethodCard, Runtime, Settings, TrainingRun
from amodal_bench.types import AmodalQuery, Mask

from .training import ThingsTraining

if TYPE_CHECKING:
    from amodal_bench.methods._things.finder import ThingsFinder

__all__ = ["HullThings", "HullThingsParams", "ThingsTraining"]


class HullThingsParams(Settings):
    """`forward_batch` is how many windows the network always sees at once (short batches are filled)."""

    things: ThingsSettings = ThingsSettings()
    forward_batch: int = Field(default=8, ge=1)


class HullThings(Method[HullThingsParams]):
    """V ∪ (hull(V) ∩ things): nothing is hidden where background is seen.

    The things network is modal: it learned from visible masks alone. What is left is convexity and where other things
    stand, so a method that completes shapes should pass it.
    """

    card = MethodCard(
        title="Convex hull where things are seen",
        paper="baseline",
        licence="Apache-2.0",
        needs=("torch", "safetensors"),
        extra="inpaint",
        weights="a things network trained here: docs/hull-things.md",
        batch_size=8,
    )
    Params = HullThingsParams
    Training = ThingsTraining

    def __init__(self, params: HullThingsParams) -> None:
        super().__init__(params)
        self._finder: ThingsFinder | None = None

    def pretrained(self, weights: Path) -> Mapping[str, Path]:
        """The things network."""
        return {"things": things.find(self.params.things, weights)}

    def load(self, runtime: Runtime) -> None:
        """Read the network."""
        path = things.find(self.params.things, runtime.weights)
        self._finder = things.load(self.params.things, path, runtime.device, self.params.forward_batch)

    def predict(self, queries: Sequence[AmodalQuery], seeds: Sequence[int]) -> list[Mask]:  # noqa: ARG002
        """The hulls, cut to things."""
        if self._finder is None:
            raise RuntimeError("predict was called before load")
        return [
            hull_mask(query.visible) & seen for query, seen in zip(queries, self._finder.things(queries), strict=True)
        ]

    def train(self, train: AnyDataset, val: AnyDataset, run: TrainingRun) -> None:
        """Train the things network on visible masks."""
        from .train import train as start

        start(self.params.things, train, val, run)
