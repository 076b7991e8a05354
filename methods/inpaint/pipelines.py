"""The stock inpainting pipelines of diffusers with the one place where Eq. 11 comes in; loading them from a folder."""

from pathlib import Path
from typing import Any, NamedTuple

import diffusers
import torch
import transformers
from diffusers import (
    FluxFillPipeline,
    FluxInpaintPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionXLInpaintPipeline,
)
from safetensors import SafetensorError
from torch import Tensor

from amodal_bench.errors import Refused, UnknownName
from amodal_bench.files.documents import parse_json

from .backbones import Family, PipelineKind
from .params import Backbone
from .placing import current, placed, quantized

# Steps of these depend on the last latents alone, so latents may be changed between them.
_MEMORYLESS = ("DDIMScheduler", "EulerDiscreteScheduler", "FlowMatchEulerDiscreteScheduler")


class Null(NamedTuple):
    """The unconditional row of Eq. 11: the area everywhere 1 or 0 (None: as given), and the masked image's latents."""

    area: float | None
    latents: Tensor


class _MaskGuided:
    """Puts the null condition into the unconditional half of the mask's input."""

    null: Null | None = None

    def prepare_mask_latents(self, *args: Any, **named: Any) -> tuple[Tensor, Tensor]:
        """As the stock pipeline; with guidance the first half of the rows is the unconditional one."""
        area, latents = super().prepare_mask_latents(*args, **named)  # type: ignore[misc]
        if self.null is None:
            return area, latents
        _, rows = area.chunk(2)
        blank = rows if self.null.area is None else torch.full_like(rows, self.null.area)
        _, masked = latents.chunk(2)
        return torch.cat([blank, rows]), torch.cat([self.null.latents.to(masked).expand_as(masked), masked])


class InpaintSd(_MaskGuided, StableDiffusionInpaintPipeline):
    """SD 1.5 and SD 2."""


class InpaintXl(_MaskGuided, StableDiffusionXLInpaintPipeline):
    """SDXL."""


class InpaintFlux(FluxInpaintPipeline):
    """FLUX.1 schnell and dev, which never see the area."""


class FillFlux(FluxFillPipeline):
    """FLUX.1 Fill. The stock call takes pixels only; the latents that were made before are put in their place."""

    clean: Tensor  # scaled
    masked: Tensor  # not scaled: the stock method does it

    def prepare_latents(self, image: Tensor, *args: Any, **named: Any) -> Any:  # noqa: ARG002
        """As the stock pipeline, from `clean`."""
        return super().prepare_latents(self.clean, *args, **named)

    def prepare_mask_latents(self, mask: Tensor, masked_image: Tensor, *args: Any, **named: Any) -> Any:  # noqa: ARG002
        """As the stock pipeline, from `masked`."""
        return super().prepare_mask_latents(mask, self.masked, *args, **named)


_VAES = ("AutoencoderKL", "AutoencoderTiny")
CLASSES: dict[Family, Any] = {"sd": InpaintSd, "xl": InpaintXl, "flux": InpaintFlux, "fill": FillFlux}
_TEXTS: dict[Family, tuple[str, ...]] = {
    "sd": ("text_encoder", "tokenizer"),
    **dict.fromkeys(("xl", "flux", "fill"), ("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2")),
}
WITHOUT: dict[Family, dict[str, Any]] = {
    "sd": {"safety_checker": None, "feature_extractor": None, "image_encoder": None, "requires_safety_checker": False},
    "xl": {"feature_extractor": None, "image_encoder": None, "add_watermarker": False},
    "flux": {"feature_extractor": None, "image_encoder": None},
    "fill": {},
}


def dtype_of(settings: Backbone, kind: PipelineKind, device: str) -> torch.dtype:
    """The numbers' type, as `Backbone.dtype` says."""
    if settings.dtype != "auto":
        return getattr(torch, settings.dtype)
    if device == "cpu":
        return torch.float32
    return torch.bfloat16 if kind.flux else torch.float16


def load(folder: Path, kind: PipelineKind, settings: Backbone, device: str, other_vae: Path | None = None) -> Any:
    """The pipeline without its text encoders, on the device, silent; `other_vae` is a folder, for its own VAE."""
    dtype = dtype_of(settings, kind, device)
    parts: dict[str, Any] = dict.fromkeys(_TEXTS[kind.family])
    parts |= quantized(kind, settings, device)
    if other_vae:
        parts["vae"] = _vae(other_vae, dtype)
    with current(device):
        pipe = _from_folder(folder, kind, settings, dtype, **parts)
    return placed(pipe, kind, settings, device)


def _vae(folder: Path, dtype: torch.dtype) -> Any:
    """A VAE from a folder of its own."""
    _silence()
    name = parse_json((folder / "config.json").read_bytes()).get("_class_name", "AutoencoderKL")
    if name not in _VAES:
        raise Refused(f"backbone.vae {folder} holds a {name}, expected one of {', '.join(_VAES)}")
    try:
        return getattr(diffusers, name).from_pretrained(str(folder), local_files_only=True, dtype=dtype)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise Refused(f"backbone.vae {folder} cannot be loaded: {error}") from error


def load_texts(folder: Path, kind: PipelineKind, settings: Backbone, device: str) -> Any:
    """The same pipeline with nothing but its text encoders."""
    return _from_folder(
        folder, kind, settings, dtype_of(settings, kind, device), vae=None, **{kind.body: None}
    ).to(device)  # fmt: skip


def _from_folder(folder: Path, kind: PipelineKind, settings: Backbone, dtype: torch.dtype, **parts: Any) -> Any:
    _silence()
    try:
        pipe = CLASSES[kind.family].from_pretrained(
            str(folder), local_files_only=True, variant=settings.variant, dtype=dtype,
            **WITHOUT[kind.family], **parts,
        )  # fmt: skip
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise Refused(f"{folder} cannot be loaded: {error}{_hint(folder, settings)}") from error
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _silence() -> None:
    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()


def _hint(folder: Path, settings: Backbone) -> str:
    if settings.variant or not any(folder.glob("*/*.fp16.*")):
        return ""
    return "\nThe folder has files of the variant fp16: --set backbone.variant=fp16 reads them"


def set_scheduler(pipe: Any, kind: PipelineKind, name: str | None, memoryless: bool) -> None:
    """The scheduler called `name`, or the folder's own; for Eq. 7 DDIM in place of an own one that has a memory."""
    current = type(pipe.scheduler).__name__
    known = {scheduler.__name__: scheduler for scheduler in pipe.scheduler.compatibles}
    if name is not None and name not in known:
        raise UnknownName("scheduler", name, known)
    chosen = name or current
    if memoryless and chosen not in _MEMORYLESS:
        if name is not None or kind.flux:
            raise Refused(
                f"leakage=eq7 changes latents between steps, of which {chosen} remembers more than one: "
                f"set backbone.scheduler to one of {', '.join(sorted(set(_MEMORYLESS) & set(known)))}"
            )
        chosen = "DDIMScheduler"
    if chosen != current:
        # Where the folder does not say it, DDIM would cut latents at [-1, 1] and PNDM warm up with steps of its own.
        pipe.scheduler = known[chosen].from_config(
            {"clip_sample": False, "skip_prk_steps": True, **pipe.scheduler.config}
        )
