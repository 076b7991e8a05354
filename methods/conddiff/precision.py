"""In which numbers the network computes, and the network's step with its parts compiled."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from .network import Network
from .params import Precision
from .pcn import run_block

NetworkStep = Callable[[Tensor, Tensor, Tensor], Tensor]  # stem, x_t, log-SNR to logits
_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


@contextmanager
def computing(precision: Precision, device: str) -> Iterator[None]:
    """The network's numbers in this block; the switches of torch are as before after it.

    torch lets a GPU's convolutions, not its matrix products, round to TF32 unless told otherwise, so `fp32` has to be
    said too. Autocast leaves sums and products of float32 alone, so the sampler's own arithmetic stays in it.
    """
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = precision == "tf32"
    kind = torch.device(device).type
    try:
        with torch.autocast(kind, _AUTOCAST.get(precision), enabled=precision in _AUTOCAST):
            yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


def compiled_step(network: Network) -> NetworkStep:
    """`network.step` by torch.compile, part by part; the network itself is left as it is.

    A block of a stage is compiled once for all its blocks, and the denoising network once: some seconds each, where the
    whole step in one piece (41 blocks in a PVTv2-B4) takes minutes.
    """
    fast, denoise = torch.compile(run_block, dynamic=False), torch.compile(network.dn.forward, dynamic=False)

    def block(part: Any, x: Tensor, token: Tensor | None, *rest: Any) -> tuple[Tensor, Tensor | None]:
        # A stage's first block is handed other strides than the rest, for which it would be compiled once more.
        return fast(part, x.contiguous(), token if token is None else token.contiguous(), *rest)

    def step(stem: Tensor, x: Tensor, snr: Tensor) -> Tensor:
        features = network.pcn(stem, x, network.pcn.tokens(snr), block)
        return denoise(features, x, snr)

    return step
