"""sam: SAM pointed at the visible mask, the modal baseline. Importing this needs no torch; `load` does."""

from collections.abc import Mapping
from pathlib import Path

from amodal_bench.errors import Refused
from amodal_bench.methods._segment.baseline import Prompted
from amodal_bench.plugin import AnyDataset, MethodCard, TrainingRun

from .params import SamParams
from .training import SamTraining

__all__ = ["Sam", "SamParams", "SamTraining"]


class Sam(Prompted):
    """Predict what SAM finds at points of the visible mask."""

    card = MethodCard(
        title="SAM (points on the visible mask)",
        paper="Segment Anything (ICCV 2023); a baseline of the tuning-free paper's Table 1",
        licence="Apache-2.0 (weights too)",
        needs=("torch", "torchvision", "segment_anything", "safetensors"),
        extra="inpaint",
        weights="a SAM checkpoint: docs/sam.md",
        batch_size=8,
    )
    Params = SamParams
    Training = SamTraining

    def starts(self, training: SamTraining, weights: Path) -> Mapping[str, Path]:  # noqa: ARG002
        """The weights that the training goes on from."""
        if training.start is None:
            return {}
        if not training.start.is_file():
            raise Refused(f"train.start {training.start}: no such file (weights of a nano segmenter)")
        return {"weights": training.start}

    def train(self, train: AnyDataset, val: AnyDataset, run: TrainingRun) -> None:
        """Train the tiny segmenter on whole objects; raises `Refused` for a `segmenter.type` of another size."""
        from .train import train as start

        if self.params.segmenter.type != "nano":
            raise Refused(
                f"segmenter.type {self.params.segmenter.type} is Meta's, not trained here: amodal-bench train "
                "--method sam-nano"
            )
        start(train, val, run)
