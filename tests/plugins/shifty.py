"""A dataset whose samples are not what they should be."""

import hashlib
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from amodal_bench.plugin import Dataset, DatasetCard, Location, Settings
from amodal_bench.types import AmodalQuery, AmodalSample, Mask

HEIGHT, WIDTH = 8, 12


class ShiftyOptions(Settings):
    """What is wrong; `none`: nothing. `count`: instances, one an image."""

    how: Literal[
        "none", "returns none", "returns tuple", "another", "category", "surrogate", "is_stuff", "exits", "one buffer",
        "one image",
        "id surrogate", "id short", "group", "twice", "constructor exits",
    ] = "none"  # fmt: skip
    count: int = 6
    dropped: int = 0


class Shifty(Dataset[ShiftyOptions]):
    """Instance k shows the first k + 1 columns, its whole is two more; there is no other visible mask than `amodal`'s
    own array where k is 0."""

    card = DatasetCard(title="Shifty", licence="Apache-2.0", splits={"test": {}}, default_split="test", embedded=True)
    Options = ShiftyOptions

    def __init__(self, location: Location, split: str, options: ShiftyOptions) -> None:
        super().__init__(location, split, options)
        if options.how == "constructor exits":
            raise SystemExit(0)
        self.funnel.read = options.count + options.dropped
        if options.dropped:
            self.funnel.drop("too small", options.dropped)
            self.funnel.note("odd")
        name = {"id surrogate": "caf\udce9", "id short": "only"}.get(options.how, "image")
        self._ids = [f"shifty/test/{name}{k}/0" for k in range(options.count)]
        if options.how == "id short":
            self._ids[2] = "shifty/test"
        if options.how == "twice":
            self._ids[2] = self._ids[1]
        self._image = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
        self._buffer = np.zeros((2, HEIGHT, WIDTH), dtype=np.bool_)

    def ids(self) -> Sequence[str]:
        """In order."""
        return self._ids

    def group(self, id: str) -> Any:
        """The image, or no text."""
        return 7 if self.options.how == "group" else id

    def fingerprint(self) -> str:
        """Of the rules' version."""
        return hashlib.sha256(b"shifty/1").hexdigest()

    def __getitem__(self, index: int) -> Any:
        bad = index == 2
        match self.options.how:
            case "returns none" if bad:
                return None
            case "returns tuple" if bad:
                return (1, 2)
            case "exits" if bad:
                raise SystemExit(0)
            case "another" if bad:
                return self._sample(3)
            case "category" if bad:
                return self._sample(index, category=7)
            case "surrogate" if bad:
                return self._sample(index, category="\ud800")
            case "is_stuff" if bad:
                return self._sample(index, is_stuff="yes")
        return self._sample(index)

    def _sample(self, index: int, category: Any = "thing", is_stuff: Any = False) -> AmodalSample:
        amodal, visible = self._masks(index)
        image = np.full((HEIGHT, WIDTH, 3), index, dtype=np.uint8)
        if self.options.how == "one image":
            self._image[:] = image
            image = self._image
        id = self._ids[index]
        return AmodalSample(AmodalQuery(id, id, image, visible, category), amodal, is_stuff=is_stuff)

    def _masks(self, index: int) -> tuple[Mask, Mask]:
        amodal, visible = self._buffer if self.options.how == "one buffer" else np.zeros_like(self._buffer)
        amodal[:], visible[:] = False, False
        visible[:, : index + 1] = True
        amodal[:, : index + (1 if index == 0 else 3)] = True
        return amodal, (amodal if index == 0 else visible)
