"""The course of a training: accelerate under torchrun, checkpoints by time and by signal, resumed to the bit anywhere.

All chance is a function of (seed, epoch, index), (seed, step, row) or, inside the network, (seed, step, process), so
nothing but weights, optimiser and the number of steps has to be kept. Losses stay on the device for a few steps, and
are looked at before anything is kept, so that no checkpoint holds what is no number.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset

from amodal_bench.plugin import AnyDataset, TrainingRun
from amodal_bench.running.interrupts import Interrupted, Notice, noticed

from . import weights
from .average import WeightAverage
from .batches import Course, read_batches
from .chance import Chance
from .checkpoints import Checkpoints
from .progress import Log, Pace, duration, has_any
from .readings import Reading, Readings, stopped
from .schedule import lr_at, step_seed
from .settings import TrainerSettings
from .shared_norm import shared
from .tracking import hyperparameters, show


class Trainer(ABC):
    """Trains one network with AdamW; a subclass says what a batch, the loss and a score are.

    `self.model` is what the accelerator made of `self.network`; `self.step` is the number of steps done; `self.chance`
    draws for the rows of the batch at hand.
    """

    scores: ClassVar[tuple[str, ...]] = ()  # columns of the log that `validate` fills
    items: Dataset[Any]  # indexed by (epoch, index in the dataset), which fixes all chance
    chance: Chance

    def __init__(
        self, network: nn.Module, data: AnyDataset, val: AnyDataset, run: TrainingRun, accelerator: Any
    ) -> None:
        config: TrainerSettings = run.config
        if config.channels_last:
            network = network.to(memory_format=torch.channels_last)
        self.config, self.run, self.accelerator = config, run, accelerator
        self.data, self.val = data, val
        on_gpu = accelerator.device.type == "cuda"
        network = shared(network, config, accelerator.num_processes, on_gpu)
        optimizer = torch.optim.AdamW(
            self.rates(network), lr=config.lr, weight_decay=config.weight_decay, fused=on_gpu or None
        )
        self.model, self.optimizer = accelerator.prepare(network, optimizer)
        if config.trackers:
            settings = hyperparameters(run.metadata, config.model_dump(mode="json"))
            accelerator.init_trackers("amodal_bench", settings)
        self.network: nn.Module = accelerator.unwrap_model(self.model)
        if config.compile:
            self.model = torch.compile(self.model)
        self.average = WeightAverage(self.network, config.ema)
        self.rank, self.world = accelerator.process_index, accelerator.num_processes
        self.course = Course(len(data), config, run.seed, self.rank, self.world)
        self.checkpoints = Checkpoints(run.out / "checkpoints", config.keep_every)
        self.readings = Readings(accelerator)
        self.step = 0
        self.losses: list[float] = []  # since the last row of the log
        self.seconds = 0.0  # of the runs before this one
        self.started = self.kept = time.monotonic()

    @abstractmethod
    def loss(self, batch: list[Tensor]) -> Tensor:
        """The mean loss of a batch's rows, a scalar; torch has been seeded for this step and process."""

    @abstractmethod
    def validate(self, best: nn.Module) -> tuple[dict[str, float], str] | None:
        """Values for the columns `scores` and a line for the user, or None; called in every process."""

    def pictures(self, best: nn.Module) -> NDArray[np.uint8] | None:  # noqa: ARG002
        """What it predicts now (N, H, W, 3), for trackers; called in the main process."""
        return None

    def rates(self, network: nn.Module) -> list[dict[str, Any]]:
        """Groups of parameters; `share` is what of the learning rate a group has."""
        return [{"params": list(network.parameters()), "share": 1.0}]

    def begin(self) -> None:  # noqa: B027  (nothing is a fine beginning)
        """Told once, before the first step, in the main process."""

    def ship(self, best: nn.Module, metadata: dict[str, str]) -> None:
        """Write what the training was for; called in the main process."""
        weights.save(best, self.run.out / "model.safetensors", metadata, self.config.save_fp16)

    def fit(self) -> None:
        """All steps that are left, then the weights."""
        self._resume()
        path, at_end = self.run.out / "train_log.csv", self.step > 0 and self.step % self.course.per_epoch == 0
        unwatched = at_end and not has_any(path, self.step, self.scores)  # a kill may have come between
        self.pace = Pace(self.step, self.course.steps)
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            self.begin()
        log = Log(path, self.step, self.scores) if self.accelerator.is_main_process else None
        if unwatched:
            self._validate(self.step // self.course.per_epoch, log)
        feed = read_batches(self.items, self.course.keys(self.step), self.config.workers)
        for epoch in range(self.step // self.course.per_epoch, self.config.epochs):
            self._epoch(epoch, feed, log)
            self._number(epoch + 1)
            self._validate(epoch + 1, log)
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            metadata = {**self.run.metadata, "epochs": str(self.config.epochs), "steps": str(self.step)}
            self.ship(self.average.network(self.network), metadata)
        self.accelerator.wait_for_everyone()
        self.accelerator.end_training()

    @property
    def watched(self) -> str:
        """DATASET/SPLIT of what `validate` looks at."""
        return f"{self.run.metadata.get('dataset', self.val.card.title)}/{self.val.split}"

    def _epoch(self, epoch: int, feed: Iterator[list[Tensor]], log: Log | None) -> None:
        """The steps of an epoch that are left; signals are heeded between two of them."""
        self.model.train()
        end = (epoch + 1) * self.course.per_epoch
        with noticed() as notice:
            while self.step < end:
                lr = lr_at(self.config, self.step, self.course.per_epoch)
                self._learn(feed, lr)
                self.step += 1
                self.pace.stepped(self.step)
                if self.step == end or self._to_be_looked_at(notice):
                    self._look(epoch, lr, log, notice)
        if notice.stop:
            raise Interrupted(notice.stop)

    def _learn(self, feed: Iterator[list[Tensor]], lr: float) -> None:
        """One step of the optimiser on this process's share of the batch."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group["share"]
        self.optimizer.zero_grad(set_to_none=True)
        parts, losses = self.config.accumulate, []
        for part in range(parts):
            batch = [tensor.to(self.accelerator.device, non_blocking=True) for tensor in next(feed)]
            self.chance = Chance(self.run.seed, self.step, self.course.rows(part), self.accelerator.device)
            torch.manual_seed(step_seed(self.run.seed, self.step, self.rank + self.world * part))
            alone = self.accelerator.no_sync(self.model) if part + 1 < parts else nullcontext()
            with alone:
                loss = self.loss(batch) / parts
                self.accelerator.backward(loss)
            losses.append(loss.detach())
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), self.config.max_grad_norm)
        self.optimizer.step()
        self.average.update(self.network)
        self.readings.add(self.step, torch.stack(losses).sum(), norm)

    def _to_be_looked_at(self, notice: Notice) -> bool:
        """Whether losses are read now: every few steps, and alone at any time; many have to agree without a word."""
        config = self.config
        regular = self.step % config.read_every == 0 or self.step % config.log_every == 0
        return regular or (self.world == 1 and (notice.keep or bool(notice.stop) or self._keeping_is_due()))

    def _look(self, epoch: int, lr: float, log: Log | None, notice: Notice) -> None:
        """Read the losses, tell them, and keep the state where it is time or a signal asks for it."""
        found, told = self.readings.take(float(notice.stop), float(notice.keep or self._keeping_is_due()))
        for reading in found:
            if not reading.finite:
                ids = [self.data.ids()[index] for index in self.course.batch(reading.step)[:16]]
                raise stopped(reading, self.course.per_epoch, ids, self.checkpoints.folder)
        self.losses += [reading.loss for reading in found]
        if self.step % self.config.log_every == 0:
            self._tell(epoch, lr, found[-1], log)
        stop = int(max(flags[0] for flags in told))
        ended = self.step % self.course.per_epoch == 0
        if stop or ended or any(flags[1] for flags in told):
            notice.keep = False
            self._keep()
        if stop:
            raise Interrupted(stop)

    def _tell(self, epoch: int, lr: float, last: Reading, log: Log | None) -> None:
        mean = sum(self.losses) / len(self.losses)
        self.losses = []
        if log is None:
            return
        seconds = round(self._seconds(), 1)
        log.add(step=self.step, epoch=epoch + 1, seconds=seconds, loss=round(mean, 5), lr=lr)
        self.accelerator.log({"loss": mean, "lr": lr, "norm": last.norm}, step=self.step)
        text = f"epoch {epoch + 1}/{self.config.epochs}, loss {mean:.4f}, {self.pace}"
        self.run.monitor.step(self.step, self.course.steps, text)

    def _validate(self, epochs: int, log: Log | None) -> None:
        """After `epochs` whole ones, if it is their turn."""
        if epochs % self.config.val_every and epochs != self.config.epochs:
            return
        with self.pace.standing():
            found = self.validate(self.average.network(self.network))
        if log is None or found is None:
            return
        values, text = found
        rounded = {name: round(value, 3) for name, value in values.items()}
        log.add(step=self.step, epoch=epochs, seconds=round(self._seconds(), 1), **rounded)
        self.accelerator.log(values, step=self.step)
        if self.config.trackers:
            show(self.accelerator, "val", self.pictures(self.average.network(self.network)), self.step)
        self.run.monitor.note(f"epoch {epochs}/{self.config.epochs}, {duration(self._seconds())}: {text}")

    def _keeping_is_due(self) -> bool:
        return time.monotonic() - self.kept >= 60 * self.config.save_minutes

    def _keep(self) -> None:
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            more = {"step": self.step, "losses": self.losses, "seconds": self._seconds()}
            self.checkpoints.write({**{name: part.state_dict() for name, part in self._parts().items()}, **more})
        self.kept = time.monotonic()

    def _parts(self) -> dict[str, Any]:
        """What a resumed training needs, by name."""
        scaler = self.accelerator.scaler
        parts = {"network": self.network, "average": self.average, "optimizer": self.optimizer}
        return {**parts, "scaler": scaler} if scaler else parts

    def _number(self, epochs: int) -> None:
        if self.accelerator.is_main_process:
            best = self.average.network(self.network)
            self.checkpoints.number(epochs, best, {**self.run.metadata, "epochs": str(epochs)})

    def _resume(self) -> None:
        state = self.checkpoints.read(self.run.monitor)
        if state is None:
            return
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self.step, self.seconds, self.losses = state["step"], state["seconds"], state["losses"]
        if self.accelerator.is_main_process:
            done = f"step {self.step} of {self.course.steps} (epoch {self.step // self.course.per_epoch + 1})"
            self.run.monitor.note(f"goes on after {done}")

    def _seconds(self) -> float:
        return self.seconds + time.monotonic() - self.started
