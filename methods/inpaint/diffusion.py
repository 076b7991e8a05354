"""Repainting an area with a diffusion pipeline (tuning-free paper, Sec. 3.2)."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from diffusers.utils.torch_utils import randn_tensor
from numpy.typing import NDArray
from torch import Tensor

from amodal_bench.errors import Refused
from amodal_bench.types import Image, Mask

from .backbones import PipelineKind, check_size, read
from .category import PLACE
from .latents import bytes_of, decode, encode, kept_alive, scaled, shrunk
from .leakage import Leak
from .params import Denoising, InpaintParams
from .pipelines import Null, dtype_of, load, set_scheduler
from .prompts import Embeddings, Prompt, Texts, embeddings

log = logging.getLogger(__name__)

NEARLY_FULL = 0.9999  # what SDXL's inpainting model card and its pipeline in diffusers begin with

Floats = NDArray[np.float32]


class DiffusionFill:
    """A stock inpainting pipeline that always sees `forward_batch` instances.

    Guidance: on UNets the scale is 1 + w, on the mask's condition (Eq. 11) or the text's. Flux has no unconditional
    row: there w itself is the library's `guidance_scale`, which acts only in models distilled for it (dev and Fill,
    not schnell).
    """

    def __init__(self, folder: Path, params: InpaintParams, device: str, other_vae: Path | None = None) -> None:
        """Read configurations, refuse what cannot work, then read weights; nothing is fetched.

        `other_vae` is the folder of `backbone.vae`.
        """
        self._params, self._device, self._kind = params, device, read(folder, other_vae)
        check_size(folder, self._kind, params.resolution)
        check_outside(self._kind, params.denoising)
        start_strength(self._kind, params.denoising)
        settings, tokens = params.backbone, params.denoising.tokens
        texts = Texts(lambda text: embeddings(folder, self._kind, settings, Prompt(text, tokens), device))
        texts.of(self._text)  # refused before weights are read
        self._begin(load(folder, self._kind, settings, device, other_vae), texts)

    @classmethod
    def of(cls, pipe: Any, kind: PipelineKind, prompt: Embeddings, params: InpaintParams, device: str) -> Self:
        """With a pipeline that is on the device already, as `pipelines.load` leaves it, and its prompt's embeddings."""
        made = cls.__new__(cls)
        made._params, made._device, made._kind = params, device, kind
        made._begin(pipe, Texts(lambda _: prompt))
        return made

    def _begin(self, pipe: Any, texts: Texts) -> None:
        params, kind = self._params, self._kind
        self.pipe, self._texts = pipe, texts
        set_scheduler(pipe, kind, params.backbone.scheduler, params.denoising.leakage == "eq7")
        self._dtype = dtype_of(params.backbone, kind, self._device)
        self._strength = start_strength(kind, params.denoising)
        self._scale = guidance_scale(kind, params.denoising)
        self._prompt = texts.rows([self._text] * params.forward_batch, self._masked_guidance)
        self._empty = self._encoded_nothing() if self._masked_guidance else None
        if params.backbone.compile:
            self._warm_up()

    def _warm_up(self) -> None:
        """One batch of nothing: what is compiled is compiled now, and no instance's seconds have it in them."""
        size, start = self._params.resolution, time.perf_counter()
        self(np.zeros((1, size, size, 3), np.float32), np.ones((1, size, size), np.bool_), [0])
        log.info("compiled the inpainting model, warm after %.0f s", time.perf_counter() - start)

    @property
    def _text(self) -> str:
        """The settings' prompt; where each instance's category belongs in it, that of any."""
        return self._params.denoising.prompt.replace(PLACE, "object")

    @property
    def _masked_guidance(self) -> bool:
        return self._params.denoising.guidance == "mask" and self._kind.mask_guided and self._scale > 1

    def __call__(self, x: Floats, area: Mask, seeds: Sequence[int], prompts: Sequence[str] | None = None) -> Image:
        """uint8 (B, R, R, 3) of x float32 (B, R, R, 3) on [-1, 1] with the areas bool (B, R, R) repainted.

        `seeds` has one an instance, and so have `prompts`, where they are not the settings' own; B is at most
        `forward_batch`. The answer is x where the area is empty, and with `leakage: strength` at a strength of 0 (where
        Eq. 7 answers what the VAE makes of x).
        """
        if not len(x) == len(area) == len(seeds) <= self._params.forward_batch:
            raise ValueError(
                f"expected as many areas and seeds as images and at most forward_batch={self._params.forward_batch}, "
                f"got {len(x)} images, {len(area)} areas, {len(seeds)} seeds"
            )
        found: Image = bytes_of(torch.from_numpy(x)).numpy()
        denoising = self._params.denoising
        live = np.flatnonzero(area.any(axis=(1, 2)))
        if len(live) and not (denoising.leakage == "strength" and denoising.strength == 0):
            words = prompts and [prompts[k] for k in live.tolist()]
            found[live] = self._painted(x[live], area[live], [seeds[k] for k in live.tolist()], words)
        return found

    @torch.no_grad()
    def _painted(self, x: Floats, area: Mask, seeds: list[int], prompts: list[str] | None) -> Image:
        """The same for areas that are not empty."""
        padding = self._params.forward_batch - len(x)
        pixels = torch.from_numpy(np.pad(x, ((0, padding), (0, 0), (0, 0), (0, 0)), mode="edge")).permute(0, 3, 1, 2)
        areas = torch.from_numpy(np.pad(area, ((0, padding), (0, 0), (0, 0)), mode="edge"))[:, None].float()
        words = prompts and [*prompts, *prompts[-1:] * padding]
        latents = self.latents(pixels.to(self._device), areas.to(self._device), [*seeds, *[0] * padding], words)
        found = bytes_of(decode(self.pipe.vae, latents)[: len(x)]).permute(0, 2, 3, 1)
        return found.contiguous().cpu().numpy()

    @torch.no_grad()
    def latents(
        self, pixels: Tensor, area: Tensor, seeds: Sequence[int], prompts: Sequence[str] | None = None
    ) -> Tensor:
        """Scaled latents of images (B, 3, R, R) on [-1, 1] with areas (B, 1, R, R) in {0, 1} repainted.

        B is `forward_batch`, one seed each, and one prompt where it is not the settings' own.
        """
        vae, denoising, size = self.pipe.vae, self._params.denoising, self._params.resolution
        area = kept_alive(area, self._kind.factor)
        if self._kind.takes_mask:
            raw, masked = encode(vae, torch.cat([pixels, pixels * (1 - area)])).chunk(2)
        else:
            raw = masked = encode(vae, pixels)  # the stock pipelines want a masked image and do not use it
        clean = scaled(vae, raw).to(self._dtype)
        texts = self._texts.rows(prompts, self._masked_guidance) if prompts else self._prompt
        found = self.pipe(
            **self._images(pixels, clean, masked), mask_image=area, **texts, height=size, width=size,
            strength=self._strength, num_inference_steps=denoising.steps, guidance_scale=self._scale,
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
            callback_on_step_end=self._leak(clean, area, seeds), output_type="latent",
        ).images  # fmt: skip
        return self.pipe._unpack_latents(found, size, size, self._kind.factor) if self._kind.flux else found

    def _images(self, pixels: Tensor, clean: Tensor, masked: Tensor) -> dict[str, Tensor]:
        """The image and the masked image as the family's call takes them."""
        if self._kind.family == "fill":
            self.pipe.clean, self.pipe.masked = clean, masked
            return {"image": (pixels / 2 + 0.5).clamp(0, 1)}
        if self._masked_guidance:
            self.pipe.null = null(self._params.denoising, clean, self._empty)
        return {"image": clean, "masked_image_latents": scaled(self.pipe.vae, masked).to(self._dtype)}

    def _leak(self, clean: Tensor, area: Tensor, seeds: Sequence[int]) -> Leak | None:
        """What comes after each step; None where the stock pipeline is left alone."""
        denoising = self._params.denoising
        strength = denoising.strength if denoising.leakage == "eq7" else 1.0
        if denoising.leakage != "eq7" and not (denoising.keep_outside and self._kind.takes_mask):
            return None
        # The pipeline draws its own noise first of all from generators of the same seeds.
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        noise = randn_tensor(clean.shape, generator=generators, device=clean.device, dtype=clean.dtype)
        small = shrunk(area, self._kind.factor).to(clean)
        if self._kind.flux:
            clean, noise, small = (self._packed(value) for value in (clean, noise, small.expand_as(clean)))
        return Leak(clean, noise, small, strength)

    def _packed(self, latents: Tensor) -> Tensor:
        return self.pipe._pack_latents(latents, *latents.shape)

    @torch.no_grad()
    def _encoded_nothing(self) -> Tensor:
        size = self._params.resolution
        return scaled(self.pipe.vae, encode(self.pipe.vae, torch.zeros(1, 3, size, size, device=self._device)))


def check_outside(kind: PipelineKind, denoising: Denoising) -> None:
    """Raise `Refused` where the outside would be brought back in spite of `keep_outside`."""
    if denoising.keep_outside is not False:
        return
    if denoising.leakage == "eq7":
        raise Refused("leakage=eq7 sets the outside back after every step: leave denoising.keep_outside out")
    if not kind.takes_mask:
        raise Refused(
            f"denoising.keep_outside=false: this model ({kind.family}, {kind.inputs} channels) does not see the area, "
            "and its pipeline brings the outside back after every step; take a 9-channel UNet or Flux Fill, or leave "
            "keep_outside out"
        )


def start_strength(kind: PipelineKind, denoising: Denoising) -> float:
    """The stock pipelines' `strength`: the share of the steps that is run, 1 is from pure noise.

    Raises `Refused` where no step is left of `full_strength`.
    """
    if denoising.leakage == "strength":
        return denoising.strength
    full = denoising.full_strength or (NEARLY_FULL if kind.family == "xl" else 1.0)
    if int(denoising.steps * full) < 1:
        raise Refused(
            f"full_strength {full} of {denoising.steps} step(s) is no step at all: raise denoising.steps, or set "
            "denoising.full_strength=1 for pure noise"
        )
    return full


def guidance_scale(kind: PipelineKind, denoising: Denoising) -> float:
    """The stock pipelines' argument: 1 + w for UNets (1 is no guidance), w for Flux."""
    if denoising.guidance == "none":
        return 1.0
    if denoising.guidance == "mask" and not kind.mask_guided:
        log.warning("mask guidance (Eq. 11) is off: a %s with %d channels has no input for it", kind.body, kind.inputs)
        return denoising.guidance_weight if kind.flux else 1.0
    return denoising.guidance_weight if kind.flux else 1 + denoising.guidance_weight


def null(denoising: Denoising, clean: Tensor, empty: Any) -> Null:
    """The unconditional row: all to be painted and nothing shown, nothing to be painted and all shown, or as given."""
    if denoising.null_mask == "zero":
        return Null(0.0, clean)
    return Null(1.0 if denoising.null_mask == "full" else None, empty)
