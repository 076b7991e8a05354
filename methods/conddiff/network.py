"""The whole network: conditioning and denoising."""

import torch
from torch import Tensor, nn

from .denoiser import Denoiser
from .params import Model
from .pcn import Pcn, Start

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def normalised(image: Tensor) -> Tensor:
    """uint8 RGB (B, 3, S, S) as the pretrained backbone expects it."""
    mean, std = (torch.tensor(v, device=image.device).view(1, 3, 1, 1) for v in (_MEAN, _STD))
    return (image.float() / 255 - mean) / std


class Network(nn.Module):
    """f(x_t, I, M_v, t): logits of the amodal mask."""

    def __init__(
        self,
        params: Model,
        drop_path: float = 0.0,
        dropout: float = 0.0,
        joint: bool = False,
        start: Start = "identity",
    ) -> None:
        super().__init__()
        self.pcn = Pcn(params, drop_path, joint, start)
        self.dn = Denoiser(self.pcn.dims, params, dropout)

    def forward(self, x: Tensor, image: Tensor, visible: Tensor, snr: Tensor) -> Tensor:
        """Logits (B, 1, S, S) of x_t, the normalised image, the visible mask with its guides and log-SNRs (B,)."""
        return self.step(self.pcn.stem(image, visible), x, snr)

    def step(self, stem: Tensor, x: Tensor, snr: Tensor) -> Tensor:
        """The same where `pcn.stem` has been computed before; one log-SNR (1,) may serve the whole batch."""
        return self.dn(self.pcn(stem, x, self.pcn.tokens(snr)), x, snr)
