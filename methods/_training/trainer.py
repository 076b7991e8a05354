"""The course of a training: accelerate under torchrun, epoch checkpoints, resumed to the bit at epoch ends.

All chance is a function of (seed, epoch, index) or (seed, step, process), so nothing but weights, optimiser and
the number of steps has to be kept.
"""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn

from amodal_bench.errors import Refused, TrainingStopped
from amodal_bench.plugin import AnyDataset, TrainingRun

from . import weights
from .average import WeightAverage
from .batches import epoch_batches
from .checkpoints import Checkpoints
from .progress import Log, duration
from .schedule import lr_at, step_seed
from .settings import TrainerSettings


def accelerator_of(run: TrainingRun) -> Any:
    """The accelerator of a training; raises `Refused` where its batch can not be shared by the processes."""
    config: TrainerSettings = run.config
    accelerator = Accelerator(
        cpu=run.device == "cpu",
        mixed_precision=config.precision,
        log_with=list(config.trackers) or None,
        project_dir=run.out,
    )
    if config.batch_size % accelerator.num_processes:
        raise Refused(
            f"train.batch_size {config.batch_size} can not be shared by {accelerator.num_processes} processes"
        )
    return accelerator


class Trainer(ABC):
    """Trains one network with AdamW; a subclass says what a batch, the loss and a score are.

    `self.model` is what the accelerator made of `self.network`; `self.step` is the number of steps done.
    """

    scores: ClassVar[tuple[str, ...]] = ()  # columns of the log that `validate` fills

    def __init__(
        self, network: nn.Module, data: AnyDataset, val: AnyDataset, run: TrainingRun, accelerator: Any
    ) -> None:
        config: TrainerSettings = run.config
        if config.channels_last:
            network = network.to(memory_format=torch.channels_last)
        optimizer = torch.optim.AdamW(network.parameters(), lr=config.lr, weight_decay=config.weight_decay)
        self.model, self.optimizer = accelerator.prepare(network, optimizer)
        if config.trackers:
            accelerator.init_trackers("amodal_bench", {"config": run.metadata["config"]})
        self.config, self.run, self.accelerator = config, run, accelerator
        self.data, self.val = data, val
        self.network: nn.Module = accelerator.unwrap_model(self.model)
        self.average = WeightAverage(self.network, config.ema)
        self.rank, self.world = accelerator.process_index, accelerator.num_processes
        self.checkpoints = Checkpoints(run.out / "checkpoints", config.keep_every)
        self.step = self.resumed = 0
        self.seconds = 0.0  # of the runs before this one
        self.started = time.monotonic()
        self.per_epoch = len(self._order(0))

    @abstractmethod
    def batches(self, order: NDArray[Any], epoch: int) -> Iterator[list[Tensor]]:
        """This process's share of each batch of `order` (batches, batch)."""

    @abstractmethod
    def loss(self, batch: list[Tensor]) -> Tensor:
        """The loss of a batch, a scalar; torch has been seeded for this step and process."""

    @abstractmethod
    def validate(self, best: nn.Module) -> tuple[dict[str, float], str] | None:
        """Values for the columns `scores` and a line for the user, or None; called in every process."""

    def begin(self) -> None:  # noqa: B027  (nothing is a fine beginning)
        """Told once, before the first step, in the main process."""

    def ship(self, best: nn.Module, metadata: dict[str, str]) -> None:
        """Write what the training was for; called in the main process."""
        weights.save(best, self.run.out / "model.safetensors", metadata, self.config.save_fp16)

    def fit(self) -> None:
        """All epochs that are left, then the weights."""
        self._resume()
        if self.accelerator.is_main_process:
            self.begin()
        log = Log(self.run.out / "train_log.csv", self.step, self.scores) if self.accelerator.is_main_process else None
        for epoch in range(self.step // self.per_epoch, self.config.epochs):
            self._epoch(epoch, log)
            self._keep(epoch)
            if (epoch + 1) % self.config.val_every == 0 or epoch + 1 == self.config.epochs:
                self._validate(epoch, log)
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

    def _order(self, epoch: int) -> Any:
        config = self.config
        return epoch_batches(len(self.data), config.batch_size, config.epoch_size, self.run.seed, epoch)

    def _epoch(self, epoch: int, log: Log | None) -> None:
        self.model.train()
        order = self._order(epoch)
        losses: list[float] = []
        for indices, batch in zip(order, self.batches(order, epoch), strict=True):
            lr = lr_at(self.config, self.step, self.per_epoch)
            loss = self._learn(batch, lr)
            if not math.isfinite(loss):
                ids = [self.data.ids()[i] for i in indices[:16]]
                raise TrainingStopped(
                    f"the loss became {loss} at step {self.step} of epoch {epoch + 1}, on {', '.join(ids)}. The last "
                    f"good checkpoint is kept in {self.checkpoints.folder}; a lower train.lr or train.max_grad_norm "
                    "may help"
                )
            losses.append(loss)
            self.step += 1
            if log and self.step % self.config.log_every == 0:
                mean = sum(losses) / len(losses)
                losses.clear()
                seconds = round(self._seconds(), 1)
                log.add(step=self.step, epoch=epoch + 1, seconds=seconds, loss=round(mean, 5), lr=lr)
                self.accelerator.log({"loss": mean, "lr": lr}, step=self.step)
                self._tell(epoch, mean)

    def _learn(self, batch: list[Tensor], lr: float) -> float:
        """One step of the optimiser; the loss, averaged over all processes."""
        device = self.accelerator.device
        torch.manual_seed(step_seed(self.run.seed, self.step, self.rank))
        loss = self.loss([part.to(device, non_blocking=True) for part in batch])
        mean = float(self.accelerator.gather(loss.detach()[None]).mean())
        if not math.isfinite(mean):
            return mean
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.zero_grad(set_to_none=True)
        self.accelerator.backward(loss)
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), self.config.max_grad_norm)
        if self.accelerator.scaler is None and not math.isfinite(float(norm)):
            return math.nan  # before it reaches the weights; with a scaler such steps are left out
        self.optimizer.step()
        self.average.update(self.network)
        return mean

    def _validate(self, epoch: int, log: Log | None) -> None:
        found = self.validate(self.average.network(self.network))
        if log is None or found is None:
            return
        values, text = found
        rounded = {name: round(value, 3) for name, value in values.items()}
        log.add(step=self.step, epoch=epoch + 1, seconds=round(self._seconds(), 1), **rounded)
        self.accelerator.log(values, step=self.step)
        self.run.monitor.note(f"epoch {epoch + 1}/{self.config.epochs}, {duration(self._seconds())}: {text}")

    def _keep(self, epoch: int) -> None:
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            state = {
                "network": self.network.state_dict(),
                "average": self.average.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.accelerator.scaler.state_dict() if self.accelerator.scaler else {},
                "step": self.step,
                "seconds": self._seconds(),
            }
            best = self.average.network(self.network)
            self.checkpoints.write(epoch + 1, state, best, {**self.run.metadata, "epochs": str(epoch + 1)})

    def _resume(self) -> None:
        state = self.checkpoints.read()
        if state is None:
            return
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.accelerator.scaler and state["scaler"]:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.step, self.seconds = state["step"], state["seconds"]
        self.resumed = self.step
        if self.accelerator.is_main_process:
            self.run.monitor.note(f"goes on after epoch {self.step // self.per_epoch} of {self.config.epochs}")

    def _seconds(self) -> float:
        return self.seconds + time.monotonic() - self.started

    def _tell(self, epoch: int, loss: float) -> None:
        total = self.config.epochs * self.per_epoch
        pace = (time.monotonic() - self.started) / max(1, self.step - self.resumed)
        left = duration(pace * (total - self.step))
        text = f"epoch {epoch + 1}/{self.config.epochs}, loss {loss:.4f}, {pace * 1000:.0f} ms a step, {left} left"
        self.run.monitor.step(self.step, total, text)
