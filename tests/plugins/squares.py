"""Squares half hidden by bars: made, not read, so that tests have a dataset without files."""

import hashlib
from collections.abc import Sequence

import numpy as np
from pydantic import Field

from amodal_bench.plugin import Dataset, DatasetCard, Location, Settings
from amodal_bench.types import AmodalQuery, AmodalSample, Mask

SIDE = 10
HEIGHT, WIDTH = 24, 32
PER_IMAGE = 3


class SquaresOptions(Settings):
    """How many squares there are, three an image."""

    count: int = Field(default=24, ge=3, le=3000, multiple_of=PER_IMAGE)


class Squares(Dataset[SquaresOptions]):
    """Ids are `squares/test/IMAGE/0..2`; instance k hides k % 10 of its ten columns, in its middle if k is odd."""

    card = DatasetCard(
        title="Squares behind bars",
        licence="Apache-2.0",
        splits={"test": {"images": 8, "instances": 24}},
        default_split="test",
        embedded=True,
    )
    Options = SquaresOptions

    def __init__(self, location: Location, split: str, options: SquaresOptions) -> None:
        super().__init__(location, split, options)
        self.funnel.read = options.count
        self._ids = [f"squares/{split}/{k // PER_IMAGE:02d}/{k % PER_IMAGE}" for k in range(options.count)]

    def ids(self) -> Sequence[str]:
        """By image, left to right."""
        return self._ids

    def fingerprint(self) -> str:
        """Of the drawing rules' version: there are no files."""
        return hashlib.sha256(b"squares/1").hexdigest()

    def __getitem__(self, index: int) -> AmodalSample:
        first = index - index % PER_IMAGE
        scene = [draw(k) for k in range(first, first + PER_IMAGE)]
        image = np.full((HEIGHT, WIDTH, 3), 30, dtype=np.uint8)
        for place, (amodal, visible) in enumerate(scene):
            image[amodal] = 240
            image[visible] = (80 + 50 * place, 200 - 40 * place, 60)
        amodal, visible = scene[index - first]
        id = self._ids[index]
        category = ("left", "middle", "right")[index % PER_IMAGE]
        query = AmodalQuery(id, id.split("/")[2], image, visible, category)
        return AmodalSample(query, amodal, is_stuff=False, declared_rate=index % SIDE / SIDE)


def draw(index: int) -> tuple[Mask, Mask]:
    """Amodal and visible mask (HEIGHT, WIDTH) of instance `index`."""
    top = (5 * (index // PER_IMAGE)) % (HEIGHT - SIDE + 1)
    left = (SIDE + 1) * (index % PER_IMAGE)
    amodal = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
    amodal[top : top + SIDE, left : left + SIDE] = True
    hidden = index % SIDE
    start = left + (SIDE - hidden) // 2 if index % 2 else left
    visible = amodal.copy()
    visible[:, start : start + hidden] = False
    return amodal, visible
