"""Grow the visible mask by a number of pixels drawn from the seed: a stand-in for a method with chance in it."""

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from amodal_bench.plugin import Method, MethodCard, Settings
from amodal_bench.types import AmodalQuery, Mask


class DilateParams(Settings):
    """The most pixels that a mask grows."""

    most: int = Field(default=3, ge=1)


class Dilate(Method[DilateParams]):
    """1 to `most` steps, each into the four neighbours."""

    card = MethodCard(title="Visible mask, grown by chance", licence="Apache-2.0", batch_size=4)
    Params = DilateParams

    def predict(self, queries: Sequence[AmodalQuery], seeds: Sequence[int]) -> list[Mask]:
        """One draw a query, from its own seed."""
        return [self._grown(query.visible, seed) for query, seed in zip(queries, seeds, strict=True)]

    def _grown(self, mask: Mask, seed: int) -> Mask:
        for _ in range(np.random.default_rng(seed).integers(1, self.params.most + 1)):
            wide = np.pad(mask, 1)
            mask = wide[1:-1, 1:-1] | wide[:-2, 1:-1] | wide[2:, 1:-1] | wide[1:-1, :-2] | wide[1:-1, 2:]
        return mask
