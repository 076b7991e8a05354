"""Why `leakage: strength` is the default: in the real pipeline, a denoiser in closed form that knows whole objects.

Its world is a few hundred binary shapes, all whole; given noisy latents and the masked image it answers the exact
posterior mean. What the occlusion-free bias can do at all, it does.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from diffusers import ConfigMixin, ModelMixin  # noqa: E402
from diffusers.configuration_utils import register_to_config  # noqa: E402

from amodal_bench.masks.hull import hull_mask  # noqa: E402
from amodal_bench.methods.inpaint.diffusion import DiffusionFill  # noqa: E402
from amodal_bench.methods.inpaint.params import InpaintParams  # noqa: E402

SIDE, SCALE, SHAPES = 32, 4, 400
OBJECT, GROUND = (0.8, -0.2, -0.6), (-0.5, 0.1, 0.5)


def whole(rng: np.random.Generator, count: int) -> Any:
    """bool (count, SIDE, SIDE): ellipses, boxes and triangles in the middle of the frame."""
    rows, columns = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    made = []
    for kind in rng.integers(3, size=count):
        y, x = rows - rng.uniform(-2, 2), columns - rng.uniform(-2, 2)
        a, b = rng.uniform(7, 12, 2)
        inside = abs(y) <= a
        made.append(
            ((y / a) ** 2 + (x / b) ** 2 <= 1, inside & (abs(x) <= b), inside & (2 * abs(x) <= b * (y / a + 1)))[kind]
        )
    return np.stack(made)


def coloured(masks: Any) -> Any:
    """Latents (N, 4, SIDE, SIDE): two colours and a channel of zeros."""
    rgb = np.where(masks[..., None], OBJECT, GROUND)
    return torch.from_numpy(np.pad(rgb, ((0, 0), (0, 0), (0, 0), (0, 1)))).float().permute(0, 3, 1, 2)


class WholeOnly(ModelMixin, ConfigMixin):
    """Posterior mean of the clean latents under a uniform prior on the shapes; shaped like a 9-channel UNet."""

    @register_to_config
    def __init__(self, in_channels: int = 9, time_cond_proj_dim: int | None = None) -> None:
        super().__init__()
        self.known = coloured(whole(np.random.default_rng(0), SHAPES)).flatten(1)
        self.shares: Any = None
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x: Any, time: Any, *given: Any, **named: Any) -> tuple[Any]:
        z, area, masked = x[:, :4].flatten(1), x[:, 4:5], x[:, 5:].flatten(1)
        share, seen = self.shares[int(time)], (1 - area).expand(-1, 4, -1, -1).flatten(1)
        away = self.distance(z, share.sqrt() * self.known, torch.ones_like(z)) / (2 * (1 - share))
        unlike = self.distance(masked, self.known, seen) / (2 * 0.1**2)
        return ((torch.softmax(-away - unlike, dim=1) @ self.known).view_as(x[:, :4]),)

    @staticmethod
    def distance(a: Any, b: Any, weights: Any) -> Any:
        """Sum of weights (a - b)^2 of every row of a with every row of b."""
        return (weights * a * a).sum(1, keepdim=True) - 2 * (weights * a) @ b.T + weights @ (b * b).T


class Enlarge(ModelMixin, ConfigMixin):
    """A VAE that is none: every SCALE-th pixel, and back."""

    @register_to_config
    def __init__(self, scaling_factor: float = 1.0, latent_channels: int = 4) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def encode(self, x: Any) -> Any:
        small = x[..., ::SCALE, ::SCALE]
        return SimpleNamespace(latents=torch.cat([small, torch.zeros_like(small[:, :1])], dim=1))

    def decode(self, z: Any) -> Any:
        return SimpleNamespace(sample=z[:, :3].repeat_interleave(SCALE, -1).repeat_interleave(SCALE, -2))


def fill_with(folder: Callable[..., Any], batch: int, **denoising: Any) -> DiffusionFill:
    asked = {"resolution": SIDE * SCALE, "forward_batch": batch, "denoising": {"guidance": "none", **denoising}}
    made = DiffusionFill(folder("nano"), InpaintParams.model_validate(asked), "cpu")
    made.pipe.register_modules(unet=WholeOnly(), vae=Enlarge())
    made.pipe.unet.shares = made.pipe.scheduler.alphas_cumprod
    return made


def hidden_iou(fill: DiffusionFill, amodal: Any, visible: Any, area: Any) -> tuple[float, Any]:
    """Mean IoU of what was found beyond the visible pixels with what is hidden; and the found masks."""
    x = np.where(visible[..., None], OBJECT, GROUND).astype(np.float32)
    big = [value.repeat(SCALE, axis=1).repeat(SCALE, axis=2) for value in (x, area)]
    image = fill(big[0], big[1] > 0, list(range(len(x))))[:, ::SCALE, ::SCALE] / 127.5 - 1
    found = ((image - OBJECT) ** 2).sum(-1) < ((image - GROUND) ** 2).sum(-1)
    new, hidden = found & ~visible, amodal & ~visible
    return float(np.mean((new & hidden).sum((1, 2)) / (new | hidden).sum((1, 2)))), found


@pytest.fixture(scope="module")
def occluded() -> tuple[Any, Any, Any]:
    """Whole objects that are not in the denoiser's world, a bar across their middle, the hulls of what is left."""
    amodal = whole(np.random.default_rng(1), 24)
    visible = amodal.copy()
    visible[:, :, SIDE // 2 - 2 : SIDE // 2 + 3] = False
    return amodal, visible, np.stack([hull_mask(mask) for mask in visible])


def test_strength_finds_hidden_pixels_and_equation_7_none(folder: Callable[..., Any], occluded: Any) -> None:
    found = {
        leakage: hidden_iou(fill_with(folder, len(occluded[0]), leakage=leakage), *occluded)[0]
        for leakage in ("strength", "eq7")
    }
    assert found["strength"] > 0.4
    assert found["eq7"] < 0.01


def test_only_what_is_not_blended_passes_the_hull(folder: Callable[..., Any], occluded: Any) -> None:
    amodal, _, _ = occluded
    visible = amodal.copy()
    visible[:, :, SIDE // 2 + 4 :] = False  # at the side: the hull does not cover the hole
    area = np.stack([hull_mask(mask) for mask in visible])
    beyond = {}
    for keep in (False, True):
        _, found = hidden_iou(fill_with(folder, len(amodal), keep_outside=keep), amodal, visible, area)
        beyond[keep] = int((found & ~area).sum())
    assert beyond[False] > 100
    assert beyond[True] == 0
