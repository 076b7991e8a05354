"""A second sampler, straight from the paper's equations: one loop, the whole network each step, all history kept.

It shares no code with the package's but the network. What fixes the numbers beside the equations is stated here once
more: an instance draws from its own generator the first noise, and in each step but the last one noise (posterior), or
one uniform and then one noise (renoise).
"""

import math
from typing import Any

import torch
from torch import Tensor

from amodal_bench.methods.conddiff.params import CondDiffParams

MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


def cosine_log_snr(t: float, noise_d: float, size: int) -> float:
    """-2 ln tan of an angle that runs evenly over the range in which the log-SNR is at most 15, then the shift."""
    low, high = math.atan(math.exp(-7.5)), math.atan(math.exp(7.5))
    return -2 * math.log(math.tan(low + t * (high - low))) + 2 * math.log(noise_d / size)


def with_noise(mask: Tensor, snr: float, noise: Tensor) -> Tensor:
    """Eq. 1: sqrt(abar) x + sqrt(1 - abar) noise for x = +-1."""
    logit = torch.tensor(snr, dtype=torch.float32)
    return logit.sigmoid().sqrt() * (2 * mask - 1) + (-logit).sigmoid().sqrt() * noise


def equation_3(x: Tensor, x0: Tensor, snr: float, snr_next: float, noise: Tensor) -> Tensor:
    """Mean and variance of q(x_{t-1} | x_t, x0) by abar, with the alpha of the step, abar_t / abar_{t-1}."""
    abar, abar_next = (1 / (1 + math.exp(-value)) for value in (snr, snr_next))
    rest, rest_next = (1 / (1 + math.exp(value)) for value in (snr, snr_next))
    alpha = abar / abar_next
    beta = 1 - alpha
    of_x, of_x0 = math.sqrt(alpha) * rest_next / rest, math.sqrt(abar_next) * beta / rest
    return of_x * x + of_x0 * x0 + math.sqrt(rest_next * beta / rest) * noise


def share_kept(t: float, params: CondDiffParams) -> Tensor:
    """Product of the betas of Eq. 5 up to t; the sampler knows t as a 32-bit number."""
    d, time = params.diffusion, torch.tensor(t)
    if d.ust_schedule == "linear":
        return 1 - time
    if d.ust_schedule == "segrefiner":
        return d.ust_start + (d.ust_stop - d.ust_start) * time
    low, high = math.atan(math.exp(-7.5)), math.atan(math.exp(7.5))
    angle = low + time * (high - low)
    return (-2 * angle.tan().log() + 2 * math.log(d.noise_d / params.model.size)).sigmoid()


def answer(history: list[Tensor], params: CondDiffParams) -> Tensor:
    """Eq. 12: floor(share of the votes + 1/2) * mean, the mean brought to [0, 1]."""
    vgpe = params.vgpe
    if not vgpe.ensemble:
        return (history[-1] + 1) / 2
    mean = sum(history[1:], start=history[0]) / len(history)
    votes = torch.stack([x0 > 0 for x0 in history]).sum(0)
    gate = 2 * votes >= len(history) if vgpe.vote == "ge" else 2 * votes > len(history)
    if vgpe.scale == "minmax":
        bounds = [(one.min(), one.max()) for one in mean]
        mean = torch.stack([(one - low) / (high - low) for one, (low, high) in zip(mean, bounds, strict=True)])
    else:
        mean = (mean + 1) / 2
    return torch.where(gate, mean, torch.zeros_like(mean))


@torch.inference_mode()
def plain_sample(network: Any, image: Tensor, visible: Tensor, seeds: list[int], params: CondDiffParams) -> Tensor:
    """Probabilities (B, S, S) of uint8 images (B, 3, S, S) and visible masks (B, 1, S, S), on the CPU."""
    size, total = params.model.size, params.diffusion.steps
    chances = [torch.Generator().manual_seed(seed) for seed in seeds]
    shown = (image / 255 - MEAN.view(1, 3, 1, 1)) / STD.view(1, 3, 1, 1)
    seen = visible.float()

    def normal() -> Tensor:
        return torch.stack([torch.randn(1, size, size, generator=chance) for chance in chances])

    snrs = [cosine_log_snr(1 - number / total, params.diffusion.noise_d, size) for number in range(total + 1)]
    x = with_noise(seen, snrs[0], normal())
    history: list[Tensor] = []
    for number in range(total):
        logits = network(x, shown, seen, torch.tensor([snrs[number]]))
        x0 = logits.tanh() if params.diffusion.x0_map == "tanh" else logits.sigmoid() * 2 - 1
        if params.vgpe.constrain and number + params.vgpe.first_step >= total / 2:
            x0 = torch.where(visible > 0, torch.ones_like(x0), x0)
        history.append(x0)
        if number + 1 == total:
            break
        if params.diffusion.sampler == "posterior":
            x = equation_3(x, x0, snrs[number], snrs[number + 1], normal())
        else:
            kept = torch.stack([torch.rand(1, size, size, generator=chance) for chance in chances]) < share_kept(
                1 - (number + 1) / total, params
            )
            x = with_noise(torch.where(kept, x0 > 0, visible > 0).float(), snrs[number + 1], normal())
    return answer(history, params)[:, 0]
