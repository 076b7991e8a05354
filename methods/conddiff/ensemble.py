"""The Visible-Guided Prediction Ensemble (VGPE): the steps' predictions are held to the visible mask and vote."""

import torch
from torch import Tensor

from .params import Vgpe


def constrained(x0: Tensor, visible: Tensor, step: int, steps: int) -> Tensor:
    """Eq. 11: from the middle step on (numbered in sampling order) visible pixels are foreground, +1."""
    return x0 * (1 - visible) + visible if 2 * step >= steps else x0


class Ensemble:
    """Eq. 12 with running sums: the steps' majority vote gates their mean prediction."""

    def __init__(self, params: Vgpe) -> None:
        self._params = params
        self._total: Tensor | None = None
        self._votes: Tensor | None = None
        self._last: Tensor | None = None
        self._count = 0

    def add(self, x0: Tensor) -> None:
        """Take a step's prediction (B, 1, S, S) in [-1, 1]."""
        votes = (x0 > 0).to(x0.dtype)
        self._total = x0 if self._total is None else self._total + x0
        self._votes = votes if self._votes is None else self._votes + votes
        self._last = x0
        self._count += 1

    def probability(self) -> Tensor:
        """(B, 1, S, S) in [0, 1]; without the ensemble, the last step's prediction."""
        if self._total is None or self._votes is None or self._last is None:
            raise ValueError("the ensemble has no prediction yet: add() one a step")
        if not self._params.ensemble:
            return (self._last + 1) / 2
        share = self._votes / self._count
        gate = share >= 0.5 if self._params.vote == "ge" else share > 0.5
        return gate * scaled(self._total / self._count, self._params.scale)


def scaled(mean: Tensor, scale: str) -> Tensor:
    """Means in [-1, 1] as [0, 1]: (mean + 1) / 2, or from each instance's least to its greatest."""
    if scale == "affine":
        return (mean + 1) / 2
    low, high = mean.amin((1, 2, 3), keepdim=True), mean.amax((1, 2, 3), keepdim=True)
    return (mean - low) / torch.clamp(high - low, min=torch.finfo(mean.dtype).tiny)
