"""hull_things answers the hull where things are seen; its network is found, told of where it is missing, and padded."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from torch import nn  # noqa: E402

from amodal_bench.errors import Refused, WeightsNotFound  # noqa: E402
from amodal_bench.masks.hull import hull_mask  # noqa: E402
from amodal_bench.methods._things.adjoining import adjoining  # noqa: E402
from amodal_bench.methods._things.finder import ThingsFinder  # noqa: E402
from amodal_bench.methods._things.network import ThingsNet  # noqa: E402
from amodal_bench.methods._things.settings import ThingsSettings  # noqa: E402
from amodal_bench.methods._training import weights  # noqa: E402
from amodal_bench.methods.hull_things import HullThings, HullThingsParams  # noqa: E402
from amodal_bench.plugin import Runtime  # noqa: E402
from amodal_bench.types import AmodalQuery, Mask  # noqa: E402

SETTINGS = ThingsSettings(checkpoint="things.safetensors", resolution=64)


class Bright(nn.Module):
    """A pixel is a thing where it is brighter than middle grey; counts how many squares it was shown at once."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[int] = []

    def forward(self, x: Any) -> Any:
        self.shown.append(len(x))
        return x.mean(dim=1)


def box(top: int, left: int, bottom: int, right: int, size: int = 64) -> Mask:
    mask = np.zeros((size, size), dtype=np.bool_)
    mask[top:bottom, left:right] = True
    return mask


def query(visible: Mask, *others: Mask) -> AmodalQuery:
    """An object, and other things, white on black."""
    image = np.zeros((*visible.shape, 3), dtype=np.uint8)
    for mask in (visible, *others):
        image[mask] = 255
    return AmodalQuery("made/test/0/0", "0", image, visible)


def finder(batch: int = 2) -> ThingsFinder:
    return ThingsFinder(Bright(), SETTINGS, "cpu", batch)


L_SHAPE = box(16, 16, 48, 28) | box(36, 16, 48, 48)  # its hull spans the notch at the top right


def test_things_are_what_the_network_finds_and_the_object() -> None:
    other = box(18, 30, 26, 40)
    asked = query(L_SHAPE, other)
    assert np.array_equal(finder().things([asked])[0], L_SHAPE | other)
    dark = AmodalQuery("made/test/0/0", "0", np.zeros_like(asked.image), L_SHAPE)
    assert np.array_equal(finder().things([dark])[0], L_SHAPE)


def test_outside_the_square_no_thing_is_known_of() -> None:
    visible, far = box(20, 20, 30, 30), box(50, 50, 60, 60)
    assert not (finder().things([query(visible, far)])[0] & far).any()


def test_occluders_are_other_things_that_adjoin_the_object() -> None:
    touching, near, apart = box(16, 28, 24, 40), box(28, 30, 33, 40), box(16, 46, 22, 52)
    found = finder().occluders([query(L_SHAPE, touching, near, apart)])[0]
    assert np.array_equal(found, touching | near)
    assert not (found & L_SHAPE).any()


def test_adjoining_pieces_are_whole_ones_within_three_pixels() -> None:
    seen = box(10, 10, 20, 20)
    three, four, corner = box(10, 22, 12, 40), box(16, 23, 18, 40), box(22, 22, 30, 30)
    assert np.array_equal(adjoining(three | four | corner, seen), three | corner)
    assert not adjoining(np.zeros_like(seen), seen).any()


def test_the_answer_is_the_hull_where_things_are_seen(tmp_path: Path) -> None:
    other = box(18, 34, 30, 44)
    method = HullThings(HullThingsParams(things=SETTINGS))
    with pytest.raises(RuntimeError, match="before load"):
        method.predict([query(L_SHAPE, other)], [0])
    method._finder = finder()
    (answer,) = method.predict([query(L_SHAPE, other)], [0])
    assert np.array_equal(answer, L_SHAPE | (hull_mask(L_SHAPE) & other))
    assert (answer & ~L_SHAPE).any()


def test_the_network_always_sees_the_same_number_of_squares() -> None:
    network = Bright()
    found = ThingsFinder(network, SETTINGS, "cpu", 2).things([query(L_SHAPE), query(box(2, 2, 9, 9)), query(L_SHAPE)])
    assert network.shown == [2, 2]
    assert np.array_equal(found[0], found[2])


def test_weights_are_found_and_read(tmp_path: Path) -> None:
    torch.manual_seed(0)
    weights.save(ThingsNet(), tmp_path / "things.safetensors", {}, half=True)
    method = HullThings(HullThingsParams(things=SETTINGS))
    assert method.pretrained(tmp_path) == {"things": tmp_path / "things.safetensors"}
    method.load(Runtime(weights=tmp_path))
    (answer,) = method.predict([query(L_SHAPE)], [0])
    assert ((answer >= L_SHAPE) & (answer <= hull_mask(L_SHAPE))).all()
    assert (tmp_path / "things.safetensors").stat().st_size < 1.5e6


def test_missing_and_unfit_weights_are_told_of(tmp_path: Path) -> None:
    method = HullThings(HullThingsParams(things=SETTINGS))
    with pytest.raises(WeightsNotFound, match=r"(?s)things network of this project.*train --method hull_things"):
        method.pretrained(tmp_path)
    weights.save(nn.Linear(2, 2), tmp_path / "things.safetensors", {}, half=False)
    with pytest.raises(Refused, match=r"things.safetensors does not fit this network"):
        method.load(Runtime(weights=tmp_path))


def test_other_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 16"):
        ThingsSettings(resolution=100)
