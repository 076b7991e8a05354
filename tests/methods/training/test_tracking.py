"""Trackers are told settings, numbers and pictures; one that is not installed is refused before anything is written."""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker, register_tracker_class  # noqa: E402
from pydantic import ValidationError  # noqa: E402

from amodal_bench.methods._training import tracking  # noqa: E402
from amodal_bench.methods._training.accelerator import accelerator_of  # noqa: E402
from amodal_bench.methods._training.settings import TrainerSettings  # noqa: E402
from amodal_bench.plugin import TrainingRun  # noqa: E402
from tests.methods.training.thumbnails import ThumbnailTrainer, network  # noqa: E402

Start = Callable[..., TrainingRun]


class Notebook(GeneralTracker):
    """Keeps what it is told."""

    name = "notebook"
    requires_logging_directory = False
    told: ClassVar[list[tuple[str, Any]]] = []

    def __init__(self, run_name: str, **_: Any) -> None:
        super().__init__()

    @property
    def tracker(self) -> None:
        return None

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self.told.append(("settings", values))

    def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:
        self.told.append(("numbers", {**values, "step": step}))

    def log_images(self, values: dict[str, Any], step: int | None = None, **more: Any) -> None:
        self.told.append(("pictures", {**values, "step": step, **more}))


def test_settings_numbers_and_pictures_are_told(ellipses: Any, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LOGGER_TYPE_TO_CLASS, "notebook", Notebook)
    monkeypatch.setattr(Notebook, "told", [])
    picture = np.zeros((1, 2, 2, 3), dtype=np.uint8)
    monkeypatch.setattr(ThumbnailTrainer, "pictures", lambda *_: picture)
    run = start(TrainerSettings(epochs=1, batch_size=4, log_every=1, trackers=("notebook",)))
    ThumbnailTrainer(network(), ellipses(8), ellipses(2), run, accelerator_of(run)).fit()
    kinds = [kind for kind, _ in Notebook.told]
    assert kinds == ["settings", "numbers", "numbers", "numbers", "pictures"]
    settings = Notebook.told[0][1]
    assert settings["train.batch_size"] == 4
    assert all(isinstance(value, (int, float, str, bool)) for value in settings.values())
    assert {"loss", "lr", "norm", "step"} == Notebook.told[1][1].keys()
    assert Notebook.told[1][1]["norm"] > 0
    assert Notebook.told[3][1].keys() == {"val_loss", "step"}
    assert Notebook.told[4][1]["val"] is picture


def test_a_tracker_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    with pytest.raises(ValidationError, match="wandb is not installed: pip install wandb, or leave it out of trackers"):
        TrainerSettings(trackers=("wandb",))
    with pytest.raises(ValidationError, match=r"unknown tracker 'tensorbord'; known: aim, .*tensorboard"):
        TrainerSettings(trackers=("tensorbord",))
    monkeypatch.setattr(tracking, "find_spec", lambda name: name == "tensorboardX")
    assert TrainerSettings(trackers=("tensorboard",)).trackers == ("tensorboard",)


def test_a_registered_tracker_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accelerate.tracking.LOGGER_TYPE_TO_CLASS", dict(LOGGER_TYPE_TO_CLASS))
    with pytest.raises(ValidationError, match="unknown tracker 'notebook'"):
        TrainerSettings(trackers=("notebook",))
    register_tracker_class(Notebook)
    assert TrainerSettings(trackers=("notebook",)).trackers == ("notebook",)


def test_the_gpu_that_was_named_is_the_one_that_is_taken(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    run = start(TrainerSettings(batch_size=4))
    object.__setattr__(run, "device", "cuda:1")
    assert str(accelerator_of(run).device) == "cuda:1"
    object.__setattr__(run, "device", "cpu")
    assert str(accelerator_of(run).device) == "cpu", "an earlier training of this process decides nothing"
