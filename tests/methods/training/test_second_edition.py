"""Other objects laid over whole ones, times as a preset uses them, a segmenter that goes on with what is seen."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("accelerate")
pytest.importorskip("segment_anything")

from torch import nn  # noqa: E402

from amodal_bench.errors import Refused  # noqa: E402
from amodal_bench.masks.hull import hull_mask  # noqa: E402
from amodal_bench.methods._segment.load import SHIPPED  # noqa: E402
from amodal_bench.methods._training import weights  # noqa: E402
from amodal_bench.methods._window import RegionSettings  # noqa: E402
from amodal_bench.methods.inpaint.batches import Holes  # noqa: E402
from amodal_bench.methods.inpaint.others import Other, laid_over, read_others  # noqa: E402
from amodal_bench.methods.inpaint.params import Condition, InpaintParams, InpaintTraining  # noqa: E402
from amodal_bench.methods.inpaint.train import InpaintTrainer, train  # noqa: E402
from amodal_bench.methods.sam import Sam, SamParams, SamTraining  # noqa: E402
from amodal_bench.methods.sam import train as sam_train  # noqa: E402
from amodal_bench.methods.sam.train import Prompts  # noqa: E402
from amodal_bench.plugin import TrainingRun  # noqa: E402
from amodal_bench.store.spec import resolved  # noqa: E402

Start = Callable[..., TrainingRun]
CONDITION = Condition(background="image", object_noise=0, grow=0.05, keep_visible=True, within="things")
PARAMS = InpaintParams(resolution=64, region=RegionSettings(mode="square"), condition=CONDITION)
KEPT = InpaintTraining(others=1, colour=0, shift=0)
SIZE = 64


def disc(row: float, column: float, radius: float) -> Any:
    rows, columns = np.mgrid[:SIZE, :SIZE]
    return (rows - row) ** 2 + (columns - column) ** 2 < radius**2


def patch(value: int = 255) -> Other:
    return Other(np.full((20, 20, 3), value, dtype=np.uint8), np.ones((20, 20), dtype=np.bool_))


@pytest.mark.parametrize("seed", range(12))
def test_the_picture_is_as_it_was_in_the_hole_and_the_other_object_lies_beside_it(seed: int) -> None:
    image = np.full((SIZE, SIZE, 3), 60, dtype=np.uint8)
    whole = disc(32, 32, 16)
    image[whole] = 120
    found = laid_over(image, whole, [patch()], CONDITION, np.random.default_rng(seed))
    assert found is not None
    picture, hole = found
    assert np.array_equal(picture[hole], image[hole])
    over = (picture == 255).all(axis=2) | hole
    left = whole & ~over
    assert 0.05 < (whole & over).sum() / whole.sum() < 0.9
    assert np.array_equal(picture[~over], image[~over])
    assert not (hole & left).any()
    rows, columns = np.nonzero(over)
    assert over.sum() == (np.ptp(rows) + 1) * (np.ptp(columns) + 1), "the hole and what is seen of the other make it up"


def test_most_holes_are_what_the_pipeline_would_repaint() -> None:
    whole, image = disc(32, 32, 16), np.zeros((SIZE, SIZE, 3), dtype=np.uint8)
    cut = 0
    for seed in range(40):
        found = laid_over(image, whole, [patch()], CONDITION, np.random.default_rng(seed))
        assert found is not None
        picture, hole = found
        beside = picture.any(axis=2)
        cut += bool(beside.any())
        if beside.any():
            left = whole & ~(beside | hole)
            assert (hole & ~hull_mask(left)).sum() < 0.5 * hole.sum() + 60  # it is grown by a twentieth
    assert 20 < cut < 40


def test_what_can_hide_nothing_is_no_other_object() -> None:
    never = Other(np.zeros((1, 1, 3), dtype=np.uint8), np.ones((1, 1), dtype=np.bool_))
    corner = np.zeros((SIZE, SIZE), dtype=np.bool_)
    corner[0, 0] = True
    found = [laid_over(np.zeros((SIZE, SIZE, 3), np.uint8), corner, [never], CONDITION, np.random.default_rng(k))
             for k in range(6)]  # fmt: skip
    assert found == [None] * 6


def test_others_are_read_as_they_are_seen_and_the_same_for_a_seed(ellipses: Any) -> None:
    first, again = read_others(ellipses(6), 32, 1), read_others(ellipses(6), 32, 1)
    assert len(first) == 256
    assert max(max(other.mask.shape) for other in first) <= 32
    assert all(np.array_equal(a.image, b.image) for a, b in zip(first, again, strict=True))
    assert any(a.mask.shape != b.mask.shape for a, b in zip(first, read_others(ellipses(6), 32, 2), strict=True))


def test_items_keep_the_picture_and_all_chance_is_fixed(ellipses: Any) -> None:
    holes, again = (Holes(ellipses(4), PARAMS, KEPT, 3) for _ in range(2))
    for index in range(4):
        image, hole = holes[1, index]
        assert image.shape == (3, SIZE, SIZE)
        assert hole.any()
        assert torch.equal(image, again[1, index][0])
        assert torch.equal(hole, again[1, index][1])
        assert (image.float().mean() > 5).item()  # nothing is black


def test_holes_of_the_first_edition_are_what_they_were(ellipses: Any) -> None:
    """Chance is drawn anew only where others are asked for."""
    plain, none = Holes(ellipses(2), PARAMS, InpaintTraining(), 3), Holes(ellipses(2), PARAMS, InpaintTraining(), 3)
    assert plain._others == []
    assert torch.equal(plain[0, 1][0], none[0, 1][0])
    assert not {"others", "times"} & set(resolved(InpaintTraining()))


class Asked(nn.Module):
    """A network that remembers at which times it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.times: list[int] = []

    def forward(self, x: Any, t: Any, text: Any, return_dict: bool) -> tuple[Any]:
        self.times += t.tolist()
        return (x[:, :4] * 0 + self.weight,)


@pytest.mark.parametrize("times", ["last", "spread"])
def test_times_are_drawn_where_the_preset_uses_them(
    times: str, ellipses: Any, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    from amodal_bench.methods.inpaint import train as module

    network = Asked()
    monkeypatch.setattr(module, "unet", lambda *_: network)
    run = start(
        InpaintTraining.model_validate(
            {"times": times, "codec_steps": 1, "codec_width": 8, "epochs": 2, "batch_size": 4, "val_limit": 2}
        )
    )
    monkeypatch.setattr(InpaintTrainer, "ship", lambda *_: None)
    train(PARAMS, ellipses(8), ellipses(2), run)
    assert (set(network.times) == {999}) == (times == "last")


# The segmenter


class Hidden:
    """Ellipses of whose amodal masks more is hidden than seen, or noise."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __len__(self) -> int:
        return len(self.inner)

    def __getitem__(self, index: int) -> Any:
        sample = self.inner[index]
        noise = np.random.default_rng(index).random(sample.amodal.shape) < 0.5
        return replace(sample, amodal=sample.amodal | noise)


def test_a_modal_segmenter_reads_no_amodal_mask_and_others_refuse_hidden_parts(ellipses: Any) -> None:
    data = ellipses(4)
    modal, honest = Prompts(Hidden(data), SamTraining(modal=True), 1), Prompts(data, SamTraining(), 1)  # type: ignore[arg-type]
    for index in range(4):
        assert all(torch.equal(a, b) for a, b in zip(modal[0, index], honest[0, index], strict=True))
    with pytest.raises(Refused, match="this training is on whole objects only"):
        Prompts(Hidden(data), SamTraining(), 1)[0, 0]  # type: ignore[arg-type]


def test_a_segmenter_goes_on_from_shipped_weights(ellipses: Any, start: Start, tmp_path: Any) -> None:
    shipped = SHIPPED / "sam-nano" / "synthetic" / "model.safetensors"
    still: dict[str, Any] = {
        "lr": 1e-12,
        "final_lr": 0,
        "weight_decay": 0,
        "epochs": 1,
        "batch_size": 4,
        "val_limit": 0,
    }
    config = SamTraining.model_validate({**still, "start": "sam-nano", "modal": True})
    assert config.start == shipped
    starts = Sam(SamParams()).starts(config, tmp_path)
    run = replace(start(config), starts=starts)
    sam_train.train(ellipses(4), ellipses(4), run)
    before, after = (weights.read(path) for path in (shipped, run.out / "model.safetensors"))
    assert all(torch.allclose(before[name].float(), after[name].float(), atol=1e-6) for name in before)
    with pytest.raises(Refused, match=r"train.start .*nowhere.pth: no such file"):
        Sam(SamParams()).starts(SamTraining(start=tmp_path / "nowhere.pth"), tmp_path)
    assert not {"modal", "start"} & set(resolved(SamTraining()))
