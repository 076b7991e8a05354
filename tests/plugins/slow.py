"""Random masks, a pause of SLOW_LOAD (environment) at first and of SLOW_SECONDS a batch: a run that can be cut off.

With SLOW_UNTIL, nothing is predicted before that file is there: a run that lasts as long as it must.
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from amodal_bench.plugin import Method, MethodCard, Runtime, Settings
from amodal_bench.types import AmodalQuery, Mask


class Slow(Method[Settings]):
    """Each pixel outside the visible mask is set with probability one half, from the query's own seed."""

    card = MethodCard(title="Slow", licence="Apache-2.0")

    def load(self, runtime: Runtime) -> None:
        """A pause."""
        time.sleep(float(os.environ.get("SLOW_LOAD", "0")))

    def predict(self, queries: Sequence[AmodalQuery], seeds: Sequence[int]) -> list[Mask]:
        """Noise around the visible masks."""
        time.sleep(float(os.environ.get("SLOW_SECONDS", "0")))
        while not Path(os.environ.get("SLOW_UNTIL", __file__)).exists():
            time.sleep(0.01)
        return [
            query.visible | (np.random.default_rng(seed).random(query.visible.shape) < 0.5)
            for query, seed in zip(queries, seeds, strict=True)
        ]
