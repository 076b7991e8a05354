"""Occlusion-aware context refinement of the deepest features.

The paper names its parts (dilated branches, pooling, channel and pyramid attention) and not their sizes; those
here are our choice. On the 8x8 map of a 256-pixel input a 3x3 convolution of dilation 12 sees its centre alone.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .params import Model


def conv_bn_relu(inputs: int, outputs: int, kernel: int = 1, dilation: int = 1, stride: int = 1) -> nn.Sequential:
    """Convolution without bias that keeps the size (over `stride`), batch norm, ReLU."""
    padding = dilation * (kernel // 2)
    conv = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=padding, dilation=dilation, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class ChannelAttention(nn.Module):
    """Squeeze and excitation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        middle = max(8, channels // 16)
        self.gate = nn.Sequential(
            nn.Conv2d(channels, middle, 1), nn.ReLU(inplace=True), nn.Conv2d(middle, channels, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """x with each channel scaled by a gate in (0, 1)."""
        return x * self.gate(F.adaptive_avg_pool2d(x, 1))


class DilatedBranch(nn.Module):
    """Two parallel dilated convolutions, put together and gated by channel."""

    def __init__(self, inputs: int, width: int, dilations: tuple[int, int]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(conv_bn_relu(inputs, width, 3, dilation) for dilation in dilations)
        self.attention = ChannelAttention(2 * width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, 2 width, H, W)."""
        return self.attention(torch.cat([conv(x) for conv in self.convs], dim=1))


class PoolingBranch(nn.Module):
    """The mean of the frame at every place. No batch norm: one value a channel has no variance at batch 1."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.Conv2d(inputs, width, 1), nn.ReLU(inplace=True))
        self.attention = ChannelAttention(width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, width, H, W)."""
        pooled = self.project(F.adaptive_avg_pool2d(x, 1))
        return self.attention(pooled.expand(-1, -1, *x.shape[2:]))


class PyramidAttention(nn.Module):
    """A spatial gate from the channels' mean and maximum at three scales."""

    scales = (1, 2, 4)

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(2, 1, 7, padding=3) for _ in self.scales)
        self.fuse = nn.Conv2d(len(self.scales), 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """x with each place scaled by a gate in (0, 1)."""
        height, width = x.shape[2:]
        maps = []
        for scale, conv in zip(self.scales, self.convs, strict=True):
            small = F.adaptive_avg_pool2d(x, (max(1, height // scale), max(1, width // scale)))
            seen = torch.cat([small.mean(1, keepdim=True), small.amax(1, keepdim=True)], dim=1)
            maps.append(F.interpolate(conv(seen), (height, width), mode="bilinear", align_corners=False))
        return x * self.fuse(torch.cat(maps, dim=1)).sigmoid()


class Ocr(nn.Module):
    """Local, global and pooling branch, fused, gated by place, added to the input."""

    def __init__(self, channels: int, params: Model) -> None:
        super().__init__()
        width, (near, far, wide, widest) = params.ocr_width, params.ocr_dilations
        self.branches = nn.ModuleList(
            [
                DilatedBranch(channels, width, (near, far)),
                DilatedBranch(channels, width, (wide, widest)),
                PoolingBranch(channels, width),
            ]
        )
        self.fuse = conv_bn_relu(5 * width, channels)
        self.pyramid = PyramidAttention()
        self.residual = params.ocr_residual

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as x (B, channels, H, W)."""
        refined = self.pyramid(self.fuse(torch.cat([branch(x) for branch in self.branches], dim=1)))
        return x + refined if self.residual else refined
