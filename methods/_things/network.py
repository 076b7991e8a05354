"""A U-Net of .6 million weights: things against background."""

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

WIDTHS = (16, 32, 64, 96, 128)  # channels at full, half, ... resolution
_GROUPS = 8


class ThingsNet(nn.Module):
    """Images (B, 3, S, S) in [-1, 1] to logits (B, S, S): above 0 is a thing. S is a multiple of 16.

    Skips are added, not concatenated: half the work at the resolutions where most of it is.
    """

    def __init__(self) -> None:
        super().__init__()
        inputs = (3, *WIDTHS[:-1])
        self.down = nn.ModuleList(
            nn.Sequential(_convolved(taken, width), _convolved(width, width))
            for taken, width in zip(inputs, WIDTHS, strict=True)
        )
        steps = list(pairwise(WIDTHS))
        self.narrow = nn.ModuleList(nn.Conv2d(deeper, width, 1) for width, deeper in steps)
        self.up = nn.ModuleList(_convolved(width, width) for width, _ in steps)
        self.out = nn.Conv2d(WIDTHS[0], 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Down, and up again."""
        skips: list[Tensor] = []
        for block in self.down:
            x = block(F.avg_pool2d(x, 2) if skips else x)
            skips.append(x)
        for narrow, up, skip in reversed(list(zip(self.narrow, self.up, skips[:-1], strict=True))):
            x = up(skip + F.interpolate(narrow(x), scale_factor=2.0))
        found: Tensor = self.out(x)[:, 0]
        return found


def _convolved(taken: int, given: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(taken, given, 3, padding=1), nn.GroupNorm(_GROUPS, given), nn.SiLU())
