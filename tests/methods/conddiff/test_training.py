"""Training: it learns, it resumes to the bit, it stops when the loss is no number."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from safetensors.torch import load_file  # noqa: E402

from amodal_bench.errors import BadRecord, Refused, TrainingStopped  # noqa: E402
from amodal_bench.masks.counts import venn  # noqa: E402
from amodal_bench.methods._training.batches import Course, epoch_batches, read_batches  # noqa: E402
from amodal_bench.methods._training.progress import read  # noqa: E402
from amodal_bench.methods._training.schedule import lr_at, step_seed  # noqa: E402
from amodal_bench.methods.conddiff import CondDiff, CondDiffParams, CondDiffTraining  # noqa: E402
from amodal_bench.methods.conddiff.batches import Triples  # noqa: E402
from amodal_bench.methods.conddiff.params import Augment  # noqa: E402
from amodal_bench.methods.conddiff.train import train  # noqa: E402
from amodal_bench.plugin import Runtime, TrainingRun  # noqa: E402
from amodal_bench.running.validate import mean_scores  # noqa: E402
from amodal_bench.types import AmodalSample  # noqa: E402

Start = Callable[..., TrainingRun]


def test_four_ellipses_are_learned_by_heart(small: CondDiffParams, ellipses: Any, start: Start) -> None:
    """The small recipe: 120 steps on four instances, then sampled with all ten steps and VGPE."""
    data = ellipses()
    run = start(
        epochs=12, lr=2e-3, final_lr=2e-3, batch_size=4, augment={"flip": 0, "colour": 0},
        epoch_size=None, keep_every=100, val_every=100, log_every=4, val_limit=4, val_steps=1,
    )  # fmt: skip
    # An epoch of four instances is one step: ten times the same four make the recipe's 120 steps in 12 epochs.
    tenfold: Any = Tenfold(data)
    train(small, tenfold, data, run)
    log = [float(row["loss"]) for row in read(run.out / "train_log.csv") if row["loss"]]
    assert run.monitor.lines[0].startswith("crop_recall 1.0000 on 4 of Ellipses")  # type: ignore[attr-defined]
    assert log[0] > 1.2
    assert log[-1] < 0.8
    method = CondDiff(small)
    method.load(Runtime(checkpoint=run.out / "model.safetensors"))
    samples = list(data)
    masks = method.predict([sample.query for sample in samples], [1, 2, 3, 4])
    counts = np.stack([venn(m, s.amodal, s.visible) for m, s in zip(masks, samples, strict=True)])
    full, inv = mean_scores(counts)
    assert full > 85
    assert inv > 75


class Tenfold:
    """A dataset ten times over."""

    def __init__(self, data: Any) -> None:
        self._data = data
        self.card, self.split = data.card, data.split

    def __len__(self) -> int:
        return 10 * len(self._data)

    def __getitem__(self, index: int) -> AmodalSample:
        return self._data[index % len(self._data)]

    def ids(self) -> list[str]:
        return list(self._data.ids()) * 10


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_an_epoch_and_one_more_equal_two(small: CondDiffParams, ellipses: Any, start: Start, ema: float) -> None:
    data = ellipses(8)
    settings = {"epochs": 2, "ema": ema, "drop_path": 0.1, "dropout": 0.1, "warmup": 1, "schedule": "step"}
    whole = start("whole", **settings)
    train(small, data, data, whole)
    parts = start("parts", **settings)
    failing: Any = Failing(data, after=12)
    with pytest.raises(Interrupted):
        train(small, failing, data, parts)
    assert not (parts.out / "model.safetensors").exists()
    train(small, data, data, parts)
    assert (parts.out / "model.safetensors").read_bytes() == (whole.out / "model.safetensors").read_bytes()
    logs = [[row["loss"] for row in read(run.out / "train_log.csv")] for run in (whole, parts)]
    assert logs[0] == logs[1]


class Interrupted(Exception):
    """What stands for a kill inside one process."""


class Failing:
    """A dataset that ends the process's work in the middle of the second epoch."""

    def __init__(self, data: Any, after: int) -> None:
        self._data, self._left = data, after
        self.card, self.split = data.card, data.split

    def __len__(self) -> int:
        return len(self._data)

    def ids(self) -> Any:
        return self._data.ids()

    def __getitem__(self, index: int) -> AmodalSample:
        self._left -= 1
        if self._left < 0:
            raise Interrupted
        return self._data[index]


def test_a_loss_that_is_no_number_stops_with_the_ids(small: CondDiffParams, ellipses: Any, start: Start) -> None:
    """A rate far too high; the checkpoint of the last whole epoch stays."""
    data = ellipses(4)
    run = start(epochs=50, lr=1e30, final_lr=1e30, max_grad_norm=1e30, keep_every=1)
    with pytest.raises(
        TrainingStopped, match=r"(?s)step \d+ of epoch \d+, on ellipses/train/\d/0, .*last good checkpoint"
    ):
        train(small, data, data, run)
    state = torch.load(run.out / "checkpoints" / "latest.pt", weights_only=True)
    assert state["step"] >= 1
    assert not (run.out / "model.safetensors").exists()


TRAIN = ["train", "--method", "conddiff", "--dataset", "squares", "--split", "test", "--val-split", "test"]
SMALL = {
    "model.backbone": "pvt_v2_b0", "model.depths": "[1,1,1,1]", "model.dims": "[16,32,40,64]", "model.size": 32,
    "model.width": 16, "model.ocr": "false", "diffusion.steps": 2, "forward_batch": 8, "train.batch_size": 8,
    "train.keep_every": 1, "train.log_every": 1, "train.val_limit": 6, "dataset.count": 24,
    "train.drop_path": 0, "train.dropout": 0, "train.save_minutes": 1e-9, "train.read_every": 1,
}  # fmt: skip


PROGRAM = Path(__file__).with_name("trainings.py")
PLUGINS = Path(__file__).parents[2] / "plugins"
WEIGHTS = Path("conddiff", "squares")  # below a folder of weights
SECOND = WEIGHTS / "checkpoints" / "epoch-0002.safetensors"


def command(out: Path) -> list[str]:
    """`amodal-bench train` of a network of a few thousand weights on the squares, for four epochs."""
    settings = [part for key, value in SMALL.items() for part in ("--set", f"{key}={value}")]
    return [
        *TRAIN, "--plugin", str(PLUGINS / "squares.py"), "--weights", str(out), "--set", "train.epochs=4", *settings,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights by one and by two processes: one/whole, two/whole; one/killed and two/killed after two epochs, resumed.

    All from one torchrun: to start its processes takes longer than what they train here.
    """
    folder = tmp_path_factory.mktemp("trained")
    trainings = [
        {"words": command(folder / count / what), "until": until and str(folder / count / what / until), "alone": alone}
        for count, alone in (("two", False), ("one", True))
        for what, until in (("killed", SECOND), ("killed", None), ("whole", None))
    ]
    file = folder / "trainings.json"
    file.write_text(json.dumps(trainings))
    launch = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(PROGRAM)]
    done = subprocess.run(
        [sys.executable, "-P", "-m", *launch, str(file)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONSAFEPATH": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def check_equal(whole: Path, killed: Path) -> None:
    """The same weights to the bit after the same steps."""
    models = [folder / WEIGHTS / "model.safetensors" for folder in (whole, killed)]
    assert models[0].read_bytes() == models[1].read_bytes()
    logs = [read(model.parent / "train_log.csv") for model in models]
    losses = [[(row["step"], row["loss"]) for row in log if row["loss"]] for log in logs]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 4 * 3
    assert logs[0][-1]["val_full"] == logs[1][-1]["val_full"] != ""


@pytest.mark.parametrize("count", ["one", "two"])
def test_killed_after_two_epochs_and_resumed_equals_four_uninterrupted(count: str, trained: Path) -> None:
    check_equal(trained / count / "whole", trained / count / "killed")


def test_two_processes_equal_one_with_the_same_batch(trained: Path) -> None:
    """Up to rounding: chance and batch norms are of the whole batch."""
    check_near(trained / "two" / "whole", trained / "one" / "whole")


def check_near(two: Path, one: Path) -> None:
    """Losses of all twelve steps to 1e-4, weights and running statistics to 3e-5 (a step goes 1e-4)."""
    folders = [folder / WEIGHTS for folder in (two, one)]
    losses = [[float(row["loss"]) for row in read(folder / "train_log.csv") if row["loss"]] for folder in folders]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    first, second = (load_file(folder / "model.safetensors") for folder in folders)
    assert max(float((first[name].float() - second[name].float()).abs().max()) for name in first) < 3e-5


def test_every_instance_comes_once_an_epoch_and_each_process_has_its_share() -> None:
    order = epoch_batches(10, 4, None, seed=0, epoch=0)
    assert order.shape == (3, 4)
    assert set(order.flatten().tolist()) == set(range(10))
    assert not np.array_equal(order, epoch_batches(10, 4, None, seed=0, epoch=1))
    assert epoch_batches(100, 4, 8, seed=0, epoch=0).shape == (2, 4)
    assert epoch_batches(3, 8, None, seed=0, epoch=0).shape == (1, 8)


def test_the_feed_depends_on_seed_epoch_and_index_alone(tiny: CondDiffParams, ellipses: Any) -> None:
    """A row of a batch is the same in whatever process, part and run it is read."""
    augment = Augment(enlarge=(1.5, 2.0), shift=0.1, vm_morph=0.5)
    triples = Triples(ellipses(6), tiny, augment, seed=3)

    def rows(rank: int, world: int, parts: int, start: int = 0) -> dict[tuple[int, int], Any]:
        """(step, row of the whole batch) -> what is read."""
        course = Course(6, CondDiffTraining(batch_size=4, epochs=2, accumulate=parts), 3, rank, world)
        assert (course.per_epoch, course.steps) == (2, 4)
        feed = read_batches(triples, list(course.keys(start)), 0)
        return {
            (step, row): values
            for step in range(start, course.steps)
            for part in range(parts)
            for row, *values in zip(course.rows(part), *next(feed), strict=True)
        }

    whole = rows(0, 1, 1)
    assert len(whole) == 4 * 4
    for others in (rows(0, 2, 1) | rows(1, 2, 1), rows(0, 1, 2), rows(0, 2, 2) | rows(1, 2, 2)):
        assert others.keys() == whole.keys()
        assert all(torch.equal(a, b) for key in whole for a, b in zip(whole[key], others[key], strict=True))
    late = rows(0, 1, 1, start=3)
    assert all(torch.equal(a, b) for key in late for a, b in zip(whole[key], late[key], strict=True))
    assert not torch.equal(triples[0, 1][0], triples[1, 1][0])


def test_a_damaged_record_is_left_out(tiny: CondDiffParams, ellipses: Any, caplog: Any) -> None:
    class Damaged(Tenfold):
        def __getitem__(self, index: int) -> AmodalSample:
            if index == 2:
                raise BadRecord("image 2 is cut off")
            return super().__getitem__(index)

    triples = Triples(Damaged(ellipses()), tiny, Augment(flip=0, colour=0), seed=0)  # type: ignore[arg-type]
    assert all(torch.equal(a, b) for a, b in zip(triples[0, 2], triples[0, 3], strict=True))
    assert "image 2 is cut off" in caplog.text


def test_the_learning_rate_falls_as_the_paper_says() -> None:
    paper = CondDiffTraining()
    assert [lr_at(paper, step, 100) for step in (0, 99, 100)] == pytest.approx([1e-4, 1e-4, 9.985e-5], rel=1e-4)
    assert lr_at(paper, 20 * 100, 100) == pytest.approx(5.05e-5)
    stepwise = CondDiffTraining(schedule="step", warmup=10, epochs=2)
    assert lr_at(stepwise, 4, 100) == pytest.approx(5e-5)
    assert lr_at(stepwise, 199, 100) == pytest.approx(1e-6, rel=0.02)


def test_step_seeds_differ_by_step_and_process() -> None:
    seeds = {step_seed(seed, step, rank) for seed in range(5) for step in range(200) for rank in range(4)}
    assert len(seeds) == 5 * 200 * 4
    assert all(0 <= seed < 1 << 63 for seed in seeds)


def test_a_batch_that_processes_cannot_share_is_refused(
    tiny: CondDiffParams, ellipses: Any, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    import accelerate

    monkeypatch.setattr(accelerate.Accelerator, "num_processes", 3)
    with pytest.raises(Refused, match=r"train\.batch_size 4 can not be shared by 3"):
        train(tiny, ellipses(), ellipses(), start())


def test_what_is_watched_is_scored_by_the_default_and_by_the_papers_protocol() -> None:
    """Two instances: 30 of 40 pixels and 6 of 60; hidden 10 of 20 and 1 of 50."""
    counts = np.zeros((2, 8), dtype=np.int64)
    predicted, amodal, visible = 1, 2, 4
    for row, (both, hidden, missed) in enumerate([(20, 10, 10), (5, 1, 54)]):
        counts[row, predicted | amodal | visible] = both
        counts[row, predicted | amodal] = hidden
        counts[row, amodal] = missed
    assert mean_scores(counts) == pytest.approx((50 * (30 / 40 + 6 / 60), 50 * (10 / 20 + 1 / 55)))
    assert mean_scores(counts, "conddiff/1") == pytest.approx((100 * 36 / 100, 100 * 11 / 75))
    assert all(np.isnan(score) for score in mean_scores(np.zeros((0, 8), dtype=np.int64), "conddiff/1"))


def test_the_backbone_may_learn_more_slowly(small: CondDiffParams, ellipses: Any, start: Start) -> None:
    """At a rate of next to nothing it stays as it began, which the rest does not."""

    def trained(out: str, **settings: Any) -> dict[str, Any]:
        run = start(out, epochs=1, weight_decay=0, **settings)
        train(small, ellipses(8), ellipses(2), run)
        return load_file(run.out / "model.safetensors")

    begun = trained("begun", lr=1e-30, final_lr=0)
    slow = trained("slow", lr=1e-3, final_lr=1e-3, backbone_lr=1e-30)
    moved = {name for name in begun if not torch.allclose(begun[name].float(), slow[name].float(), atol=1e-7)}
    assert any(name.startswith("dn.") for name in moved)
    assert {name for name in moved if name.startswith("pcn.backbone.")} == set()


def test_pictures_show_image_visible_predicted_and_true_masks(tiny: CondDiffParams, ellipses: Any) -> None:
    from amodal_bench.methods.conddiff.pictures import panels

    sample = ellipses()[0]
    shown = panels([sample], [np.zeros_like(sample.amodal)], tiny)
    assert shown.shape == (1, 64, 4 * 64, 3)
    parts = np.split(shown[0], 4, axis=1)
    assert np.array_equal(parts[0], sample.query.image)
    for part, mask in zip(parts[1:], (sample.query.visible, np.zeros_like(sample.amodal), sample.amodal), strict=True):
        assert np.array_equal(part[..., 0] > 0, mask)
