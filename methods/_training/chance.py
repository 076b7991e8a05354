"""Chance that depends on (seed, step, row of the whole batch) alone: a counter goes in, a number comes out.

A generator would hand its numbers out in the order of the rows that one process holds, so that the same training on
another number of processes, or on a GPU, would see other noise. Here every number is a hash (splitmix64) in whole
numbers, equal on every device; only the logarithm and cosine of `normal` may round differently.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .schedule import step_seed

_LOW = 0xFFFFFF  # 24 bits: what a float32 in [0, 1) can hold
_WEYL = 0x9E3779B97F4A7C15
_MIXED = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))


class Chance:
    """Numbers for the rows of one process's batch; each call draws anew, for all rows alike."""

    def __init__(self, seed: int, step: int, rows: Sequence[int], device: torch.device | str = "cpu") -> None:
        self._keys = [step_seed(seed, step, row) for row in rows]
        self._device = device
        self._calls = 0

    def uniform(self, *shape: int) -> Tensor:
        """Uniform in [0, 1), float32 (rows, *shape)."""
        return self._as(torch.cat(self._pair(math.prod(shape)), dim=1), shape)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal (Box and Muller), float32 (rows, *shape), at most 5.8 from 0."""
        first, second = self._pair(math.prod(shape))
        radius = first.neg_().log1p_().mul_(-2).sqrt_()
        angle = second.mul_(2 * math.pi)
        return self._as(torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1), shape)

    def _as(self, numbers: Tensor, shape: tuple[int, ...]) -> Tensor:
        return numbers[:, : math.prod(shape)].reshape(len(self._keys), *shape)

    def _pair(self, count: int) -> tuple[Tensor, Tensor]:
        """Two tensors (rows, half of `count`) of numbers uniform in [0, 1), from two parts of the same 64 bits."""
        self._calls += 1
        keys = torch.tensor([step_seed(key, self._calls, 0) for key in self._keys]).to(self._device)
        bits = torch.arange(1, 1 + -(-count // 2), device=self._device) * _signed(_WEYL) + keys[:, None]
        for shift, factor in _MIXED:
            bits ^= _shifted(bits, shift)
            bits *= _signed(factor)
        bits ^= _shifted(bits, 31)
        return _shifted(bits, 40).float().div_(1 << 24), (_shifted(bits, 16) & _LOW).float().div_(1 << 24)


def _shifted(bits: Tensor, by: int) -> Tensor:
    """To the right, with zeros coming in: int64 alone would bring in its sign."""
    return (bits >> by) & ((1 << (64 - by)) - 1)


def _signed(value: int) -> int:
    """The int64 of the same 64 bits."""
    return value - (1 << 64) if value >> 63 else value
