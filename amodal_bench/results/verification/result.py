"""The outcome of a verification."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from amodal_bench.metrics.protocol import DEFAULT

Outcome = Literal["verified", "differs", "refused"]


@dataclass(frozen=True, slots=True)
class Verification:
    """What was looked at in one run, and what was found.

    `rows`: finished instances that were examined, with the dataset too unless `quick`. `differences`: a sentence for
    each thing that is not as the run's record, tables, masks or dataset say. `notes`: what a reader should know and
    what is no difference. `refusal`: why it could not all be looked at, or empty. `scores`: mIoU_full and mIoU_inv in
    percent under the default protocol, from the counts as they were made again (`quick`: as they are stored).
    """

    path: Path
    quick: bool
    rows: int
    differences: tuple[str, ...]
    notes: tuple[str, ...]
    refusal: str
    scores: tuple[float, float]

    @property
    def outcome(self) -> Outcome:
        """`differs` where anything does; else `refused` where not all could be looked at."""
        if self.differences:
            return "differs"
        return "refused" if self.refusal else "verified"

    @property
    def ok(self) -> bool:
        """Whether everything was looked at and nothing differs."""
        return self.outcome == "verified"

    def __str__(self) -> str:
        if self.outcome == "differs":
            return f"{self.path}: differs"
        if self.outcome == "refused":
            return f"{self.path}: not verified: {self.refusal}"
        full, invisible = ("-" if math.isnan(value) else f"{value:.2f}" for value in self.scores)
        scores = f"mIoU_full {full}, mIoU_inv {invisible} ({DEFAULT})"
        if self.quick:
            return f"{self.path}: whole: {self.rows} instances agree with their masks and the record, {scores}"
        return f"{self.path}: reproducible from this folder: {self.rows} instances counted again, {scores}"
