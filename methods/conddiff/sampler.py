"""Sampling: from noise to the probability of the amodal mask, many instances at once."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .diffusion import Step, keep_probability, noised, predicted_mask, reverse_steps, ust
from .ensemble import Ensemble, constrained
from .network import Network, normalised
from .params import CondDiffParams


class Noise:
    """Each instance's own chance, drawn on the CPU one after the other, so companions change nothing."""

    def __init__(self, seeds: Sequence[int], size: int, device: str) -> None:
        self._generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        self._shape = (1, size, size)
        self._device = device

    def normal(self) -> Tensor:
        """Standard normal (B, 1, S, S)."""
        return torch.stack([torch.randn(self._shape, generator=g) for g in self._generators]).to(self._device)

    def uniform(self) -> Tensor:
        """Uniform in [0, 1), (B, 1, S, S)."""
        return torch.stack([torch.rand(self._shape, generator=g) for g in self._generators]).to(self._device)


@torch.inference_mode()
def sample(
    network: Network, image: Tensor, visible: Tensor, seeds: Sequence[int], params: CondDiffParams, device: str
) -> Tensor:
    """Probabilities (B, S, S) of uint8 images (B, 3, S, S) and visible masks in {0, 1} with guides (B, 1 + G, S, S)."""
    size = params.model.size
    noise = Noise(seeds, size, device)
    steps = reverse_steps(params.diffusion, size)
    given = visible.to(device, torch.float32)
    visible = given[:, :1]
    stem = network.pcn.stem(normalised(image.to(device)), given)
    ensemble = Ensemble(params.vgpe)
    x = noised(visible, torch.tensor(steps[0].snr), noise.normal())
    for number, step in enumerate(steps):
        logits = network.step(stem, x, torch.tensor([step.snr], dtype=torch.float32, device=device))
        x0 = predicted_mask(logits, params.diffusion.x0_map)
        if params.vgpe.constrain:
            x0 = constrained(x0, visible, number + params.vgpe.first_step, len(steps))
        ensemble.add(x0)
        if number + 1 < len(steps):
            x = _next(x, x0, visible, step, number, noise, params)
    return ensemble.probability()[:, 0].float().cpu()


def _next(
    x: Tensor, x0: Tensor, visible: Tensor, step: Step, number: int, noise: Noise, params: CondDiffParams
) -> Tensor:
    if params.diffusion.sampler == "posterior":
        return step.x_scale * x + step.x0_scale * x0 + step.deviation * noise.normal()
    time = torch.tensor(1 - (number + 1) / params.diffusion.steps)
    keep = keep_probability(time, params.diffusion, params.model.size).to(x.device)
    mask = ust((x0 > 0).to(x.dtype), visible, keep, noise.uniform())
    return noised(mask, torch.tensor(step.snr_next, dtype=x.dtype), noise.normal())
