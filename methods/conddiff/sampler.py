"""Sampling: from noise to the probability of the amodal mask, many instances at once."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from amodal_bench.methods._precision import computing

from .diffusion import Step, keep_probability, noised, predicted_mask, reverse_steps, ust
from .ensemble import Ensemble, constrained
from .network import Network, normalised
from .params import CondDiffParams
from .precision import NetworkStep


class Noise:
    """Each instance's own chance, drawn on the CPU one after the other, so companions change nothing."""

    def __init__(self, seeds: Sequence[int], size: int, device: str) -> None:
        self._generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        self._shape = (1, size, size)
        self._device = torch.device(device)

    def normal(self) -> Tensor:
        """Standard normal (B, 1, S, S)."""
        return self._drawn(lambda row, chance: row.normal_(generator=chance))

    def uniform(self) -> Tensor:
        """Uniform in [0, 1), (B, 1, S, S)."""
        return self._drawn(lambda row, chance: row.uniform_(generator=chance))

    def _drawn(self, draw: Callable[[Tensor, torch.Generator], Tensor]) -> Tensor:
        """From pinned memory a copy to the GPU does not wait for the network's work, which is still going on."""
        rows = torch.empty(len(self._generators), *self._shape, pin_memory=self._device.type == "cuda")
        for row, generator in zip(rows, self._generators, strict=True):
            draw(row, generator)
        return rows.to(self._device, non_blocking=True)


@torch.inference_mode()
def sample(
    network: Network,
    image: Tensor,
    visible: Tensor,
    seeds: Sequence[int],
    params: CondDiffParams,
    device: str,
    network_step: NetworkStep | None = None,
) -> Tensor:
    """Probabilities (B, S, S) of uint8 images (B, 3, S, S) and visible masks in {0, 1} with guides (B, 1 + G, S, S).

    `network_step` stands for the network's own where that has been compiled. Times go to the device once: a number that
    is sent on its own is waited for, and the GPU would stand still between two steps.
    """
    with computing(params.precision, device):
        return _sampled(network, image, visible, seeds, params, device, network_step or network.step)


def _sampled(
    network: Network,
    image: Tensor,
    visible: Tensor,
    seeds: Sequence[int],
    params: CondDiffParams,
    device: str,
    network_step: NetworkStep,
) -> Tensor:
    size = params.model.size
    noise = Noise(seeds, size, device)
    steps = reverse_steps(params.diffusion, size)
    snrs = torch.tensor([[step.snr] for step in steps], dtype=torch.float32, device=device)
    given = visible.to(device, torch.float32)
    visible = given[:, :1]
    stem = network.pcn.stem(normalised(image.to(device)), given)
    ensemble = Ensemble(params.vgpe)
    x = noised(visible, torch.tensor(steps[0].snr), noise.normal())
    for number, step in enumerate(steps):
        logits = network_step(stem, x, snrs[number])
        x0 = predicted_mask(logits.float(), params.diffusion.x0_map)
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
    keep = keep_probability(time, params.diffusion, params.model.size)
    mask = ust((x0 > 0).to(x.dtype), visible, keep, noise.uniform())
    return noised(mask, torch.tensor(step.snr_next, dtype=x.dtype), noise.normal())
