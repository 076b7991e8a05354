"""Chance as whole numbers: what decides a mask is drawn from raw PCG64 integers and nothing else."""

from collections.abc import Sequence
from typing import Final, TypeVar

import numpy as np

GENERATOR_VERSION: Final = 1  # weights are trained on what this draws: a change of one pixel is a new version
SPLITS: Final = ("train", "val", "test")

T = TypeVar("T")


class Dice:
    """A stream of draws named by a key of whole numbers; equal keys give equal draws on every machine.

    `numpy.random.Generator` may change how it turns bits into numbers, the raw bits of PCG64 may not.
    """

    def __init__(self, *key: int) -> None:
        self._bits = np.random.PCG64(list(key))
        self._pool: list[int] = []

    def below(self, count: int) -> int:
        """A whole number in [0, count)."""
        if not self._pool:
            self._pool = self._bits.random_raw(128).tolist()[::-1]
        return (self._pool.pop() * count) >> 64

    def between(self, low: int, high: int) -> int:
        """A whole number in [low, high], both ends included."""
        return low + self.below(high - low + 1)

    def chance(self, percent: int) -> bool:
        """True in `percent` of 100 draws."""
        return self.below(100) < percent

    def choice(self, options: Sequence[T]) -> T:
        """One of `options`."""
        return options[self.below(len(options))]

    def real(self, low: float, high: float) -> float:
        """A number in [low, high), in steps of 2**-24 of the range. For appearance only, never for a mask."""
        return low + (high - low) * self.below(1 << 24) / (1 << 24)


def scene_dice(split: str, index: int, *stream: int) -> Dice:
    """The draws of one scene; `stream` separates its geometry (0) from its looks (1, ...)."""
    return Dice(GENERATOR_VERSION, SPLITS.index(split), index, *stream)
