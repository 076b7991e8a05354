"""A tiny network, and a dataset of four occluded ellipses in memory."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amodal_bench.methods.conddiff import CondDiff, CondDiffParams, CondDiffTraining
from amodal_bench.plugin import Dataset, DatasetCard, Location, Settings, TrainingRun
from amodal_bench.types import AmodalQuery, AmodalSample

TINY: dict[str, Any] = {
    "model": {
        "backbone": "pvt_v2_b0", "depths": (1, 1, 1, 1), "dims": (16, 32, 40, 64), "size": 64, "width": 32,
        "ocr": False,
    },
    "diffusion": {"noise_d": 11.6, "steps": 10},
    "crop": {"mode": "none"},
    "forward_batch": 4,
}  # fmt: skip


class Silence:
    """A monitor that keeps the lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def step(self, done: int, total: int, text: str) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Kept."""
        self.lines.append(text)


class Ellipses(Dataset[Settings]):
    """Ellipses of which a bar hides a part, 64 x 64."""

    card = DatasetCard(title="Ellipses", licence="Apache-2.0", splits={"train": {}, "val": {}}, default_split="val")

    def __init__(self, count: int = 4, poisoned: int | None = None) -> None:
        super().__init__(Location(name="ellipses", root=Path(), cache=Path()), "train", Settings())
        self._count, self.poisoned = count, poisoned

    def ids(self) -> Sequence[str]:
        """One an image."""
        return [f"ellipses/train/{k}/0" for k in range(self._count)]

    def fingerprint(self) -> str:
        """Of the rules."""
        return hashlib.sha256(b"ellipses/1").hexdigest()

    def __getitem__(self, index: int) -> AmodalSample:
        rng = np.random.default_rng(index)
        rows, columns = np.mgrid[:64, :64]
        centre, radii = rng.uniform(24, 40, 2), rng.uniform(12, 20, 2)
        amodal = ((rows - centre[0]) / radii[0]) ** 2 + ((columns - centre[1]) / radii[1]) ** 2 <= 1
        visible = amodal & (columns < centre[1] + 2)
        image = rng.integers(0, 60, (64, 64, 3), dtype=np.uint8)
        image[amodal] = (200, 80, 40 * (index % 4))
        image[amodal & ~visible] = 128
        return AmodalSample(AmodalQuery(self.ids()[index], str(index), image, visible), amodal)


@pytest.fixture
def ellipses() -> type[Ellipses]:
    """The dataset's class."""
    return Ellipses


@pytest.fixture
def tiny() -> CondDiffParams:
    """Parameters of a network of .4 million weights."""
    return CondDiffParams.model_validate(TINY)


@pytest.fixture
def small() -> CondDiffParams:
    """The same for 32 pixels, which trains in half the time."""
    model, diffusion = {**TINY["model"], "size": 32}, {**TINY["diffusion"], "noise_d": 5.8}
    return CondDiffParams.model_validate({**TINY, "model": model, "diffusion": diffusion})


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., TrainingRun]:
    """A training's frame: `start(epochs=2)`."""

    def make(out: str = "out", **training: Any) -> TrainingRun:
        folder = tmp_path / out
        folder.mkdir(exist_ok=True)
        config = CondDiffTraining.model_validate(
            {"batch_size": 4, "val_limit": 0, "drop_path": 0, "dropout": 0, **training}
        )
        return TrainingRun(
            config=config, out=folder, seed=1, device="cpu", metadata={"method": "conddiff"}, monitor=Silence()
        )

    return make


@pytest.fixture
def method(tiny: CondDiffParams) -> Callable[..., CondDiff]:
    """A tiny method with random weights: `method(union_visible=True)`."""
    torch = pytest.importorskip("torch")
    from amodal_bench.methods.conddiff.network import Network

    def make(**changes: Any) -> CondDiff:
        torch.manual_seed(0)
        made = CondDiff(CondDiffParams.model_validate({**TINY, **changes}))
        network = Network(made.params.model)
        with torch.inference_mode():  # a fresh network says the same of every pixel: make it speak
            network.dn.head[1].weight.mul_(100)
            size = made.params.model.size
            shown = (torch.randn(4, channels, size, size) for channels in (1, 3, 1))
            network.dn.head[1].bias.sub_(network.eval()(*shown, torch.full((4,), -5.0)).median())
        made.use(network, "cpu")
        return made

    return make
