"""What every process of a verification is told."""

from pathlib import Path
from typing import Any

from amodal_bench.plugin import Settings
from amodal_bench.resolve.predicted_visible import TRUTH
from amodal_bench.results.verification.means import Means


class PieceOrders(Settings):
    """The run, its record, and what may be used of this machine."""

    run: Path
    record: dict[str, Any]
    means: Means

    @property
    def sixteen(self) -> bool:
        """Whether the method was given other visible masks than the ground truth's: rows then have sixteen counts."""
        return bool(self.record["spec"]["visible"] != TRUTH)
