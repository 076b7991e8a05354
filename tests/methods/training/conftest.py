"""Whole ellipses in memory, and the frame of a training."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amodal_bench.plugin import Dataset, DatasetCard, Location, Settings, TrainingRun
from amodal_bench.types import AmodalQuery, AmodalSample


class Lines:
    """A monitor that keeps the lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def step(self, done: int, total: int, text: str) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Kept."""
        self.lines.append(text)


class Ellipses(Dataset[Settings]):
    """Two-coloured ellipses of which all is seen, 64 x 64; one more call than `calls` ends the process's work."""

    card = DatasetCard(title="Ellipses", licence="Apache-2.0", splits={"train": {}, "val": {}}, default_split="val")

    def __init__(self, count: int, calls: int | None = None) -> None:
        super().__init__(Location(name="ellipses", root=Path(), cache=Path()), "train", Settings())
        self._count, self._left = count, calls

    def ids(self) -> Sequence[str]:
        return [f"ellipses/train/{k}/0" for k in range(self._count)]

    def fingerprint(self) -> str:
        return hashlib.sha256(b"whole ellipses/1").hexdigest()

    def __getitem__(self, index: int) -> AmodalSample:
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                raise Interrupted
        rng = np.random.default_rng(index)
        rows, columns = np.mgrid[:64, :64]
        centre, radii = rng.uniform(26, 38, 2), rng.uniform(10, 18, 2)
        whole = ((rows - centre[0]) / radii[0]) ** 2 + ((columns - centre[1]) / radii[1]) ** 2 <= 1
        image = rng.integers(0, 60, (64, 64, 3), dtype=np.uint8)
        image[whole] = (200, 80, 40 * (index % 4))
        image[whole & (rows < centre[0])] = (90, 200, 30)
        return AmodalSample(AmodalQuery(self.ids()[index], str(index), image, whole), whole)


class Interrupted(Exception):
    """What stands for a kill inside one process."""


@pytest.fixture(scope="session")
def ellipses() -> type[Ellipses]:
    return Ellipses


@pytest.fixture(scope="session")
def interrupted() -> type[Exception]:
    return Interrupted


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., TrainingRun]:
    """`start(config, "out")`: a training's frame in a folder of its own."""

    def make(config: Any, out: str = "out") -> TrainingRun:
        folder = tmp_path / out
        folder.mkdir(exist_ok=True)
        return TrainingRun(config=config, out=folder, seed=1, device="cpu", metadata={}, monitor=Lines())

    return make
