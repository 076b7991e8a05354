"""Very many very small instances: what the harness costs where masks and methods cost nothing."""

import hashlib
from collections.abc import Sequence

import numpy as np
from pydantic import Field

from amodal_bench.plugin import Dataset, DatasetCard, Location, Settings
from amodal_bench.types import AmodalQuery, AmodalSample

SIDE = 8


class SpecksOptions(Settings):
    """How many there are, each in an image of its own."""

    count: int = Field(default=1_000_000, ge=1)


class Specks(Dataset[SpecksOptions]):
    """Instance k is a square of 3 to 7 pixels, of which the first 0 to 2 columns are hidden."""

    card = DatasetCard(title="Specks", licence="Apache-2.0", splits={"test": {}}, default_split="test", embedded=True)
    Options = SpecksOptions

    def __init__(self, location: Location, split: str, options: SpecksOptions) -> None:
        super().__init__(location, split, options)
        self.funnel.read = options.count
        self._ids = [f"specks/{split}/{k:07d}/0" for k in range(options.count)]

    def ids(self) -> Sequence[str]:
        """One an image."""
        return self._ids

    def fingerprint(self) -> str:
        """Of the drawing rules' version: there are no files."""
        return hashlib.sha256(b"specks/1").hexdigest()

    def __getitem__(self, index: int) -> AmodalSample:
        amodal = np.zeros((SIDE, SIDE), dtype=np.bool_)
        amodal[: 3 + index % 5, : 3 + index % 5] = True
        visible = amodal.copy()
        visible[:, : index % 3] = False
        image = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
        query = AmodalQuery(self._ids[index], f"{index:07d}", image, visible)
        return AmodalSample(query, amodal)
