"""Guides: channels made of the visible mask, beside it in training, sampling and weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from amodal_bench.errors import Refused
from amodal_bench.methods._training import weights
from amodal_bench.methods.conddiff import CondDiff, CondDiffParams, CondDiffTraining
from amodal_bench.methods.conddiff.augment import changed
from amodal_bench.methods.conddiff.batches import Triples
from amodal_bench.methods.conddiff.guides import with_guides
from amodal_bench.methods.conddiff.network import Network
from amodal_bench.methods.conddiff.params import Augment
from amodal_bench.methods.conddiff.pretrained import go_on_from
from amodal_bench.store.spec import resolved

from .conftest import TINY

GUIDED = {**TINY, "model": {**TINY["model"], "vm_input": "channel", "guides": ("hull", "distance")}}


def corner(size: int = 40) -> Any:
    """An L: its hull is more than it."""
    mask = np.zeros((size, size), dtype=bool)
    mask[10:30, 10:14] = mask[26:30, 10:30] = True
    return mask


def test_the_hull_fills_and_the_distance_falls_inside() -> None:
    visible, hull, distance = with_guides(corner(), ("hull", "distance"))
    assert np.array_equal(visible, corner())
    assert hull[20, 15] == 1
    assert hull[12, 28] == 0
    assert (hull[corner()] == 1).all()
    assert distance[20, 11] < 0
    assert distance[20, 14] == pytest.approx(1 / 10)  # one pixel off, over a quarter of 40
    assert distance[20, 17] == pytest.approx(4 / 10)
    assert distance[0, 39] == 1
    assert distance.min() >= -1


def test_a_mask_that_fills_the_frame_is_all_inside() -> None:
    _, hull, distance = with_guides(np.ones((8, 8), dtype=bool), ("hull", "distance"))
    assert (hull == 1).all()
    assert (distance == -1).all()


def test_training_and_prediction_see_the_same_channels(ellipses: Callable[..., Any]) -> None:
    params = CondDiffParams.model_validate(GUIDED)
    data = ellipses(4)
    still = Augment(flip=0, colour=0)
    image, given, _ = Triples(data, params, still, seed=1)[0, 0]
    assert given.shape == (3, 64, 64)
    seen: list[torch.Tensor] = []
    torch.manual_seed(1)
    method = CondDiff(params)
    method.use(Network(params.model), "cpu")
    stem = method.network.pcn.stem
    method.network.pcn.stem = lambda image, visible: seen.append(visible) or stem(image, visible)  # type: ignore[func-returns-value,method-assign]
    (mask,) = method.predict([data[0].query], [5])
    assert mask.shape == data[0].visible.shape
    assert torch.equal(seen[0][0], given)
    assert image.dtype == torch.uint8


def test_guides_need_the_channel() -> None:
    with pytest.raises(ValueError, match="guides stand beside the visible mask's own channel"):
        CondDiffParams.model_validate({"model": {"guides": ("hull",)}})


def test_weights_are_bound_to_their_guides() -> None:
    import json

    plain = CondDiffParams.model_validate({**GUIDED, "model": {**GUIDED["model"], "guides": ()}})
    guided = CondDiffParams.model_validate(GUIDED)
    header = {"params": json.dumps(resolved(plain))}
    CondDiff(plain).check_weights(header)
    with pytest.raises(Refused, match=r"model.guides: trained with \[\], asked for \['hull', 'distance'\]"):
        CondDiff(guided).check_weights(header)


def test_a_training_goes_on_from_weights_that_knew_no_guides(tmp_path: Path) -> None:
    """The network computes what it did, whatever the new channels hold."""
    plain = CondDiffParams.model_validate({**GUIDED, "model": {**GUIDED["model"], "guides": ()}})
    torch.manual_seed(0)
    old, new = Network(plain.model).eval(), Network(CondDiffParams.model_validate(GUIDED).model).eval()
    path = tmp_path / "old.safetensors"
    weights.save(old, path, {}, half=False)
    go_on_from(new, path)
    image, given = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64)
    x, snr = torch.randn(2, 1, 64, 64), torch.zeros(2)
    torch.testing.assert_close(new(x, image, given, snr), old(x, image, given[:, :1], snr))
    with pytest.raises(Refused, match="does not fit this network"):
        go_on_from(Network(CondDiffParams().model), path)


def test_what_a_training_goes_on_from_is_found_first_and_in_place_of_the_backbone(
    tiny: CondDiffParams, tmp_path: Path
) -> None:
    method, path = CondDiff(tiny), tmp_path / "old.safetensors"
    with pytest.raises(Refused, match=r"train.start .*old.safetensors: no such file \(weights of conddiff\)"):
        method.starts(CondDiffTraining(start=path), tmp_path)
    save_file(Network(tiny.model).state_dict(), path)
    assert method.starts(CondDiffTraining(start=path), tmp_path) == {"weights": path}


@pytest.mark.parametrize("what", ["grey", "blur", "noise", "jpeg"])
def test_worn_images_keep_their_masks(what: str) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    visible, amodal = corner(), np.ones((40, 40), dtype=bool)
    quiet: dict[str, Any] = {"flip": 0, "colour": 0}
    same, _, _ = changed(image, visible, amodal, Augment(**quiet), np.random.default_rng(1))
    worn, seen, whole = changed(image, visible, amodal, Augment(**quiet, **{what: 1}), np.random.default_rng(1))
    assert np.array_equal(same, image)
    assert worn.shape == image.shape
    assert worn.dtype == np.uint8
    assert not np.array_equal(worn, image)
    assert np.array_equal(seen, visible)
    assert np.array_equal(whole, amodal)
    if what == "grey":
        assert (worn == worn[..., :1]).all()
    if what == "blur":
        assert np.abs(np.diff(worn.astype(int), axis=0)).mean() < np.abs(np.diff(image.astype(int), axis=0)).mean()
