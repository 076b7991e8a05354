"""Images of several discs in memory, one before the other."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amodal_bench.plugin import Dataset, DatasetCard, Location, Settings, TrainingRun
from amodal_bench.types import AmodalQuery, AmodalSample, Mask

SIZE = 64


class Silent:
    """A monitor that says nothing."""

    def step(self, done: int, total: int, text: str) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""


class Discs(Dataset[Settings]):
    """Three discs an image, the last one in front; with `garbage` their amodal masks are noise around what is seen."""

    card = DatasetCard(title="Discs", licence="Apache-2.0", splits={"train": {}, "val": {}}, default_split="val")

    def __init__(self, images: int, garbage: bool = False, stuff: int | None = None) -> None:
        super().__init__(Location(name="discs", root=Path(), cache=Path()), "train", Settings())
        self._images, self._garbage, self._stuff = images, garbage, stuff

    def ids(self) -> Sequence[str]:
        return [f"discs/train/{image}/{disc}" for image in range(self._images) for disc in range(3)]

    def fingerprint(self) -> str:
        return hashlib.sha256(b"discs/1").hexdigest()

    def drawn(self, image: int) -> tuple[np.ndarray, list[Mask], list[Mask]]:
        """The picture, and every disc whole and as it is seen."""
        rng = np.random.default_rng(image)
        rows, columns = np.mgrid[:SIZE, :SIZE]
        picture = rng.integers(0, 70, (SIZE, SIZE, 3), dtype=np.uint8)
        whole = [(rows - a) ** 2 + (columns - b) ** 2 < r * r for a, b, r in rng.uniform(14, 50, (3, 3)) * (1, 1, 0.3)]
        for disc in whole:
            picture[disc] = rng.integers(130, 256, 3)
        seen, free = [], np.ones((SIZE, SIZE), dtype=np.bool_)
        for disc in reversed(whole):
            seen.append(disc & free)
            free &= ~disc
        return picture, whole, seen[::-1]

    def __getitem__(self, index: int) -> AmodalSample:
        image, disc = divmod(index, 3)
        picture, whole, seen = self.drawn(image)
        amodal = whole[disc]
        if self._garbage:
            amodal = seen[disc] | (np.random.default_rng(index).random((SIZE, SIZE)) < 0.5)
        query = AmodalQuery(self.ids()[index], str(image), picture, seen[disc])
        return AmodalSample(query, amodal, disc == self._stuff if self._stuff is not None else None)


@pytest.fixture(scope="session")
def discs() -> type[Discs]:
    return Discs


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., TrainingRun]:
    """`start(config, "out")`: a training's frame in a folder of its own."""

    def make(config: Any, out: str = "out") -> TrainingRun:
        folder = tmp_path / out
        folder.mkdir(exist_ok=True)
        return TrainingRun(config=config, out=folder, seed=1, device="cpu", metadata={}, monitor=Silent())

    return make
