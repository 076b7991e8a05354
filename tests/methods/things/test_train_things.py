"""The things network learns from what is seen of all things of an image, and from nothing else."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from amodal_bench.methods._things.load import load  # noqa: E402
from amodal_bench.methods._things.settings import ThingsSettings  # noqa: E402
from amodal_bench.methods._training.progress import read  # noqa: E402
from amodal_bench.methods.hull_things import ThingsTraining  # noqa: E402
from amodal_bench.methods.hull_things.train import Squares, dice, train  # noqa: E402
from amodal_bench.plugin import TrainingRun  # noqa: E402

Start = Callable[..., TrainingRun]
SMALL = ThingsSettings(resolution=32)
TINY: dict[str, Any] = {
    "epochs": 2, "batch_size": 6, "lr": 2e-3, "val_limit": 3, "log_every": 1, "schedule": "step", "ema": 0.9,
}  # fmt: skip


def items(dataset: Any) -> list[Any]:
    squares = Squares(dataset, SMALL, ThingsTraining(), seed=3)
    return [squares[epoch, index] for epoch in range(2) for index in range(len(dataset))]


def test_no_amodal_mask_is_read(discs: Any) -> None:
    for honest, garbage in zip(items(discs(6)), items(discs(6, garbage=True)), strict=True):
        assert [part.numpy().tobytes() for part in honest] == [part.numpy().tobytes() for part in garbage]


def test_the_target_is_all_that_is_seen_of_the_image(discs: Any) -> None:
    dataset = discs(4)
    whole = Squares(dataset, ThingsSettings(resolution=64), ThingsTraining(enlarge=(9, 9), shift=0, colour=0), seed=3)
    for index in range(len(dataset)):
        _, _, seen = dataset.drawn(index // 3)
        target = whole[0, index][1].numpy()
        expected = np.logical_or.reduce(seen)
        assert np.array_equal(target, expected) or np.array_equal(target, expected[:, ::-1])


def test_instances_of_one_image_differ_in_their_window_only(discs: Any) -> None:
    dataset = discs(2)
    squares = Squares(dataset, SMALL, ThingsTraining(shift=0), seed=3)
    assert not torch.equal(squares[0, 0][0], squares[0, 1][0])
    assert not torch.equal(squares[0, 0][0], squares[1, 0][0])
    assert squares[0, 1][0].shape == (3, 32, 32)
    assert squares[0, 1][1].dtype == torch.bool


def test_discs_are_learned_and_found_again(discs: Any, start: Start) -> None:
    run = start(ThingsTraining.model_validate({**TINY, "epochs": 12, "warmup": 5, "val_every": 12, "enlarge": (2, 2)}))
    train(SMALL, discs(8), discs(8), run)
    assert float(read(run.out / "train_log.csv")[-1]["val_iou"]) > 75
    finder = load(SMALL, run.out / "model.safetensors", "cpu", 4)
    queries = [discs(2)[k].query for k in range(6)]
    for query, found in zip(queries, finder.things(queries), strict=True):
        assert (found | ~query.visible).all()
        assert found.shape == query.visible.shape


def test_one_epoch_and_one_more_equal_two(discs: Any, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    config = ThingsTraining.model_validate(TINY)
    whole, parts = start(config, "whole"), start(config, "parts")
    train(SMALL, discs(6), discs(6), whole)
    cut, calls = discs(6), []

    def seen(index: int) -> Any:
        calls.append(index)
        if len(calls) > 24:
            raise KeyboardInterrupt
        return type(cut).seen(cut, index)

    monkeypatch.setattr(cut, "seen", seen)
    with pytest.raises(KeyboardInterrupt):
        train(SMALL, cut, discs(6), parts)
    assert not (parts.out / "model.safetensors").exists()
    train(SMALL, discs(6), discs(6), parts)
    assert (parts.out / "model.safetensors").read_bytes() == (whole.out / "model.safetensors").read_bytes()


def test_dice_of_nothing_found_where_nothing_is_and_of_everything() -> None:
    nothing, all_of_it = torch.zeros(1, 4, 4), torch.ones(1, 4, 4)
    assert float(dice(nothing, nothing)) == 0
    assert float(dice(all_of_it, all_of_it)) == 0
    assert float(dice(all_of_it, nothing)) == pytest.approx(1 - 1 / 17)
