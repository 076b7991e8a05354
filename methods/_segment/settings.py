"""The settings of a promptable segmenter. No torch here."""

from typing import ClassVar, Literal

from pydantic import Field

from amodal_bench.plugin import Settings


class Segmenter(Settings):
    """A model of the SAM family and how it is asked.

    `checkpoint` is a file below the tree of weights (`sam`) or a folder or hub id (`sam2`); `type` the size that the
    file must have. Prompts are `points` pixels of the visible mask: drawn without replacement (`random`), or every
    n-th in raster order (`grid`). `multimask` says which of SAM's outputs is taken: the one for unambiguous prompts
    (`single`), or of its three the one with the best predicted IoU, the largest, or the one that covers most of the
    visible mask and is smallest among equals (`cover_v`). `dtype` is what the image encoder, nearly all of the work,
    computes in: `float32`; `tf32`, on a GPU, its products rounded to 10 bits; `float16` or `bfloat16` by autocast. The
    decoder's is float32. `compile` (torch.compile, of the encoder, when it is loaded) is for GPUs.
    """

    added_names: ClassVar = ("dtype", "compile")

    backend: Literal["sam", "sam2"] = "sam"
    type: Literal["vit_b", "vit_l", "vit_h", "nano"] = "vit_h"
    checkpoint: str = "sam_vit_h_4b8939.pth"
    revision: str | None = None
    points: int = Field(default=9, ge=1)
    draw: Literal["random", "grid"] = "random"
    multimask: Literal["single", "best_iou", "max_area", "cover_v"] = "single"
    dtype: Literal["float32", "tf32", "float16", "bfloat16"] = "float32"
    compile: bool = False
