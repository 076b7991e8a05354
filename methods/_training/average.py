"""An exponential moving average of a network's weights and running statistics."""

from copy import deepcopy

import torch
from torch import Tensor, nn


class WeightAverage:
    """Follows a network; with `decay` 0 it is the network itself."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._decay = decay
        self._count = 0
        self._copy = deepcopy(network).requires_grad_(False) if decay else None

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move towards the network; faster at first, so that the start is forgotten."""
        if self._copy is None:
            return
        self._count += 1
        decay = min(self._decay, (1 + self._count) / (10 + self._count))
        averaged, new = self._copy.state_dict(), network.state_dict()
        floats = [name for name, value in new.items() if value.is_floating_point()]
        torch._foreach_lerp_([averaged[name] for name in floats], [new[name] for name in floats], 1 - decay)
        for name in new.keys() - set(floats):
            averaged[name].copy_(new[name])

    def network(self, network: nn.Module) -> nn.Module:
        """What to predict with."""
        return network if self._copy is None else self._copy

    def state_dict(self) -> dict[str, Tensor]:
        """What a resumed training needs."""
        if self._copy is None:
            return {}
        return {**self._copy.state_dict(), "count": torch.tensor(self._count)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """The inverse of `state_dict`."""
        if self._copy is None:
            return
        state = dict(state)
        self._count = int(state.pop("count"))
        self._copy.load_state_dict(state)
