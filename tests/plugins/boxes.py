"""Rectangles from a file, `boxes.json`: a dataset whose annotations can change."""

import hashlib
import json
from collections.abc import Sequence

import numpy as np

from amodal_bench.plugin import Dataset, DatasetCard, Location, Settings
from amodal_bench.types import AmodalQuery, AmodalSample

SHAPE = (24, 16)


class Boxes(Dataset[Settings]):
    """Each entry of the file is [top, left, bottom, right, columns hidden from the left]; one an image."""

    card = DatasetCard(title="Boxes", licence="Apache-2.0", splits={"test": {}}, default_split="test")

    def __init__(self, location: Location, split: str, options: Settings) -> None:
        super().__init__(location, split, options)
        text = (location.root / "boxes.json").read_bytes()
        self._fingerprint = hashlib.sha256(text).hexdigest()
        self._boxes = json.loads(text)
        self._ids = [f"boxes/{split}/{place:03d}/0" for place in range(len(self._boxes))]
        self.funnel.read = len(self._boxes)

    def ids(self) -> Sequence[str]:
        """As listed."""
        return self._ids

    def fingerprint(self) -> str:
        """Of the file."""
        return self._fingerprint

    def __getitem__(self, index: int) -> AmodalSample:
        top, left, bottom, right, hidden = self._boxes[index]
        amodal = np.zeros(SHAPE, dtype=np.bool_)
        amodal[top:bottom, left:right] = True
        visible = amodal.copy()
        visible[:, left : left + hidden] = False
        image = np.repeat(visible[..., None].astype(np.uint8) * 200, 3, axis=2)
        id = self._ids[index]
        return AmodalSample(AmodalQuery(id, f"{index:03d}", image, visible), amodal)
