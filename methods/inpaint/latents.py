"""Pixels to latents and back, and the area that may be repainted as latents have it."""

import logging
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

log = logging.getLogger(__name__)


def encode(vae: Any, pixels: Tensor) -> Tensor:
    """Unscaled latents of (B, 3, R, R) on [-1, 1]: the posterior's mode, so that no chance is used up."""
    found = vae.encode(pixels.to(vae.dtype))
    return found.latents if hasattr(found, "latents") else found.latent_dist.mode()


def scaled(vae: Any, latents: Tensor) -> Tensor:
    """Latents as the denoising network sees them: (z - shift) * scale."""
    return (latents - (vae.config.get("shift_factor") or 0.0)) * vae.config.scaling_factor


def decode(vae: Any, latents: Tensor) -> Tensor:
    """float32 pixels (B, 3, R, R), about [-1, 1], of scaled latents."""
    raw = latents.to(vae.dtype) / vae.config.scaling_factor + (vae.config.get("shift_factor") or 0.0)
    return vae.decode(raw).sample.float()


def bytes_of(pixels: Tensor) -> Tensor:
    """uint8 of values on [-1, 1], cut there and rounded."""
    return ((pixels.float() / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)


def shrunk(area: Tensor, factor: int) -> Tensor:
    """An area (B, 1, R, R) in {0, 1} at the size of the latents: each block's top left pixel, as diffusers does."""
    return F.interpolate(area, size=area.shape[-1] // factor)


def kept_alive(area: Tensor, factor: int) -> Tensor:
    """The area (B, 1, R, R); where it would vanish in the latents, all blocks that it touches."""
    lost = ~shrunk(area, factor).flatten(1).any(dim=1)
    if not lost.any():
        return area
    log.debug("%d area(s) vanish at %d pixels a latent pixel and are grown to whole blocks", int(lost.sum()), factor)
    blocks = F.interpolate(F.max_pool2d(area, factor), scale_factor=factor)
    return torch.where(lost[:, None, None, None], blocks, area)
