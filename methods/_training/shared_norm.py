"""Batch normalisation over the batches of all processes: what one process with the whole batch would have computed.

torch's own (SyncBatchNorm) runs on GPUs alone; `SharedBatchNorm` is the same in torch's public operations, for CPUs.
"""

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from amodal_bench.errors import Refused

from .settings import TrainerSettings

LEAST = 8  # samples a mean and a variance should be of


def has_batch_norm(network: nn.Module) -> bool:
    """Whether a part of the network looks at the whole batch."""
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())


def shared(network: nn.Module, config: TrainerSettings, world: int, on_gpu: bool) -> nn.Module:
    """The network with batch norms over all processes; itself where there is one process or no batch norm.

    Raises `Refused` where a norm would see under eight samples because the batch was divided.
    """
    if not has_batch_norm(network):
        return network
    seen = config.batch_size // config.accumulate // (1 if config.sync_batch_norm else world)
    if seen < min(LEAST, config.batch_size):
        raise Refused(
            f"batch norm would see {seen} samples at once (train.batch_size {config.batch_size}, {world} processes, "
            f"train.accumulate {config.accumulate}), and needs {LEAST}: raise train.batch_size, lower "
            "train.accumulate, or set train.sync_batch_norm=true"
        )
    if world == 1 or not config.sync_batch_norm:
        return network
    return nn.SyncBatchNorm.convert_sync_batchnorm(network) if on_gpu else _converted(network)


def _converted(module: nn.Module) -> nn.Module:
    """Batch norms become `SharedBatchNorm` with the same weights under the same names."""
    for name, child in module.named_children():
        setattr(module, name, _converted(child))
    if type(module) is nn.BatchNorm2d:
        module.__class__ = SharedBatchNorm
    return module


class SharedBatchNorm(nn.BatchNorm2d):
    """A batch norm whose mean and variance are those of all processes, which have equally many samples."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) of this process, normalised by what all have; alone when evaluated."""
        if not self.training or not dist.is_initialized():
            return super().forward(x)
        self._check_input_dim(x)
        mean, variance = _moments(x.detach())
        with torch.no_grad():
            self._follow(mean, variance, dist.get_world_size() * x.numel() // x.shape[1])
        out: Tensor = _Normalised.apply(x, self.weight, self.bias, mean, variance, self.eps)
        return out

    def _follow(self, mean: Tensor, variance: Tensor, count: int) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        rate = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, rate)
        self.running_var.lerp_(variance * (count / (count - 1)), rate)


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance (C,) of all processes: of their means and variances, which loses no digits."""
    variance, mean = torch.var_mean(_precise(x), dim=(0, 2, 3), correction=0)
    mine = torch.stack([mean, variance])
    parts = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, mine)
    means, variances = torch.stack(parts).unbind(1)
    return means.mean(0), variances.mean(0) + means.var(0, correction=0)


def _precise(x: Tensor) -> Tensor:
    """At least float32: what is summed over a batch needs more digits than bfloat16 has."""
    return x.float() if x.element_size() < 4 else x


class _Normalised(torch.autograd.Function):
    """(x - mean) / deviation * weight + bias, differentiated through the mean and the variance of all processes."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, eps: float
    ) -> Tensor:
        inverse = (variance + eps).rsqrt()
        ctx.save_for_backward(x, weight, mean, inverse)
        return F.batch_norm(x, mean, variance, weight, bias, training=False, eps=eps)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, inverse = ctx.saved_tensors
        gradient = gradients[0]
        wide = (slice(None), None, None)
        normal = (x - mean[wide]) * inverse[wide]
        sums = torch.stack([_precise(part).sum((0, 2, 3)) for part in (gradient, gradient * normal)])
        of_all = sums.clone()
        dist.all_reduce(of_all)
        of_all /= dist.get_world_size() * x.numel() // x.shape[1]
        back = (gradient - of_all[0][wide] - normal * of_all[1][wide]) * (weight * inverse)[wide]
        return back.to(x.dtype), sums[1].to(weight.dtype), sums[0].to(weight.dtype), None, None, None
