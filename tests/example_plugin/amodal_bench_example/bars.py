"""Rectangles cut in two by a bar."""

import hashlib
from collections.abc import Sequence

import numpy as np

from amodal_bench.plugin import Dataset, DatasetCard, Location, Settings
from amodal_bench.types import AmodalQuery, AmodalSample


class Bars(Dataset[Settings]):
    """Ids are `bars/test/WIDTH/0`: one rectangle an image, behind a bar that many columns wide."""

    card = DatasetCard(
        title="Rectangles behind a bar",
        licence="Apache-2.0",
        splits={"test": {"images": 5, "instances": 5}},
        default_split="test",
        embedded=True,
    )

    def __init__(self, location: Location, split: str, options: Settings) -> None:
        super().__init__(location, split, options)
        self._ids = [self.id_of(width, 0) for width in range(5)]
        self.funnel.read = len(self._ids)

    def ids(self) -> Sequence[str]:
        """From no bar to four columns."""
        return self._ids

    def fingerprint(self) -> str:
        """Of the drawing rules' version."""
        return hashlib.sha256(b"bars/1").hexdigest()

    def __getitem__(self, index: int) -> AmodalSample:
        amodal = np.zeros((16, 20), dtype=np.bool_)
        amodal[4:12, 5:15] = True
        visible = amodal.copy()
        visible[:, 8 : 8 + index] = False
        picture = np.where(visible, 200, 40).astype(np.uint8)[..., None].repeat(3, axis=2)
        return AmodalSample(AmodalQuery(self._ids[index], str(index), picture, visible), amodal)
