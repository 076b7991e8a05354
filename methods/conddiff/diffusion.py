"""The diffusion on masks: log-SNR schedule, forward step with Unidirectional State Transition (UST), reverse step."""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from amodal_bench.methods._training.chance import Chance

from .params import Diffusion, Times

_LIMIT = 15.0  # of the unshifted log-SNR


def log_snr(t: Tensor, noise_d: float, size: int) -> Tensor:
    """Cosine log-SNR of continuous time t in [0, 1], shifted by 2 ln(noise_d / size) ("simple diffusion", Eq. 5)."""
    low, high = math.atan(math.exp(-_LIMIT / 2)), math.atan(math.exp(_LIMIT / 2))
    return -2 * torch.log(torch.tan(low + t * (high - low))) + 2 * math.log(noise_d / size)


def alpha_sigma(snr: Tensor) -> tuple[Tensor, Tensor]:
    """Scale of the signal and of the noise at a log-SNR: alpha^2 + sigma^2 = 1, alpha^2 / sigma^2 = e^snr."""
    return torch.sqrt(torch.sigmoid(snr)), torch.sqrt(torch.sigmoid(-snr))


def noised(mask: Tensor, snr: Tensor, noise: Tensor) -> Tensor:
    """Eq. 1 in closed form: alpha * (2 mask - 1) + sigma * noise, for a mask in {0, 1}; `snr` broadcasts."""
    alpha, sigma = alpha_sigma(snr)
    return alpha * (2 * mask - 1) + sigma * noise


def keep_probability(t: Tensor, params: Diffusion, size: int) -> Tensor:
    """Product of the betas of Eq. 5 up to time t: how likely a pixel still has the amodal mask's value."""
    if params.ust_schedule == "tied":
        return torch.sigmoid(log_snr(t, params.noise_d, size))
    start, stop = (1.0, 0.0) if params.ust_schedule == "linear" else (params.ust_start, params.ust_stop)
    return start + (stop - start) * t


def ust(amodal: Tensor, visible: Tensor, keep: Tensor, uniform: Tensor) -> Tensor:
    """Eq. 4-5 at once: each pixel keeps the amodal value with probability `keep`, else it has the visible one.

    `uniform` is uniform in [0, 1). Two-class Gumbel-max sampling, step by step, has just this marginal.
    """
    kept = (uniform < keep).to(amodal.dtype)
    return kept * amodal + (1 - kept) * visible


def draw_times(chance: Chance, params: Times) -> Tensor:
    """Times (B, 1, 1, 1) in [0, 1] for a training batch."""
    if params.draw == "uniform":
        share = chance.uniform(1, 1, 1)
    else:
        share = torch.sigmoid(params.mean + params.spread * chance.normal(1, 1, 1))
    return params.low + (params.high - params.low) * share


def diffuse(amodal: Tensor, visible: Tensor, t: Tensor, noise: Tensor, uniform: Tensor, params: Diffusion) -> Tensor:
    """x_t (B, 1, S, S) of masks in {0, 1}, times (B, 1, 1, 1), standard normal `noise`, `uniform` in [0, 1)."""
    size = amodal.shape[-1]
    start = {
        "ust": lambda: ust(amodal, visible, keep_probability(t, params, size), uniform),
        "gaussian_gt": lambda: amodal,
        "gaussian_visible": lambda: visible,
    }[params.forward]()
    return noised(start, log_snr(t, params.noise_d, size), noise)


def predicted_mask(logits: Tensor, x0_map: str) -> Tensor:
    """x0 in [-1, 1] of the network's logits z: tanh(z) = 2 sigmoid(2 z) - 1 is sharper than training's sigmoid(z)."""
    return torch.tanh(logits) if x0_map == "tanh" else 2 * torch.sigmoid(logits) - 1


@dataclass(frozen=True, slots=True)
class Step:
    """One reverse step, in float64: x' = x_scale * x_t + x0_scale * x0 + deviation * noise."""

    snr: float
    snr_next: float
    x_scale: float
    x0_scale: float
    deviation: float


def posterior(snr: float, snr_next: float) -> Step:
    """Eq. 3, the Gaussian q(x_next | x_t, x0), from two log-SNRs (snr < snr_next)."""
    now, then = torch.tensor([snr, snr_next], dtype=torch.float64)
    alpha, _ = alpha_sigma(now)
    alpha_next, sigma_next = alpha_sigma(then)
    c = -torch.expm1(now - then)
    deviation = sigma_next * torch.sqrt(c)
    return Step(snr, snr_next, float(alpha_next * (1 - c) / alpha), float(alpha_next * c), float(deviation))


def reverse_steps(params: Diffusion, size: int) -> list[Step]:
    """The steps from t = 1 to t = 0 on an even grid."""
    grid = torch.linspace(1, 0, params.steps + 1, dtype=torch.float64)
    snrs = log_snr(grid, params.noise_d, size).tolist()
    return [posterior(now, then) for now, then in pairwise(snrs)]
