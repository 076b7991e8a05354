"""Training of the tiny inpainting pipeline: the codec's decoder, then the UNet; a diffusers folder comes out."""

import json
import shutil
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderTiny, DDIMScheduler, UNet2DConditionModel
from safetensors import SafetensorError
from safetensors.torch import save
from torch import Tensor, nn

from amodal_bench.errors import Refused
from amodal_bench.files.cache import write_atomic
from amodal_bench.methods._training import weights
from amodal_bench.methods._training.accelerator import accelerator_of
from amodal_bench.methods._training.trainer import Trainer
from amodal_bench.plugin import AnyDataset, TrainingRun
from amodal_bench.running.validate import prefix

from .batches import Holes
from .codec import LATENTS, codec, learn_decoder, set_encoder
from .params import InpaintParams, InpaintTraining

TEXT = 16  # width of the one embedding that stands for the empty prompt
_CODEC = "codec.safetensors"
_POOL = 768  # images that the codec is fitted to
_OUTSIDE = 0.05  # weight of a known pixel's error, that of a repainted one being 1
_LAST = 999  # t = T - 1, where sampling begins
_HEAD = 32  # channels of an attention head


def unet(size: int, channels: tuple[int, ...], layers: int) -> UNet2DConditionModel:
    """A 9-channel UNet for latents of side `size`, with attention at the lowest resolution."""
    levels = len(channels)
    return UNet2DConditionModel(
        sample_size=size,
        in_channels=2 * LATENTS + 1,
        out_channels=LATENTS,
        layers_per_block=layers,
        block_out_channels=channels,
        down_block_types=("DownBlock2D",) * (levels - 1) + ("CrossAttnDownBlock2D",),
        up_block_types=("CrossAttnUpBlock2D",) + ("UpBlock2D",) * (levels - 1),
        attention_head_dim=channels[-1] // _HEAD,
        cross_attention_dim=TEXT,
        norm_num_groups=8,
    )


def scheduler() -> DDIMScheduler:
    """The network predicts the clean latents: in an hour on a CPU, predicting noise or velocity stays noise."""
    return DDIMScheduler(
        beta_schedule="squaredcos_cap_v2",
        prediction_type="sample",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,  # of no effect with this spacing; diffusers calls 0 outdated
        timestep_spacing="trailing",
    )


def train(params: InpaintParams, data: AnyDataset, val: AnyDataset, run: TrainingRun) -> None:
    """Train, or go on from what was kept in `run.out`; leaves run.out/pipeline and model.safetensors."""
    config: InpaintTraining = run.config
    accelerator = accelerator_of(run)
    path = run.out / _CODEC
    if not path.is_file() and accelerator.is_main_process:
        torch.manual_seed(run.seed)  # before the decoder's first weights are drawn
        fitted = _codec(config)
        if not config.start:
            _fit_codec(fitted, Holes(data, params, config, run.seed + 1), config, run)
        weights.save(fitted, path, run.metadata, half=False)
    accelerator.wait_for_everyone()
    # Read again even where it was just fitted: that one's memory format is another, and so would its roundings be,
    # on some processors, from those of a training that is resumed.
    vae = _codec(config)
    weights.load(vae, path)
    torch.manual_seed(run.seed)
    network = (
        _read(UNet2DConditionModel, config.start / "unet")
        if config.start
        else unet(params.resolution // 2, config.channels, config.layers)
    )
    InpaintTrainer(params, vae.eval().requires_grad_(False), network, data, val, run, accelerator).fit()


def _codec(config: InpaintTraining) -> AutoencoderTiny:
    return _read(AutoencoderTiny, config.start / "vae") if config.start else codec(config.codec_width)


def _read(part: Any, folder: Path) -> Any:
    """A part of a pipeline in float32; raises `Refused` where the folder does not hold it."""
    if not (folder / "config.json").is_file():
        raise Refused(f"train.start: {folder} is no part of a pipeline: name the folder with model_index.json")
    try:
        return part.from_pretrained(folder, local_files_only=True).float()
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise Refused(f"train.start: {folder} cannot be loaded: {error}") from error


def _fit_codec(vae: AutoencoderTiny, items: Holes, config: InpaintTraining, run: TrainingRun) -> None:
    rng = np.random.default_rng([run.seed, 1])
    indices = rng.integers(len(items), size=_POOL)
    pool = scaled(torch.stack([items[0, int(index)][0] for index in indices]))
    set_encoder(vae, pool)
    images = (pool[rng.integers(_POOL, size=config.batch_size)] for _ in count())
    error = learn_decoder(vae, images, config.codec_steps)
    decibel = -10 * float(np.log10(error)) if error else float("nan")
    run.monitor.note(f"codec: {decibel:.1f} dB after {config.codec_steps} steps")


def scaled(images: Tensor) -> Tensor:
    """uint8 to [-1, 1]."""
    return images.float() / 127.5 - 1


class InpaintTrainer(Trainer):
    """Predict the clean latents in a hole from noised ones at a random time."""

    config: InpaintTraining
    scores: ClassVar[tuple[str, ...]] = ("val_error", "val_n")

    def __init__(self, params: InpaintParams, vae: AutoencoderTiny, network: nn.Module, *parts: Any) -> None:
        super().__init__(network, *parts)
        self.params = params
        self.vae = vae.to(self.accelerator.device)
        self.items = Holes(self.data, params, self.config, self.run.seed)
        self.watching: Holes | None = None  # with others of its own, which are read once
        self.scheduler = scheduler()

    def loss(self, batch: list[Tensor]) -> Tensor:
        """L2 and L1 of the clean latents, at times of which half are in the noisiest quarter, or at the last one.

        What is known counts little: `denoising.keep_outside` can bring it back, so few weights should copy it.
        """
        image, hole = batch
        share = 1 - self.chance.uniform().square()
        t = (share * self.scheduler.config.num_train_timesteps).long().clamp(max=_LAST)
        if self.config.times == "last":
            t = torch.full_like(t, _LAST)
        latents, known, mask = self._encoded(image, hole)
        noise = self.chance.normal(*latents.shape[1:])
        found = self._denoised(self.model, latents, known, mask, noise, t)
        error = self.config.l1 * (found - latents).abs() + (found - latents).square()
        weight = _OUTSIDE + (1 - _OUTSIDE) * mask
        axes = (1, 2, 3)
        # Image by image, so that a batch's loss is the mean of its parts': processes and parts of a step may share it.
        return ((error * weight).sum(axes) / (weight.sum(axes) * LATENTS)).mean()

    def validate(self, best: nn.Module) -> tuple[dict[str, float], str] | None:
        """Mean squared error in the holes of a prefix of the validation split, over five times or at the last."""
        indices = prefix(self.val, self.config.val_limit)
        if not indices:
            return None
        self.watching = self.watching or Holes(self.val, self.params, self.config, self.run.seed)
        items = self.watching
        errors = []
        generator = torch.Generator().manual_seed(self.run.seed)
        best.eval()
        for start in range(0, len(indices), self.config.batch_size):
            drawn = [items[0, index] for index in indices[start : start + self.config.batch_size]]
            image, hole = (torch.stack(parts).to(self.accelerator.device) for parts in zip(*drawn, strict=True))
            latents, known, mask = self._encoded(image, hole)
            for time in (_LAST,) if self.config.times == "last" else (199, 399, 599, 799, _LAST):
                noise = torch.randn(latents.shape, generator=generator).to(latents.device)
                t = torch.full((len(image),), time)
                with torch.no_grad():
                    found = self._denoised(best, latents, known, mask, noise, t)
                errors.append(float(((found - latents).square() * mask).sum() / (mask.sum() * LATENTS)))
        mean = sum(errors) / len(errors)
        return {"val_error": mean, "val_n": len(indices)}, f"error {mean:.4f} in {len(indices)} holes of {self.watched}"

    def ship(self, best: nn.Module, metadata: dict[str, str]) -> None:
        """The pipeline's folder first: model.safetensors says that all is there."""
        folder = self.run.out / "pipeline"
        shutil.rmtree(folder, ignore_errors=True)
        write_pipeline(folder, best, self.vae, self.config.save_fp16, metadata)
        super().ship(best, metadata)

    def _encoded(self, image: Tensor, hole: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Latents of the image and of what is known of it, the mask at their resolution."""
        pixels = scaled(image)
        with torch.no_grad():
            both = self.vae.encode(torch.cat([pixels, pixels * ~hole])).latents
        mask = F.interpolate(hole.float(), scale_factor=0.5)
        return both[: len(image)], both[len(image) :], mask

    def _denoised(
        self, model: nn.Module, latents: Tensor, known: Tensor, mask: Tensor, noise: Tensor, t: Tensor
    ) -> Tensor:
        noised = self.scheduler.add_noise(latents, noise, t)
        inputs = torch.cat([noised, mask, known], dim=1)
        if self.config.channels_last:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        text = torch.zeros(len(latents), 1, TEXT, device=latents.device)
        with self.accelerator.autocast():
            found: Tensor = model(inputs, t.to(latents.device), text, return_dict=False)[0]
        return found.float()


def write_pipeline(
    folder: Path, network: nn.Module, vae: AutoencoderTiny, half: bool, metadata: Mapping[str, str]
) -> None:
    """A StableDiffusionInpaintPipeline in the standard folder format, without text encoder: its embedding is stored."""
    parts, header = {"unet": network, "vae": vae}, {**metadata, "format": "pt"}
    for name, part in parts.items():
        part.save_config(folder / name)
        weights.save(part, folder / name / "diffusion_pytorch_model.safetensors", header, half)
    scheduler().save_pretrained(folder / "scheduler")
    index = {
        "_class_name": "StableDiffusionInpaintPipeline",
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": [None, None],
        "tokenizer": [None, None],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderTiny"],
    }
    write_atomic(folder / "model_index.json", (json.dumps(index, indent=2) + "\n").encode())
    embedding = save({"prompt_embeds": torch.zeros(1, 1, TEXT)}, {"prompt": ""})
    write_atomic(folder / "prompt_embeds.safetensors", embedding)
