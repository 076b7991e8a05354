"""Checkpoints of a training: the whole state after the last epoch, and numbered weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from amodal_bench.errors import Refused

from . import weights

_KEPT = 10


class Checkpoints:
    """`latest.pt` (network, average, optimiser, step) after every epoch, `epoch-NNNN.safetensors` every few."""

    def __init__(self, folder: Path, every: int) -> None:
        self.folder = folder
        self._every = every
        self._latest = folder / "latest.pt"

    def write(self, epoch: int, state: dict[str, Any], network: nn.Module, metadata: Mapping[str, str]) -> None:
        """Keep the state after `epoch` whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self._latest.with_suffix(".part")
        torch.save(state, part)
        part.replace(self._latest)
        if epoch % self._every == 0:
            weights.save(network, self.folder / f"epoch-{epoch:04d}.safetensors", metadata, half=False)
            for old in sorted(self.folder.glob("epoch-*.safetensors"))[:-_KEPT]:
                old.unlink()

    def read(self) -> dict[str, Any] | None:
        """The state after the last whole epoch, None at the beginning."""
        if not self._latest.is_file():
            return None
        state = weights.read(self._latest)
        if not isinstance(state, dict):
            raise Refused(f"{self._latest} holds no state of a training: delete it, or --fresh starts over")
        return state
