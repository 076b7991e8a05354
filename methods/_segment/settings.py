"""The settings of a promptable segmenter. No torch here."""

from typing import Literal

from pydantic import Field

from amodal_bench.plugin import Settings


class Segmenter(Settings):
    """A model of the SAM family and how it is asked.

    `checkpoint` is a file below the tree of weights (`sam`) or a folder or hub id (`sam2`); `type` the size that the
    file must have. Prompts are `points` pixels of the visible mask: drawn without replacement (`random`), or every
    n-th in raster order (`grid`). `multimask` says which of SAM's outputs is taken: the one for unambiguous prompts
    (`single`), or of its three the one with the best predicted IoU, the largest, or the one that covers most of the
    visible mask and is smallest among equals (`cover_v`).
    """

    backend: Literal["sam", "sam2"] = "sam"
    type: Literal["vit_b", "vit_l", "vit_h", "nano"] = "vit_h"
    checkpoint: str = "sam_vit_h_4b8939.pth"
    revision: str | None = None
    points: int = Field(default=9, ge=1)
    draw: Literal["random", "grid"] = "random"
    multimask: Literal["single", "best_iou", "max_area", "cover_v"] = "single"
