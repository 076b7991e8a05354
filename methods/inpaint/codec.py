"""The tiny pipeline's VAE: an AutoencoderTiny with a fixed linear encoder and a small learned decoder.

The encoder is the principal components of 2x2 pixels, which AutoencoderTiny without blocks can express exactly: a
learned one is far worse for hours. Nearest upsampling and convolutions can not undo it exactly, so the decoder learns.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from diffusers import AutoencoderTiny
from torch import Tensor

LATENTS = 4
_CORNERS = ((0, 0), (0, 1), (1, 0), (1, 1))  # of a 2x2 patch


def codec(width: int) -> AutoencoderTiny:
    """An untrained codec: (B, 3, S, S) in [-1, 1] to (B, 4, S/2, S/2) and back."""
    return AutoencoderTiny(
        encoder_block_out_channels=(12, 12),
        num_encoder_blocks=(0, 0),
        decoder_block_out_channels=(width, width),
        num_decoder_blocks=(1, 1),
        latent_channels=LATENTS,
        scaling_factor=1.0,
    )


def patches(images: Tensor) -> Tensor:
    """(B, 3, S, S) in [-1, 1] as 2x2 patches (N, 12) in [0, 1], corner by corner."""
    found = F.pixel_unshuffle((images + 1) / 2, 2)  # channels: colour, then corner
    return found.unflatten(1, (3, 4)).permute(0, 3, 4, 2, 1).reshape(-1, 12)


@torch.no_grad()
def set_encoder(vae: AutoencoderTiny, images: Tensor) -> None:
    """Make the encoder the four principal components of these images' patches, half whitened."""
    seen = patches(images).double()
    mean = seen.mean(dim=0)
    values, vectors = torch.linalg.eigh((seen - mean).T @ (seen - mean) / len(seen))
    values, vectors = values.flip(0)[:LATENTS], vectors.flip(1)[:, :LATENTS]
    vectors = vectors * vectors.sum(dim=0).sign()  # an eigenvector's sign is free: fix it
    scale = 1 / (values * values[0]).pow(0.25)
    gather, halve, project = vae.encoder.layers
    for layer in (gather, halve, project):
        layer.weight.zero_()
    for corner, (row, column) in enumerate(_CORNERS):
        for colour in range(3):
            gather.weight[3 * corner + colour, colour, 1 + row, 1 + column] = 1
    gather.bias.zero_()
    halve.weight[range(12), range(12), 1, 1] = 1
    project.weight[:, :, 1, 1] = (vectors * scale).T.float()
    project.bias.copy_(-((vectors * scale).T @ mean).float())


def learn_decoder(vae: AutoencoderTiny, images: Iterator[Tensor], steps: int, rate: float = 2e-3) -> float:
    """Fit the decoder to batches (B, 3, S, S) in [-1, 1]; the last hundred steps' mean squared error on [0, 1]."""
    optimizer = torch.optim.AdamW(vae.decoder.parameters(), lr=rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, steps))
    vae.to(memory_format=torch.channels_last)
    errors = []
    for _, batch in zip(range(steps), images, strict=False):
        with torch.no_grad():
            latents = vae.encode(batch).latents
        loss = F.mse_loss((vae.decode(latents).sample + 1) / 2, (batch + 1) / 2)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        errors.append(float(loss.detach()))
    vae.eval().requires_grad_(False)
    return sum(errors[-100:]) / max(1, len(errors[-100:]))
