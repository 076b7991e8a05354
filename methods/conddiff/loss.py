"""The boundary-weighted loss (Eq. 10)."""

import torch.nn.functional as F
from torch import Tensor

from .params import Loss


def boundary_weight(target: Tensor, kernel: int, boundary: float) -> Tensor:
    """1 + boundary * |mean of the target around a pixel - target|; outside the frame counts as background."""
    around = F.avg_pool2d(target, kernel, stride=1, padding=kernel // 2)
    return 1 + boundary * (around - target).abs()


def structure_loss(logits: Tensor, target: Tensor, visible: Tensor, params: Loss) -> Tensor:
    """Eq. 10: weighted cross-entropy + weighted IoU of logits and target in {0, 1}, (B, 1, S, S); the batch's mean."""
    weight = boundary_weight(target, params.kernel, params.boundary) * (1 - (1 - params.visible) * visible)
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    axes = (1, 2, 3)
    cross = entropy.mean() if params.legacy_bce else (weight * entropy).sum(axes) / weight.sum(axes)
    probability = logits.sigmoid()
    common = (weight * probability * target).sum(axes)
    either = (weight * (probability + target)).sum(axes) - common
    return (cross + 1 - (common + 1) / (either + 1)).mean()
