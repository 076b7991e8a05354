"""sam2: SAM 2 pointed at the visible mask, the modal baseline. Importing this needs no torch; `load` does."""

from typing import Literal

from amodal_bench.methods._segment.baseline import Prompted, PromptedParams
from amodal_bench.methods._segment.settings import Segmenter
from amodal_bench.plugin import MethodCard


class Sam2Choice(Segmenter):
    """As `Segmenter`; `type` says nothing about SAM 2, whose folder knows its size."""

    backend: Literal["sam2"] = "sam2"
    checkpoint: str = "facebook/sam2.1-hiera-large"


class Sam2Params(PromptedParams):
    """All that can change a prediction."""

    segmenter: Sam2Choice = Sam2Choice()


class Sam2(Prompted):
    """Predict what SAM 2, asked for a single image, finds at points of the visible mask."""

    card = MethodCard(
        title="SAM 2 (points on the visible mask)",
        paper="SAM 2: Segment Anything in Images and Videos (2024); a baseline of the tuning-free paper's Table 1",
        licence="Apache-2.0 (weights too)",
        needs=("torch", "torchvision", "transformers"),
        extra="inpaint",
        weights="a SAM 2 folder: docs/sam.md",
        batch_size=8,
    )
    Params = Sam2Params
