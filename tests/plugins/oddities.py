"""Masks that are hard to write down: holes, parts, borders, single pixels, visible pixels outside; awkward names."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from amodal_bench.plugin import Dataset, DatasetCard, Location, Settings
from amodal_bench.types import AmodalQuery, AmodalSample, Mask


@dataclass(frozen=True)
class Thing:
    """One object."""

    image: str
    annotation: str
    category: str | None
    is_stuff: bool
    amodal: Mask
    visible: Mask


def box(shape: tuple[int, int], top: int, left: int, bottom: int, right: int) -> Mask:
    """A filled rectangle."""
    mask = np.zeros(shape, dtype=np.bool_)
    mask[top:bottom, left:right] = True
    return mask


def street() -> list[Thing]:
    """Three objects, named from back to front, that hide one another; the front one has a hole."""
    shape = (20, 31)
    wall, car = box(shape, 0, 0, 20, 31), box(shape, 8, 3, 20, 20)
    person = box(shape, 4, 10, 19, 24) & ~box(shape, 9, 14, 12, 18)
    hidden_by_person = car & ~person
    return [
        Thing("day 1/street.jpg", "w", "brick wall", True, wall, wall & ~car & ~person),
        Thing("day 1/street.jpg", "c:1", "car", False, car, hidden_by_person),
        Thing("day 1/street.jpg", "p", "person", False, person, person),
    ]


def dots() -> list[Thing]:
    """Single pixels, pixels that touch at their corners, two parts, noise, all pixels, two pixels far apart."""
    shape = (7, 9)
    rng = np.random.default_rng(4)
    pixel = box(shape, 6, 8, 7, 9)
    diagonal = np.eye(7, 9, dtype=np.bool_)
    parts = box(shape, 0, 0, 2, 3) | box(shape, 4, 5, 7, 7)
    noise = rng.random(shape) < 0.5
    everything = np.ones(shape, dtype=np.bool_)
    masks = {
        "pixel": (pixel, pixel),
        "diagonal": (diagonal, diagonal & box(shape, 0, 0, 4, 9)),
        "parts": (parts, parts & box(shape, 0, 0, 5, 9)),
        "noise": (noise, noise & (rng.random(shape) < 0.5)),
        "everything": (everything, noise),
        "sticks out": (parts, box(shape, 1, 1, 5, 6)),
        "apart": (box(shape, 0, 0, 1, 1) | pixel, pixel),
    }
    return [Thing(f"dots_object{name}", "0", None, False, *pair) for name, pair in masks.items()]


def line() -> list[Thing]:
    """One row of pixels, and one column."""
    row = box((1, 8), 0, 2, 1, 6)
    return [
        Thing("row", "0", "line", False, row, row & box((1, 8), 0, 0, 1, 4)),
        Thing("column", "0", "line", False, row.T.copy(), row.T & box((8, 1), 0, 0, 4, 1)),
    ]


class Oddities(Dataset[Settings]):
    """Ids are `oddities/test/IMAGE/ANN`."""

    card = DatasetCard(
        title="Oddities", licence="Apache-2.0", splits={"test": {"instances": 12}}, default_split="test", embedded=True
    )

    def __init__(self, location: Location, split: str, options: Settings) -> None:
        super().__init__(location, split, options)
        self._things = [*street(), *dots(), *line()]
        self.funnel.read = len(self._things)

    def ids(self) -> Sequence[str]:
        """As drawn."""
        return [f"oddities/{self.split}/{thing.image}/{thing.annotation}" for thing in self._things]

    def fingerprint(self) -> str:
        """Of the drawing rules' version."""
        return hashlib.sha256(b"oddities/1").hexdigest()

    def __getitem__(self, index: int) -> AmodalSample:
        thing = self._things[index]
        peers = [other for other in self._things if other.image == thing.image]
        image = np.zeros((*thing.amodal.shape, 3), dtype=np.uint8)
        for place, other in enumerate(peers):
            image[other.visible] = (90 + 40 * place, 200, 7 * len(thing.image))
        query = AmodalQuery(self.ids()[index], thing.image, image, thing.visible, thing.category)
        return AmodalSample(query, thing.amodal, is_stuff=thing.is_stuff)
