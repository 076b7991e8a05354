"""Checkpoints of a training: the whole state after the last kept step, the one before, and numbered weights."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from amodal_bench.errors import Refused
from amodal_bench.plugin import Monitor

from . import weights

_KEPT = 10


class Checkpoints:
    """`latest.pt` and `before.pt` (network, average, optimiser, step), `epoch-NNNN.safetensors` every few epochs."""

    def __init__(self, folder: Path, every: int) -> None:
        self.folder = folder
        self._every = every
        self._latest, self._before = folder / "latest.pt", folder / "before.pt"

    def write(self, state: dict[str, Any]) -> None:
        """Keep a state whole or not at all; the last one becomes the one before."""
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self._latest.with_suffix(".part")
        with part.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        if self._latest.exists():
            self._latest.replace(self._before)
        part.replace(self._latest)

    def number(self, epoch: int, network: nn.Module, metadata: Mapping[str, str]) -> None:
        """Every few epochs, the weights after `epoch`; of these the last ten stay."""
        if epoch % self._every:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        weights.save(network, self.folder / f"epoch-{epoch:04d}.safetensors", metadata, half=False)
        for old in sorted(self.folder.glob("epoch-*.safetensors"))[:-_KEPT]:
            old.unlink()

    def read(self, monitor: Monitor | None = None) -> dict[str, Any] | None:
        """The last state, or where that is damaged the one before (which `monitor` is told); None at the beginning."""
        there = [path for path in (self._latest, self._before) if path.is_file()]
        for path in there:
            try:
                return _state(path)
            except Refused as error:
                if path == there[-1]:
                    raise
                if monitor:
                    monitor.note(f"{error}. The checkpoint before it is taken")
        return None


def _state(path: Path) -> dict[str, Any]:
    state = weights.read(path)
    if not isinstance(state, dict) or "step" not in state:
        raise Refused(f"{path} holds no state of a training: delete it, or --fresh starts over")
    return state
