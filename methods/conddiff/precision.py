"""The network's step with its parts compiled."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .network import Network
from .pcn import run_block

NetworkStep = Callable[[Tensor, Tensor, Tensor], Tensor]  # stem, x_t, log-SNR to logits


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
