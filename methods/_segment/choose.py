"""Which of SAM's masks is taken. No torch here."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from amodal_bench.types import Mask

Logits = NDArray[np.float32]  # (H, W), above 0 is object
Multimask = Literal["single", "best_iou", "max_area", "cover_v"]


def choose(logits: NDArray[np.float32], quality: NDArray[np.float32], visible: Mask, how: Multimask) -> int:
    """The index of the mask to take among `logits` (K, H, W) with predicted IoUs `quality` (K,); the first of equals.

    `cover_v`: the one that covers most of the visible mask, and of those that cover as much the smallest.
    """
    if how == "single":
        return 0
    if how == "best_iou":
        return int(quality.argmax())
    masks = logits > 0
    area = masks.sum(axis=(1, 2))
    if how == "max_area":
        return int(area.argmax())
    return int(np.lexsort((area, -masks[:, visible].sum(axis=1)))[0])
