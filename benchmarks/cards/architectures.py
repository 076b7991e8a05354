"""The published inpainting models' architectures, as their configurations state them, with random weights; no download.

Tiny ones of the same families stand in for them in a dry run.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxTransformer2DModel,
    PNDMScheduler,
    UNet2DConditionModel,
)

from amodal_bench.methods.inpaint.backbones import Family, PipelineKind

Config = Mapping[str, Any]


@dataclass(frozen=True)
class Architecture:
    """One pipeline: its parts' configurations, the size that it works at, the shapes of its prompt's embeddings."""

    family: Family
    side: int
    body: Config
    vae: Config
    scheduler: Callable[[], Any]
    prompt: Mapping[str, tuple[int, ...]]

    @property
    def kind(self) -> PipelineKind:
        """What `backbones.read` would say of its folder."""
        factor = 2 ** (len(self.vae["block_out_channels"]) - 1)
        return PipelineKind(self.family, self.body["in_channels"], factor, ())

    def parts(self, device: str, dtype: torch.dtype) -> dict[str, Any]:
        """The denoising network, the VAE and the scheduler, by the names of the pipelines' arguments."""
        network = FluxTransformer2DModel if self.kind.flux else UNet2DConditionModel
        return {
            self.kind.body: filled(network, self.body, device, dtype),
            "vae": filled(AutoencoderKL, self.vae, device, dtype),
            "scheduler": self.scheduler(),
        }

    def embeddings(self, device: str, dtype: torch.dtype) -> dict[str, Any]:
        """Of a prompt that says nothing; the unconditional half of a UNet's is the same."""
        found = {name: torch.zeros(shape, device=device, dtype=dtype) for name, shape in self.prompt.items()}
        return found if self.kind.flux else {**found, **{f"negative_{name}": value for name, value in found.items()}}


def filled(model: Any, config: Config, device: str, dtype: torch.dtype) -> Any:
    """A model with random weights that keep a signal's size, made in its number type where it will be."""
    with torch.device("meta"):
        made = torch.nn.Module.to(model.from_config(dict(config)), dtype)  # the models' own way warns of nothing
    made = made.to_empty(device=device)
    chance = torch.Generator(device).manual_seed(0)
    for parameter in made.parameters():
        if parameter.dim() > 1:
            parameter.data.normal_(0, (1 / parameter[0].numel()) ** 0.5, generator=chance)
        else:
            parameter.data.zero_()
    for name, module in made.named_modules():
        if "norm" in name and getattr(module, "weight", None) is not None:
            module.weight.data.fill_(1)
    return made.eval().requires_grad_(False)


NOISE: Config = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
_VAE: Config = {
    "act_fn": "silu", "block_out_channels": (128, 256, 512, 512), "down_block_types": ["DownEncoderBlock2D"] * 4,
    "latent_channels": 4, "layers_per_block": 2, "norm_num_groups": 32, "up_block_types": ["UpDecoderBlock2D"] * 4,
    "sample_size": 512,
}  # fmt: skip
_UNET: Config = {"in_channels": 9, "out_channels": 4, "layers_per_block": 2, "sample_size": 64}
_FLUX_VAE: Config = {
    "latent_channels": 16, "scaling_factor": 0.3611, "shift_factor": 0.1159, "use_quant_conv": False,
    "use_post_quant_conv": False,
}  # fmt: skip
_XL: Config = {
    "addition_embed_type": "text_time", "use_linear_projection": True,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
}  # fmt: skip


def _pndm() -> Any:
    return PNDMScheduler(skip_prk_steps=True, **NOISE)


def _flow() -> Any:
    return FlowMatchEulerDiscreteScheduler(shift=1.0)


PUBLISHED: Mapping[str, Architecture] = {
    "sd15": Architecture(
        "sd", 512,
        {**_UNET, "block_out_channels": (320, 640, 1280, 1280), "attention_head_dim": 8, "cross_attention_dim": 768},
        _VAE, _pndm, {"prompt_embeds": (1, 77, 768)},
    ),
    "sd2": Architecture(
        "sd", 512,
        {
            **_UNET, "block_out_channels": (320, 640, 1280, 1280), "attention_head_dim": (5, 10, 20, 20),
            "cross_attention_dim": 1024, "use_linear_projection": True,
        },
        _VAE, _pndm, {"prompt_embeds": (1, 77, 1024)},
    ),
    "sdxl": Architecture(
        "xl", 1024,
        {
            **_UNET, **_XL, "block_out_channels": (320, 640, 1280), "attention_head_dim": (5, 10, 20),
            "cross_attention_dim": 2048, "transformer_layers_per_block": (1, 2, 10), "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": 2816, "sample_size": 128,
        },
        {**_VAE, "scaling_factor": 0.13025}, lambda: EulerDiscreteScheduler(**NOISE),
        {"prompt_embeds": (1, 77, 2048), "pooled_prompt_embeds": (1, 1280)},
    ),
    "flux": Architecture(
        "flux", 1024,
        {
            "patch_size": 1, "in_channels": 64, "num_layers": 19, "num_single_layers": 38, "attention_head_dim": 128,
            "num_attention_heads": 24, "joint_attention_dim": 4096, "pooled_projection_dim": 768,
            "guidance_embeds": False, "axes_dims_rope": (16, 56, 56),
        },
        {**_VAE, **_FLUX_VAE}, _flow, {"prompt_embeds": (1, 256, 4096), "pooled_prompt_embeds": (1, 768)},
    ),
}  # fmt: skip

_TINY_VAE: Config = {**_VAE, "block_out_channels": (8, 16, 16, 16), "norm_num_groups": 4, "layers_per_block": 1}
_TINY_UNET: Config = {
    **_UNET, "block_out_channels": (16, 32), "layers_per_block": 1, "attention_head_dim": 8, "norm_num_groups": 8,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"), "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "cross_attention_dim": 16,
}  # fmt: skip
TINY: Mapping[str, Architecture] = {
    "sd15": Architecture(
        "sd", 64, _TINY_UNET, _TINY_VAE, lambda: DDIMScheduler(clip_sample=False, **NOISE),
        {"prompt_embeds": (1, 7, 16)},
    ),
    "sdxl": Architecture(
        "xl", 64,
        {
            **_TINY_UNET, "addition_embed_type": "text_time", "addition_time_embed_dim": 8,
            "use_linear_projection": True, "projection_class_embeddings_input_dim": 6 * 8 + 16,
        },
        _TINY_VAE, lambda: EulerDiscreteScheduler(**NOISE),
        {"prompt_embeds": (1, 7, 16), "pooled_prompt_embeds": (1, 16)},
    ),
    "flux": Architecture(
        "flux", 128,
        {
            "patch_size": 1, "in_channels": 64, "num_layers": 1, "num_single_layers": 1, "attention_head_dim": 16,
            "num_attention_heads": 2, "joint_attention_dim": 32, "pooled_projection_dim": 16,
            "guidance_embeds": False, "axes_dims_rope": (4, 4, 8),
        },
        {**_TINY_VAE, **_FLUX_VAE}, _flow, {"prompt_embeds": (1, 7, 32), "pooled_prompt_embeds": (1, 16)},
    ),
}  # fmt: skip
