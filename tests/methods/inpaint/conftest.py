"""Tiny pipelines of every family with random weights, built once a session and saved as their folders."""

import json
import shutil
import string
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amodal_bench.methods.inpaint.params import InpaintParams

SIZES = {"sd9": 64, "sd4": 64, "xl": 64, "flux": 128, "fill": 128, "nano": 64}
_WORDS = [*string.ascii_lowercase, *(letter + "</w>" for letter in string.ascii_lowercase)]
Folders = Callable[..., Path]


class _Maker:
    """Builds each family's parts; everything as small as the families allow."""

    def __init__(self) -> None:
        import diffusers
        import torch
        import transformers

        self.d, self.t, self.torch = diffusers, transformers, torch
        for library in (diffusers, transformers):
            library.utils.logging.set_verbosity_error()
            library.utils.logging.disable_progress_bar()

    def clip(self, width: int, projected: bool = False) -> Any:
        config = self.t.CLIPTextConfig(
            hidden_size=width, intermediate_size=32, num_attention_heads=2, num_hidden_layers=2, projection_dim=width,
            vocab_size=len(_WORDS) + 2, bos_token_id=len(_WORDS), eos_token_id=len(_WORDS) + 1, pad_token_id=0,
        )  # fmt: skip
        return (self.t.CLIPTextModelWithProjection if projected else self.t.CLIPTextModel)(config)

    def words(self) -> Any:
        vocab = {word: k for k, word in enumerate([*_WORDS, "<|startoftext|>", "<|endoftext|>"])}
        return self.t.CLIPTokenizer(vocab=vocab, merges=[], model_max_length=77)

    def vae(self, channels: int, **more: Any) -> Any:
        return self.d.AutoencoderKL(
            block_out_channels=(8, 16, 16, 16), down_block_types=["DownEncoderBlock2D"] * 4, latent_channels=channels,
            up_block_types=["UpDecoderBlock2D"] * 4, norm_num_groups=4, layers_per_block=1, sample_size=64, **more,
        )  # fmt: skip

    def unet(self, channels: int, cross: int, **more: Any) -> Any:
        return self.d.UNet2DConditionModel(
            sample_size=64, in_channels=channels, out_channels=4, block_out_channels=(16, 32), layers_per_block=1,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), cross_attention_dim=cross, attention_head_dim=8,
            norm_num_groups=8, **more,
        )  # fmt: skip

    def ddim(self, **more: Any) -> Any:
        """As the published configurations of Stable Diffusion have it."""
        return self.d.DDIMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1,
            **{"clip_sample": False, "set_alpha_to_one": False, **more},
        )  # fmt: skip

    def sd9(self, channels: int = 9) -> Any:
        return self.d.StableDiffusionInpaintPipeline(
            vae=self.vae(4), text_encoder=self.clip(16), tokenizer=self.words(), unet=self.unet(channels, 16),
            scheduler=self.ddim(), safety_checker=None, feature_extractor=None, requires_safety_checker=False,
        )  # fmt: skip

    def sd4(self) -> Any:
        return self.sd9(4)

    def xl(self) -> Any:
        unet = self.unet(
            9, 32, addition_embed_type="text_time", addition_time_embed_dim=8, use_linear_projection=True,
            projection_class_embeddings_input_dim=6 * 8 + 16,
        )  # fmt: skip
        return self.d.StableDiffusionXLInpaintPipeline(
            vae=self.vae(4, scaling_factor=0.13025), text_encoder=self.clip(16), tokenizer=self.words(),
            text_encoder_2=self.clip(16, projected=True), tokenizer_2=self.words(), unet=unet, scheduler=self.ddim(),
            add_watermarker=False,
        )  # fmt: skip

    def flux(self, fill: bool = False) -> Any:
        t5 = self.t.T5Config(vocab_size=64, d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
        pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((letter, -1.0) for letter in string.ascii_lowercase)]
        transformer = self.d.FluxTransformer2DModel(
            patch_size=1, in_channels=384 if fill else 64, out_channels=64 if fill else None, num_layers=1,
            num_single_layers=1, attention_head_dim=16, num_attention_heads=2, joint_attention_dim=32,
            pooled_projection_dim=16, axes_dims_rope=(4, 4, 8), guidance_embeds=fill,
        )  # fmt: skip
        plain = {"use_quant_conv": False, "use_post_quant_conv": False}
        return (self.d.FluxFillPipeline if fill else self.d.FluxInpaintPipeline)(
            vae=self.vae(16, shift_factor=0.1159, scaling_factor=0.3611, **plain), text_encoder=self.clip(16),
            tokenizer=self.words(), text_encoder_2=self.t.T5EncoderModel(t5),
            tokenizer_2=self.t.T5TokenizerFast(vocab=pieces, extra_ids=0, model_max_length=512),
            transformer=transformer, scheduler=self.d.FlowMatchEulerDiscreteScheduler(shift=1.0),
        )  # fmt: skip

    def fill(self) -> Any:
        return self.flux(fill=True)

    def nano(self) -> Any:
        """No text encoder, no attention, a tiny autoencoder of factor 4, a network that predicts the clean latents."""
        unet = self.d.UNet2DConditionModel(
            sample_size=16, in_channels=9, out_channels=4, block_out_channels=(16, 32), layers_per_block=1,
            down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"),
            mid_block_type="UNetMidBlock2D", cross_attention_dim=8, attention_head_dim=8, norm_num_groups=8,
        )  # fmt: skip
        vae = self.d.AutoencoderTiny(
            encoder_block_out_channels=(8, 8, 8), decoder_block_out_channels=(8, 8, 8),
            num_encoder_blocks=(1, 1, 1), num_decoder_blocks=(1, 1, 1),
        )  # fmt: skip
        scheduler = self.d.DDIMScheduler(
            beta_schedule="squaredcos_cap_v2", prediction_type="sample", clip_sample=False, steps_offset=1
        )
        return self.d.StableDiffusionInpaintPipeline(
            vae=vae, text_encoder=None, tokenizer=None, unet=unet, scheduler=scheduler, safety_checker=None,
            feature_extractor=None, requires_safety_checker=False,
        )  # fmt: skip


def _save(name: str, folder: Path) -> Path:
    maker = _Maker()
    maker.torch.manual_seed(7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        getattr(maker, name)().save_pretrained(folder)
    if name == "nano":
        from safetensors.torch import save_file

        embeds = {"prompt_embeds": maker.torch.randn(1, 3, 8)}
        save_file(embeds, folder / "prompt_embeds.safetensors", metadata={"prompt": ""})
    return folder


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """The folder of a tiny pipeline: `folder("sd9")`, also sd4, xl, flux, fill, nano. Not to be written to."""
    made: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in made:
            made[name] = _save(name, tmp_path_factory.mktemp("pipelines") / name)
        return made[name]

    return get


@pytest.fixture
def changed(folder: Folders, tmp_path: Path) -> Folders:
    """A copy with keys of one configuration file changed: `changed("sd9", "unet/config.json", in_channels=5)`."""

    def make(name: str, file: str, **values: Any) -> Path:
        copy = tmp_path / name
        shutil.copytree(folder(name), copy, dirs_exist_ok=True)
        path = copy / file
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
        return copy

    return make


def parameters(name: str, batch: int = 1, backbone: dict[str, Any] | None = None, **denoising: Any) -> InpaintParams:
    """Parameters for a tiny pipeline; what is not given is the paper's."""
    return InpaintParams.model_validate(
        {"resolution": SIZES[name], "forward_batch": batch, "backbone": backbone or {}, "denoising": denoising}
    )


@pytest.fixture(scope="session")
def fill(folder: Folders) -> Callable[..., Any]:
    """A loaded fill: `fill("sd9", batch=4, steps=10)`; equal requests share one."""
    from amodal_bench.methods.inpaint.diffusion import DiffusionFill

    made: dict[str, Any] = {}

    def get(name: str, batch: int = 1, backbone: dict[str, Any] | None = None, **denoising: Any) -> Any:
        params = parameters(name, batch, backbone, **denoising)
        key = f"{name} {params.model_dump_json()}"
        if key not in made:
            made[key] = DiffusionFill(folder(name), params, "cpu")
        return made[key]

    return get


@pytest.fixture(scope="session")
def scenes() -> Callable[[str, int], tuple[Any, Any, list[int]]]:
    """Images, areas and seeds for a pipeline: `x, area, seeds = scenes("sd9", 4)`."""

    def make(name: str, count: int) -> tuple[Any, Any, list[int]]:
        rng, size = np.random.default_rng(3), SIZES[name]
        coarse = rng.uniform(-1, 1, (count, 8, 8, 3)).astype(np.float32)
        x = coarse.repeat(size // 8, axis=1).repeat(size // 8, axis=2)
        area = np.zeros((count, size, size), dtype=np.bool_)
        for k in range(count):
            area[k, size // 4 : size * 3 // 4, size // 8 * (k % 4) : size // 8 * (k % 4) + size // 2] = True
        return x, area, [2**62 + 11 * k for k in range(count)]

    return make


@pytest.fixture(scope="session")
def tensors(
    scenes: Callable[[str, int], tuple[Any, Any, list[int]]],
) -> Callable[[str, int], tuple[Any, Any, list[int]]]:
    """The same scenes as `DiffusionFill.latents` takes them."""
    import torch

    def make(name: str, count: int) -> tuple[Any, Any, list[int]]:
        x, area, seeds = scenes(name, count)
        return torch.from_numpy(x).permute(0, 3, 1, 2), torch.from_numpy(area)[:, None].float(), seeds

    return make


@pytest.fixture
def recorded() -> Callable[[Any], Any]:
    """`with recorded(pipe) as calls:` keeps (inputs, time, keyword arguments, output) of every call of its network."""

    @contextmanager
    def record(pipe: Any) -> Iterator[list[Any]]:
        calls: list[Any] = []

        def keep(module: Any, given: Any, named: Any, found: Any) -> None:
            values = dict(zip(("sample", "timestep"), given, strict=False)) | named
            x = values.get("sample", values.get("hidden_states"))
            calls.append((x.clone(), values["timestep"], values, found[0].clone()))

        hook = getattr(pipe, "unet", None) or pipe.transformer
        handle = hook.register_forward_hook(keep, with_kwargs=True)
        try:
            yield calls
        finally:
            handle.remove()

    return record
