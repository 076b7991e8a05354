"""Find and load the things network. Importing this needs no torch; `load` does."""

from pathlib import Path
from typing import TYPE_CHECKING

from amodal_bench.methods import _pretrained
from amodal_bench.methods._pretrained import WeightsSource

from .settings import ThingsSettings

if TYPE_CHECKING:
    from .finder import ThingsFinder

SHIPPED = Path(__file__).parent / "weights"
_SOURCE = WeightsSource(
    "things network of this project",
    "Apache-2.0",
    "1.3 MB",
    "amodal-bench train --method hull_things --dataset synthetic,composites, whose model.safetensors belongs at "
    "{folder}",
)


def find(settings: ThingsSettings, weights: Path) -> Path:
    """The weights' file; raises `WeightsNotFound` that says how to get it."""
    return _pretrained.find(settings.checkpoint, _SOURCE, weights, SHIPPED)


def load(settings: ThingsSettings, path: Path, device: str, batch: int) -> "ThingsFinder":
    """The network on `device`, which always sees `batch` windows; raises `Refused` where the file does not fit."""
    from amodal_bench.methods._training import weights

    from .finder import ThingsFinder
    from .network import ThingsNet

    network = ThingsNet()
    weights.load(network, path)
    return ThingsFinder(network, settings, device, batch)
