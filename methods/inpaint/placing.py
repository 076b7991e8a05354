"""Where a pipeline's parts lie and how fast they compute: device, memory, int8, layout, compiled parts."""

import re
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from amodal_bench.errors import Refused

from .backbones import PipelineKind
from .params import Backbone

BITSANDBYTES = (0, 48)  # the first whose int8 modules can be moved between devices, as diffusers asks for


def current(device: str) -> AbstractContextManager[Any]:
    """While it lasts, this GPU is the current one: int8 weights are put there as they are read, wherever that is."""
    return torch.cuda.device(device) if device.startswith("cuda") else nullcontext()


def handed_back(device: str) -> None:
    """Give the memory that torch keeps for itself back to the GPU."""
    if device.startswith("cuda"):
        with current(device):
            torch.cuda.empty_cache()


def placed(pipe: Any, kind: PipelineKind, settings: Backbone, device: str) -> Any:
    """The pipeline on its device with what the settings say of memory and speed."""
    vae, body = pipe.vae, getattr(pipe, kind.body)
    # SDXL's own overflows in float16. The others' configurations do not say so, but get the library's default, true.
    if kind.family == "xl" and vae.dtype == torch.float16 and vae.config.force_upcast:
        vae.to(torch.float32)
    if settings.tiling:
        vae.enable_tiling()
    if settings.slicing:
        vae.enable_slicing()
    if settings.offload and device != "cpu":
        pipe.enable_model_cpu_offload(device=device)
    else:
        pipe.to(device)
    if settings.fused_qkv:
        for part in (body, vae):
            if hasattr(part, "fuse_qkv_projections"):  # a tiny autoencoder has no attention
                part.fuse_qkv_projections()
    if settings.channels_last:
        for part in (vae,) if kind.flux else (vae, body):  # a transformer has no convolutions
            part.to(memory_format=torch.channels_last)
    if settings.compile:
        body.compile()
        vae.decoder.compile()
    return pipe


def quantized(kind: PipelineKind, settings: Backbone, device: str) -> dict[str, Any]:
    """What a pipeline is read with where its denoising network shall be int8; raises `Refused`."""
    if settings.quantize == "none":
        return {}
    found = _bitsandbytes()
    if device == "cpu" or not kind.flux or found is None:
        raise Refused(
            "backbone.quantize=int8 is for Flux on a GPU with the package bitsandbytes "
            f"(pip install 'amodal-bench[quant]'); this is {kind.family} on {device}: set backbone.quantize=none"
        )
    if tuple(int(number) for number in re.findall(r"\d+", found)[:2]) < BITSANDBYTES:
        raise Refused(
            f"backbone.quantize=int8 needs bitsandbytes {'.'.join(map(str, BITSANDBYTES))} or newer, here is {found}: "
            "pip install --upgrade bitsandbytes"
        )
    from diffusers.quantizers import PipelineQuantizationConfig

    return {
        "quantization_config": PipelineQuantizationConfig(
            quant_backend="bitsandbytes_8bit",
            quant_kwargs={"load_in_8bit": True},
            components_to_quantize=[kind.body],
        )
    }


def _bitsandbytes() -> str | None:
    try:
        return version("bitsandbytes")
    except PackageNotFoundError:
        return None
