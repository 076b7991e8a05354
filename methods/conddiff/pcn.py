"""The Pyramid Condition Network (PCN): a PVTv2 that also sees x_t (ZOE) and the time (a token in every stage).

The timm model is an untouched child, so its weights keep their names under `backbone.`; attention and MLP are
called part by part here because timm's own take no token beside the H * W patches.
"""

import math
from collections.abc import Callable
from typing import Any, Literal

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .params import Model

Start = Literal["identity", "random"]  # of the projection of image and visible mask
Block = Callable[..., tuple[Tensor, Tensor | None]]  # `run_block`, or what torch.compile made of it


class TimeMlp(nn.Module):
    """Sinusoid of the log-SNR, then Linear(d, 4d), SiLU, Linear(4d, d)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.net = nn.Sequential(nn.Linear(dim, 4 * dim), nn.SiLU(), nn.Linear(4 * dim, dim))

    def forward(self, snr: Tensor) -> Tensor:
        """(B,) to (B, d)."""
        return self.net(sinusoid(snr, self.dim))


def sinusoid(value: Tensor, dim: int) -> Tensor:
    """Cosines, then sines, of `value` (B,) at dim // 2 frequencies from 1 down to 1 / 10000."""
    half = dim // 2
    frequencies = torch.exp(-math.log(10_000) * torch.arange(half, device=value.device, dtype=value.dtype) / half)
    angles = value[:, None] * frequencies
    return F.pad(torch.cat([angles.cos(), angles.sin()], dim=-1), (0, dim % 2))


class Pcn(nn.Module):
    """Features of strides 4, 8, 16 and 32 of (image, visible mask, x_t, time).

    `drop_path`, `joint` (a sample's token and patches are dropped together) and `start` are training's alone.
    """

    def __init__(self, params: Model, drop_path: float = 0.0, joint: bool = False, start: Start = "identity") -> None:
        super().__init__()
        self.joint = joint
        self.channel = params.use_vm and params.vm_input == "channel"
        channels = 4 + len(params.guides) if self.channel else 3
        self.backbone = timm.create_model(
            params.backbone, in_chans=channels, num_classes=0, drop_path_rate=drop_path, **_changes(params)
        )
        dims = [info["num_chs"] for info in self.backbone.feature_info]
        self.dims: list[int] = dims
        self.input_proj = _projection(params.vm_kernel, start) if params.use_vm and not self.channel else None
        self.zoe = _zero_overlapping_embedding(dims[0]) if params.zoe else None
        self.time = nn.ModuleList(TimeMlp(dim) for dim in dims) if params.token else None

    def stem(self, image: Tensor, visible: Tensor) -> Tensor:
        """Patch projection (B, d, S/4, S/4) of what does not change from step to step: compute it once.

        `visible` (B, 1 + G, S, S) is the visible mask and its guides.
        """
        both = torch.cat([image, visible], dim=1)
        if self.channel:
            image = both
        elif self.input_proj is not None:
            image = self.input_proj(both)
        return self.backbone.patch_embed.proj(image)

    def tokens(self, snr: Tensor) -> list[Tensor | None]:
        """One token (B or 1, 1, d) a stage for log-SNRs (B,) or (1,)."""
        if self.time is None:
            return [None] * len(self.dims)
        return [net(snr)[:, None] for net in self.time]

    def forward(self, stem: Tensor, x: Tensor, tokens: list[Tensor | None], block: Block | None = None) -> list[Tensor]:
        """Features (B, d_i, S / 2^(i+2), ...) of the stem's output and x_t (B, 1, S, S)."""
        if self.zoe is not None:
            stem = stem + self.zoe(x)
        patches = self.backbone.patch_embed.norm(stem.permute(0, 2, 3, 1))
        features: list[Tensor] = []
        for stage, token in zip(self.backbone.stages, tokens, strict=True):
            if stage.downsample is not None:
                patches = stage.downsample(features[-1])
            features.append(run_stage(stage, patches, token, self.joint, block))
        return features


def run_stage(
    stage: Any, patches: Tensor, token: Tensor | None, joint: bool = False, run: Block | None = None
) -> Tensor:
    """Blocks and norm of a timm stage on patches (B, H, W, d) and a token that is dropped at its end."""
    batch, height, width, _ = patches.shape
    x = patches.reshape(batch, height * width, -1)
    token = token if token is None else token.expand(batch, -1, -1)
    for block in stage.blocks:
        x, token = (run or run_block)(block, x, token, (height, width), joint)
    x = stage.norm(x)
    return x.reshape(batch, height, width, -1).permute(0, 3, 1, 2).contiguous()


def run_block(
    block: Any, x: Tensor, token: Tensor | None, shape: tuple[int, int], joint: bool = False
) -> tuple[Tensor, Tensor | None]:
    """A transformer block on two streams: patches (B, N, d), and the token (B, 1, d) or None."""
    if token is None:
        return block(x, shape), None
    dropped, dropped_token = dropped_path(
        block.drop_path1, *attend(block.attn, block.norm1(x), block.norm1(token), shape), joint
    )
    x, token = x + dropped, token + dropped_token
    mlp = block.mlp
    # The token has no place in the frame: it skips the depthwise convolution.
    fed, fed_token = mlp(block.norm2(x), shape), mlp.fc2(mlp.act(mlp.fc1(block.norm2(token))))
    dropped, dropped_token = dropped_path(block.drop_path2, fed, fed_token, joint)
    return x + dropped, token + dropped_token


def dropped_path(drop: Any, x: Tensor, token: Tensor, joint: bool) -> tuple[Tensor, Tensor]:
    """Stochastic depth on patches (B, N, d) and token (B, 1, d): one draw a sample (`joint`), or one for each."""
    if not joint or not drop.training:
        return drop(x), drop(token)
    token, x = drop(torch.cat([token, x], dim=1)).split([1, x.shape[1]], dim=1)
    return x, token


def attend(attn: Any, x: Tensor, token: Tensor, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Spatial-reduction attention in which the token is a key in front of the reduced patches, and a query."""
    batch, _, dim = x.shape
    reduced = x
    if attn.sr is not None:
        reduced = attn.sr(x.permute(0, 2, 1).reshape(batch, dim, *shape)).reshape(batch, dim, -1).permute(0, 2, 1)
    keys = torch.cat([token, reduced], dim=1)
    if attn.norm is not None:
        keys = attn.norm(keys)
    k, v = attn.kv(keys).reshape(batch, -1, 2, attn.num_heads, attn.head_dim).permute(2, 0, 3, 1, 4).unbind(0)

    def answer(stream: Tensor) -> Tensor:
        q = attn.q(stream).reshape(batch, -1, attn.num_heads, attn.head_dim).permute(0, 2, 1, 3)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return attn.proj(mixed.transpose(1, 2).reshape(batch, -1, dim))

    return answer(x), answer(token)


def _changes(params: Model) -> dict[str, Any]:
    settings = {
        "depths": params.depths,
        "embed_dims": params.dims,
        "num_heads": params.heads,
        "mlp_ratios": params.mlp_ratios,
    }
    return {name: value for name, value in settings.items() if value is not None}


def _projection(kernel: int, start: Start) -> nn.Conv2d:
    """RGB and visible mask to three channels. `identity` begins as RGB, so that pretrained weights see images."""
    projection = nn.Conv2d(4, 3, kernel, padding=kernel // 2)
    if start == "random":
        return projection
    with torch.no_grad():
        projection.weight.zero_()
        projection.weight[:, :3, kernel // 2, kernel // 2] = torch.eye(3)
        projection.bias.zero_()
    return projection


def _zero_overlapping_embedding(dim: int) -> nn.Conv2d:
    embedding = nn.Conv2d(1, dim, 7, stride=4, padding=3)
    nn.init.zeros_(embedding.weight)
    nn.init.zeros_(embedding.bias)
    return embedding
