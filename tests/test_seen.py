"""What a dataset tells of an image without telling what is hidden in it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from amodal_bench.plugin import Dataset, DatasetCard, Location, Settings
from amodal_bench.resolve.held_out import part
from amodal_bench.resolve.mixture import Mixture
from amodal_bench.types import AmodalQuery, AmodalSample, Mask, beside


class Rows(Dataset[Settings]):
    """Two images of three instances, each of which is seen in its own row and whole everywhere; the last is stuff."""

    card = DatasetCard(title="Rows", splits={"train": {}}, default_split="train")

    def __init__(self, name: str = "rows") -> None:
        super().__init__(Location(name=name, root=Path(), cache=Path()), "train", Settings())

    def ids(self) -> Sequence[str]:
        return [self.id_of(image, row) for image in range(2) for row in range(3)]

    def fingerprint(self) -> str:
        return self.name

    def __getitem__(self, index: int) -> AmodalSample:
        image, row = divmod(range(6)[index], 3)
        picture = np.full((4, 4, 3), image, dtype=np.uint8)
        query = AmodalQuery(self.ids()[index], str(image), picture, rows(row))
        return AmodalSample(query, np.ones((4, 4), dtype=np.bool_), is_stuff=row == 2)


def rows(*numbers: int) -> Mask:
    mask = np.zeros((4, 4), dtype=np.bool_)
    mask[list(numbers)] = True
    return mask


def test_instances_of_one_image_stand_together() -> None:
    ids = ["d/s/a/0", "d/s/a/1", "d/s/a/x/0", "d/s/b/0", "d/s/b/1", "d/s/b/2"]
    assert [list(beside(ids, index)) for index in range(6)] == [[0, 1], [0, 1], [2], *[[3, 4, 5]] * 3]
    assert beside(ids, -1) == range(3, 6)


@pytest.mark.parametrize("index", [0, 1, 2, 5, -1])
def test_things_are_all_that_is_seen_of_the_images_instances_but_stuff(index: int) -> None:
    found = Rows().seen(index)
    assert found.query.id == Rows().ids()[index]
    assert np.array_equal(found.things, rows(0, 1))


def test_a_part_and_a_mixture_ask_the_dataset_itself() -> None:
    held = part(Rows(), [1, 4], "train, held-out")
    assert held.seen(1).query.id == "rows/train/1/1"
    assert np.array_equal(held.seen(1).things, rows(0, 1))  # though row 0 is in another part
    mixed = Mixture([Rows(), Rows("others")])
    assert mixed.seen(7).query.id == "others/train/0/1"
    assert np.array_equal(mixed.seen(7).things, rows(0, 1))
