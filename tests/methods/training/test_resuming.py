"""Kept by time and by signal, resumed inside an epoch: the same bytes as without a stop."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from amodal_bench.errors import TrainingStopped  # noqa: E402
from amodal_bench.methods._training.progress import Pace, read  # noqa: E402
from amodal_bench.methods._training.settings import TrainerSettings  # noqa: E402
from amodal_bench.plugin import TrainingRun  # noqa: E402
from amodal_bench.running.interrupts import Interrupted, interruptible  # noqa: E402
from tests.methods.training.thumbnails import ThumbnailTrainer, train  # noqa: E402

Start = Callable[..., TrainingRun]
# Two epochs of four steps; rows of the log that no stop below falls together with.
TINY: dict[str, Any] = {
    "epochs": 2, "batch_size": 2, "lr": 1e-3, "val_limit": 2, "log_every": 3, "schedule": "step", "ema": 0.9,
}  # fmt: skip
BETWEEN = 11  # the instance read first in the sixth step


@pytest.fixture(scope="module")
def whole(ellipses: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that nothing stopped."""
    run = TrainingRun(
        config=TrainerSettings.model_validate(TINY), out=tmp_path_factory.mktemp("whole"), seed=1, device="cpu",
        metadata={}, monitor=Quiet(),
    )  # fmt: skip
    train(ellipses(8), ellipses(8), run)
    return run.out


class Quiet:
    def step(self, done: int, total: int, text: str) -> None: ...

    def note(self, text: str) -> None: ...


def acting(ellipses: Any, **actions: Callable[[], None]) -> Any:
    """The dataset, which does something while it reads an instance: `read_11=...` at the eleventh."""

    class Acting(ellipses):
        reads = 0

        def __getitem__(self, index: int) -> Any:
            self.reads += 1
            actions.get(f"read_{self.reads}", lambda: None)()
            return super().__getitem__(index)

    return Acting(8)


def send(number: int) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


def step_kept(run: TrainingRun) -> int:
    return int(torch.load(run.out / "checkpoints" / "latest.pt", weights_only=True)["step"])


def check_same(whole: Path, run: TrainingRun) -> None:
    assert (run.out / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    logs = [
        [(row["step"], row["loss"], row["val_loss"]) for row in read(out / "train_log.csv")] for out in (whole, run.out)
    ]
    assert logs[0] == logs[1]


def test_a_kill_inside_an_epoch_costs_the_steps_since_the_last_checkpoint(
    ellipses: Any, interrupted: Any, start: Start, whole: Path
) -> None:
    run = start(TrainerSettings.model_validate({**TINY, "save_minutes": 1e-9}))
    with pytest.raises(interrupted):
        train(ellipses(8, calls=BETWEEN), ellipses(8), run)
    assert step_kept(run) == 5
    train(ellipses(8), ellipses(8), run)
    check_same(whole, run)
    assert "goes on after step 5 of 8 (epoch 2)" in run.monitor.lines  # type: ignore[attr-defined]


@pytest.fixture
def heeded() -> Iterator[None]:
    """SIGINT is not ignored here, as it is in a shell's background job."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeded")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_notice_to_end_keeps_the_step_at_hand(name: str, ellipses: Any, start: Start, whole: Path) -> None:
    run, number = start(TrainerSettings.model_validate(TINY)), getattr(signal, name)
    with pytest.raises(Interrupted) as caught, interruptible():
        train(acting(ellipses, read_11=send(number)), ellipses(8), run)
    assert caught.value.code == 128 + number
    assert step_kept(run) == 6
    train(ellipses(8), ellipses(8), run)
    check_same(whole, run)


def test_a_signal_to_keep_keeps_and_goes_on(ellipses: Any, interrupted: Any, start: Start, whole: Path) -> None:
    def die() -> None:
        raise interrupted

    run = start(TrainerSettings.model_validate(TINY))
    with pytest.raises(interrupted):
        train(acting(ellipses, read_11=send(signal.SIGUSR1), read_15=die), ellipses(8), run)
    assert step_kept(run) == 6
    train(ellipses(8), ellipses(8), run)
    check_same(whole, run)


def test_killed_while_it_is_watched_an_epoch_is_watched_again(
    ellipses: Any, interrupted: Any, start: Start, whole: Path
) -> None:
    run = start(TrainerSettings.model_validate(TINY))
    with pytest.raises(interrupted):
        train(ellipses(8), ellipses(8, calls=1), run)
    assert step_kept(run) == 4
    train(ellipses(8), ellipses(8), run)
    check_same(whole, run)


def test_workers_read_the_same_across_the_ends_of_epochs(ellipses: Any, start: Start, whole: Path) -> None:
    run = start(TrainerSettings.model_validate({**TINY, "workers": 1}))
    train(ellipses(8), ellipses(8), run)
    check_same(whole, run)


def test_losses_that_are_read_late_are_the_same_losses(ellipses: Any, start: Start, whole: Path) -> None:
    run = start(TrainerSettings.model_validate({**TINY, "read_every": 1}))
    train(ellipses(8), ellipses(8), run)
    check_same(whole, run)


def test_a_loss_that_is_no_number_is_named_by_its_own_step_and_never_kept(
    ellipses: Any, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read three steps late, when the weights are no numbers any more."""
    real = ThumbnailTrainer.loss

    def poisoned(self: ThumbnailTrainer, batch: list[Any]) -> Any:
        loss = real(self, batch)
        return loss * float("nan") if self.step == 5 else loss

    monkeypatch.setattr(ThumbnailTrainer, "loss", poisoned)
    run = start(TrainerSettings.model_validate({**TINY, "read_every": 4, "log_every": 8}))
    with pytest.raises(TrainingStopped, match=r"became nan .*step 5 of epoch 2, on ellipses/train/\d/0, ellipses"):
        train(ellipses(8), ellipses(8), run)
    state = torch.load(run.out / "checkpoints" / "latest.pt", weights_only=True)
    assert state["step"] == 4
    assert all(bool(value.isfinite().all()) for value in state["network"].values())
    assert not (run.out / "model.safetensors").exists()


def test_a_gradient_that_is_no_number_stops_too(ellipses: Any, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    real = ThumbnailTrainer.loss

    def steep(self: ThumbnailTrainer, batch: list[Any]) -> Any:
        loss = real(self, batch)
        loss.register_hook(lambda gradient: gradient * float("inf"))
        return loss

    monkeypatch.setattr(ThumbnailTrainer, "loss", steep)
    run = start(TrainerSettings.model_validate(TINY))
    with pytest.raises(TrainingStopped, match=r"gradient's norm (inf|nan).* at step 0 of epoch 1"):
        train(ellipses(8), ellipses(8), run)
    assert not (run.out / "checkpoints").exists()


def test_the_first_step_does_not_count_for_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 103.0, 110.0, 150.0, 154.0])
    monkeypatch.setattr("amodal_bench.methods._training.progress.time.monotonic", lambda: next(clock))
    pace = Pace(40, 50)
    assert str(pace) == "time left not known yet"
    pace.stepped(41)  # the data was prepared: at 100
    assert str(pace) == "time left not known yet"
    pace.stepped(42)
    assert str(pace) == "3000 ms a step, 0:00:24 left"
    with pace.standing():  # from 110 to 150 somebody watched
        pass
    pace.stepped(43)
    assert str(pace) == "7000 ms a step, 0:00:49 left"
