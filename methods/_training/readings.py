"""Losses and gradient norms that are looked at every few steps: to look is to wait for the device."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from amodal_bench.errors import TrainingStopped


class Reading(NamedTuple):
    """One step, over all processes: its number, the mean loss, the gradients' norm before it was clipped."""

    step: int
    loss: float
    norm: float

    @property
    def finite(self) -> bool:
        """Whether both are numbers."""
        return math.isfinite(self.loss) and math.isfinite(self.norm)


class Readings:
    """What was not looked at yet. The norm may be infinite in a scaled training: the scaler leaves such steps out."""

    def __init__(self, accelerator: Any) -> None:
        self._accelerator = accelerator
        self._steps: list[int] = []
        self._values: list[Tensor] = []

    def add(self, step: int, loss: Tensor, norm: Tensor) -> None:
        """The step's loss in this process and its norm, scalars on the device."""
        if self._accelerator.scaler is not None:
            norm = torch.nan_to_num(norm, posinf=0.0, nan=0.0)
        self._steps.append(step)
        self._values.append(torch.stack([loss.detach().float(), norm.detach().float()]))

    def take(self, *flags: float) -> tuple[list[Reading], list[list[float]]]:
        """All readings since the last call, and `flags` of every process: [process][flag]. A call in all at once."""
        told = torch.tensor(flags, dtype=torch.float32).to(self._accelerator.device)
        mine = torch.cat([*self._values, told])
        rows = self._accelerator.gather(mine[None]).cpu().double()
        count = 2 * len(self._steps)
        means = rows[:, :count].mean(dim=0).reshape(-1, 2).tolist()
        found = [Reading(step, loss, norm) for step, (loss, norm) in zip(self._steps, means, strict=True)]
        self._steps, self._values = [], []
        told_by_all: list[list[float]] = rows[:, count:].tolist()
        return found, told_by_all


def stopped(reading: Reading, per_epoch: int, ids: Sequence[str], folder: Path) -> TrainingStopped:
    """What ends a training whose reading is no number: its step, its batch's ids, where the last good state is."""
    return TrainingStopped(
        f"the loss became {reading.loss} (its gradient's norm {reading.norm}) at step {reading.step} of epoch "
        f"{reading.step // per_epoch + 1}, on {', '.join(ids)}. The last good checkpoint is kept in {folder}; a lower "
        "train.lr or train.max_grad_norm may help"
    )
