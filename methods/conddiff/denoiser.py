"""The denoising network: features of four levels and x_t become the logits of the amodal mask."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .ocr import Ocr, conv_bn_relu
from .params import Model
from .pcn import TimeMlp


class LocalEmphasis(nn.Module):
    """Two 3x3 convolutions of one level's features; the caller brings them to the first level's size."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(inputs, width, 3, padding=1, bias=False), nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.ReLU(inplace=True),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, width, H, W)."""
        return self.net(x)


class Afg(nn.Module):
    """The Adaptive Feature Gate (AFG): how much of the deep, how much of the shallow features, by channel and place."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.Conv2d(2 * width, width, kernel, padding=kernel // 2), nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 1), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, deep: Tensor, shallow: Tensor) -> Tensor:
        """G * deep + (1 - G) * shallow with G of both."""
        gate = self.gate(torch.cat([deep, shallow], dim=1))
        return gate * deep + (1 - gate) * shallow


class LinearFusion(nn.Module):
    """A 1x1 convolution of both, with batch norm and ReLU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = conv_bn_relu(2 * width, width)

    def forward(self, deep: Tensor, shallow: Tensor) -> Tensor:
        """Two (B, width, H, W) to one."""
        return self.net(torch.cat([deep, shallow], dim=1))


class TimedBlock(nn.Module):
    """A residual block whose first half is scaled and shifted by the time."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.time = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.first_norm = nn.GroupNorm(8, width)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.second_norm = nn.GroupNorm(8, width)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """x (B, width, H, W), time (B or 1, width)."""
        scale, shift = self.time(time)[..., None, None].chunk(2, dim=1)
        inner = F.silu(self.first_norm(self.first(x)) * (scale + 1) + shift)
        return x + F.silu(self.second_norm(self.second(inner)))


class MaskEncoder(nn.Module):
    """x_t at a quarter of its size."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.enter = conv_bn_relu(1, width, 7, stride=4)
        self.block = TimedBlock(width)
        self.leave = conv_bn_relu(width, width, 3)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """(B, 1, S, S) to (B, width, S/4, S/4)."""
        return self.leave(self.block(self.enter(x), time))


class PixelShuffleUp(nn.Module):
    """1x1 convolution, SiLU, pixel shuffle: twice the size. The four sub-pixels begin equal (ICNR)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, 4 * outputs, 1)
        first = torch.empty(outputs, inputs, 1, 1)
        nn.init.kaiming_uniform_(first)
        with torch.no_grad():
            self.conv.weight.copy_(first.repeat_interleave(4, dim=0))
            self.conv.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, 2 H, 2 W)."""
        return F.pixel_shuffle(F.silu(self.conv(x)), 2)


class Denoiser(nn.Module):
    """OCR on the deepest level, fusion from deep to shallow (Eq. 8-9, AFG last), x_t, full size."""

    def __init__(self, dims: list[int], params: Model, dropout: float = 0.0) -> None:
        super().__init__()
        width = params.width
        self.ocr = Ocr(dims[-1], params) if params.ocr else None
        self.emphasis = nn.ModuleList(LocalEmphasis(dim, width) for dim in dims)
        self.fuse = nn.ModuleList(LinearFusion(width) for _ in range(2))
        self.last_fuse = Afg(width, params.afg_kernel) if params.fusion == "afg" else LinearFusion(width)
        self.time = TimeMlp(width)
        self.mask_encoder = MaskEncoder(width)
        self.join = conv_bn_relu(2 * width, width)
        self.up = nn.Sequential(
            PixelShuffleUp(width, width // 4), conv_bn_relu(width // 4, width // 4, 3),
            PixelShuffleUp(width // 4, width // 8), conv_bn_relu(width // 8, width // 8, 3),
        )  # fmt: skip
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Conv2d(width // 8, 1, 1))

    def forward(self, features: list[Tensor], x: Tensor, snr: Tensor) -> Tensor:
        """Logits (B, 1, S, S) of four levels of features, x_t (B, 1, S, S) and log-SNRs (B,) or (1,)."""
        joined = torch.cat([self.fused(features), self.mask_encoder(x, self.time(snr))], dim=1)
        return self.head(self.up(self.join(joined)))

    def fused(self, features: list[Tensor]) -> Tensor:
        """The four levels in one (B, width, S/4, S/4)."""
        if self.ocr is not None:
            features = [*features[:-1], self.ocr(features[-1])]
        size = features[0].shape[2:]
        levels = [
            F.interpolate(emphasis(level), size, mode="bilinear", align_corners=False)
            for emphasis, level in zip(self.emphasis, features, strict=True)
        ]
        deep = levels[3]
        for fuse, level in zip(self.fuse, (levels[2], levels[1]), strict=True):
            deep = fuse(deep, level)
        return self.last_fuse(deep, levels[0])
