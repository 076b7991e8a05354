"""A method that goes wrong in one chosen way on every seventh instance, or on all."""

import os
import resource
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from amodal_bench.plugin import Method, MethodCard, Runtime, Settings
from amodal_bench.types import AmodalQuery


class TroubleParams(Settings):
    """What goes wrong."""

    how: Literal["raise", "shape", "dtype", "list", "fewer", "all", "disk", "batch"] = "raise"


class Trouble(Method[TroubleParams]):
    """The visible mask, but for the trouble."""

    card = MethodCard(title="Trouble", licence="Apache-2.0", batch_size=4)
    Params = TroubleParams
    calls = 0

    def load(self, runtime: Runtime) -> None:
        """Cured by an environment variable, as a user mends a bug outside the spec."""
        self.cured = "TROUBLE_CURED" in os.environ

    def predict(self, queries: Sequence[AmodalQuery], seeds: Sequence[int]) -> list[Any]:
        """Visible masks, or trouble."""
        self.calls += 1
        how = self.params.how
        if how == "disk" and self.calls == 3 and not self.cured:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))  # like a full disk
        if how == "batch" and len(queries) > 1:
            raise MemoryError("the batch does not fit")
        masks: list[Any] = [self._one(query) for query in queries]
        return masks[1:] if how == "fewer" and not self.cured else masks

    def _one(self, query: AmodalQuery) -> Any:
        how = self.params.how
        bad = how == "all" or int(query.image_id) % 7 == 3
        if self.cured or not bad or how in ("disk", "batch", "fewer"):
            return query.visible.copy()
        match how:
            case "shape":
                return query.visible[:, :-1]
            case "dtype":
                return query.visible.astype(np.uint8)
            case "list":
                return query.visible.tolist()
        raise RuntimeError(f"no idea\nwhat {query.id} is")
