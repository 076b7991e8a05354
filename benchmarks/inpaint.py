"""How fast is inpainting and segmenting? Every figure beside its peer in the same run.

    python benchmarks/inpaint.py

Bar: the batched method at least 1.5x the instances a second of a plain loop at equal masks. The plain loop makes one
stock pipeline call with its text encoder and one SamPredictor call an instance; both run the same small models with
random weights (9-channel UNet, six of twenty steps, no guidance). Also printed: where the batched method's time goes,
with and without Eq. 11, and what the published backbones cost an instance, from counted operations.
"""

import string
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionInpaintPipeline, UNet2DConditionModel
from diffusers.utils import logging
from rich.console import Console
from rich.table import Table
from segment_anything import SamPredictor
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer
from transformers.utils import logging as transformers_logging

import amodal_bench as ab
from amodal_bench.methods._segment.points import draw_points
from amodal_bench.methods._segment.sam import SamSegmenter
from amodal_bench.methods._window import cut_image, cut_visible, find_window, paste
from amodal_bench.methods.inpaint import Inpaint, InpaintParams
from amodal_bench.methods.inpaint.condition import condition
from amodal_bench.methods.inpaint.diffusion import DiffusionFill
from amodal_bench.store.spec import instance_seed
from amodal_bench.types import AmodalQuery, Mask

INSTANCES, REPEATS, BATCH, SIDE = 24, 3, 8, 128
console = Console(width=120)

# TFLOP, one multiplication with its addition counted as two, on the architectures: a call of the denoising network,
# an image encoded, decoded; then calls and encoded images an instance at strength .3 of 20 steps.
COSTS: Mapping[str, tuple[float, float, float, int, int]] = {
    "SD 1.5, 512": (0.80, 1.12, 2.52, 7, 2),
    "SD 2, 512": (0.80, 1.12, 2.52, 7, 2),
    "SDXL, 1024": (6.76, 4.88, 10.47, 6, 2),
    "FLUX.1 schnell, 1024": (74.4, 4.88, 10.47, 6, 1),
    "FLUX.1 Fill, 1024": (74.4, 4.88, 10.47, 6, 2),
}
SAM_H = 5.96


def pipeline(folder: Path) -> None:
    """A small Stable Diffusion with random weights, its text encoder included."""
    torch.manual_seed(0)
    words = [*string.ascii_lowercase, *(letter + "</w>" for letter in string.ascii_lowercase)]
    vocabulary = {word: k for k, word in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])}
    text = CLIPTextConfig(
        hidden_size=128, intermediate_size=512, num_attention_heads=4, num_hidden_layers=6, vocab_size=len(vocabulary),
        bos_token_id=len(words), eos_token_id=len(words) + 1, pad_token_id=0,
    )  # fmt: skip
    unet = UNet2DConditionModel(
        sample_size=16, in_channels=9, out_channels=4, block_out_channels=(64, 128), layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=128, attention_head_dim=4, norm_num_groups=8,
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(8, 16, 32, 32), down_block_types=["DownEncoderBlock2D"] * 4, layers_per_block=1,
        up_block_types=["UpDecoderBlock2D"] * 4, latent_channels=4, norm_num_groups=8,
    )  # fmt: skip
    scheduler = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False)
    scheduler.register_to_config(steps_offset=1)
    StableDiffusionInpaintPipeline(
        vae=vae, text_encoder=CLIPTextModel(text), unet=unet, scheduler=scheduler, safety_checker=None,
        tokenizer=CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77), feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)  # fmt: skip


def sam() -> Sam:
    """A small SAM with random weights."""
    torch.manual_seed(1)
    encoder = ImageEncoderViT(
        img_size=SIDE, patch_size=8, embed_dim=96, depth=4, num_heads=4, window_size=8, global_attn_indexes=(1, 3),
        out_chans=64, use_rel_pos=True,
    )  # fmt: skip
    side = SIDE // 8
    prompts = PromptEncoder(
        embed_dim=64, image_embedding_size=(side, side), input_image_size=(SIDE, SIDE), mask_in_chans=8
    )
    decoder = MaskDecoder(
        transformer_dim=64, transformer=TwoWayTransformer(depth=2, embedding_dim=64, mlp_dim=128, num_heads=4)
    )
    return Sam(encoder, prompts, decoder).eval()


def asked(guidance: str) -> InpaintParams:
    """The paper's parameters at a small size."""
    denoising, region = {"guidance": guidance}, {"mode": "square", "masks": "area"}
    return InpaintParams.model_validate(
        {"resolution": SIDE, "forward_batch": BATCH, "denoising": denoising, "region": region}
    )


def plain(pipe: Any, predictor: SamPredictor, query: AmodalQuery, seed: int, params: InpaintParams) -> Mask:
    """One instance with the libraries' own calls; latents are encoded first, as a mode leaves the noise its seed."""
    window, generator = find_window(query.visible, params.region), np.random.default_rng(seed)
    visible = cut_visible(query.visible, window, SIDE, by_area=True)
    conditioned = condition(cut_image(query.image, window, SIDE), visible, params.condition, generator)
    x, area = (
        torch.from_numpy(conditioned.x).permute(2, 0, 1)[None],
        torch.from_numpy(conditioned.area)[None, None].float(),
    )
    with torch.no_grad():
        clean, masked = (
            pipe.vae.encode(image).latent_dist.mode() * pipe.vae.config.scaling_factor for image in (x, x * (1 - area))
        )
    found = pipe(
        prompt="", image=clean, mask_image=area, masked_image_latents=masked, height=SIDE, width=SIDE, strength=0.3,
        num_inference_steps=20, guidance_scale=1.0, generator=[torch.Generator().manual_seed(seed)], output_type="np",
    ).images[0]  # fmt: skip
    predictor.set_image((found * 255).round().astype(np.uint8))
    points = draw_points(visible, params.segmenter, generator)
    logits = predictor.predict(points, np.ones(len(points)), multimask_output=False, return_logits=True)[0][0]
    return paste(logits, window, query.visible.shape, above=0.0)


def timed(owner: Any, name: str, spent: dict[str, float], part: str) -> None:
    """Add up the seconds of a method's calls from now on."""
    inner: Callable[..., Any] = getattr(owner, name)

    def outer(*args: Any, **named: Any) -> Any:
        start = time.perf_counter()
        found = inner(*args, **named)
        spent[part] += time.perf_counter() - start
        return found

    setattr(owner, name, outer)


def made(folder: Path, guidance: str) -> tuple[Inpaint, DiffusionFill]:
    """The method with the small models."""
    params = asked(guidance)
    method, fill = Inpaint(params), DiffusionFill(folder, params, "cpu")
    method.use(fill, SamSegmenter(sam(), params.segmenter, "cpu", BATCH))
    return method, fill


def against_a_plain_loop(folder: Path, queries: Sequence[AmodalQuery], seeds: Sequence[int]) -> None:
    """Batched and one by one, in turns; the medians."""
    method, _ = made(folder, "none")
    pipe, predictor = StableDiffusionInpaintPipeline.from_pretrained(folder), SamPredictor(sam())
    pipe.set_progress_bar_config(disable=True)
    seconds: dict[str, list[float]] = {"plain loop": [], "batched": []}
    for _ in range(REPEATS):
        start = time.perf_counter()
        one_by_one = [plain(pipe, predictor, q, s, method.params) for q, s in zip(queries, seeds, strict=True)]
        middle = time.perf_counter()
        batched = method.predict(queries, seeds)
        seconds["plain loop"].append(middle - start)
        seconds["batched"].append(time.perf_counter() - middle)
    rates = {name: len(queries) / float(np.median(values)) for name, values in seconds.items()}
    for name, rate in rates.items():
        console.print(f"{name:<12}{rate:6.1f} instances/s")
    pairs = list(zip(one_by_one, batched, strict=True))
    same = sum(bool(np.array_equal(a, b)) for a, b in pairs)
    apart = sum(int((a ^ b).sum()) for a, b in pairs) / sum(int((a | b).sum()) for a, b in pairs)
    gain = rates["batched"] / rates["plain loop"]
    console.print(
        f"batched / plain: {gain:.2f}x (bar 1.5), {same} of {len(pairs)} masks identical, {apart:.1e} of pixels apart"
    )


def where_time_goes(folder: Path, queries: Sequence[AmodalQuery], seeds: Sequence[int]) -> None:
    """Milliseconds an instance of every part, without and with the second row of Eq. 11."""
    shown = Table("guidance", "encode", "denoise", "decode", "segment", "condition and the rest", "ms an instance")
    for guidance in ("none", "mask"):
        method, fill = made(folder, guidance)
        spent = dict.fromkeys(("encode", "denoise", "decode", "segment"), 0.0)
        timed(fill.pipe.vae, "encode", spent, "encode")
        timed(fill.pipe.vae, "decode", spent, "decode")
        timed(fill.pipe.unet, "forward", spent, "denoise")
        timed(method._segmenter, "segment", spent, "segment")
        method.predict(queries, seeds)
        spent.update(dict.fromkeys(spent, 0.0))
        start = time.perf_counter()
        method.predict(queries, seeds)
        total = time.perf_counter() - start
        parts = [*spent.values(), total - sum(spent.values()), total]
        shown.add_row(guidance, *(f"{1000 * seconds / len(queries):.1f}" for seconds in parts))
    console.print(shown)


def published() -> None:
    """What an instance of the published backbones takes, SAM ViT-H included."""
    shown = Table("backbone", "calls", "denoise", "VAE", "SAM-H", "TFLOP", "with Eq. 11", "s at 100 TFLOP/s", "h, 10k")
    for name, (call, encode, decode, calls, encodes) in COSTS.items():
        denoise, vae = call * calls, encode * encodes + decode
        total = denoise + vae + SAM_H
        nulled = "-" if "FLUX" in name else f"{total + denoise:.0f}"
        hours = total * 1e4 / 100 / 3600
        shown.add_row(
            name, str(calls), f"{denoise:.1f}", f"{vae:.1f}", f"{SAM_H:.1f}", f"{total:.0f}", nulled,
            f"{total / 100:.2f}", f"{hours:.1f}",
        )  # fmt: skip
    console.print(shown)


def main() -> None:
    """All of it."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    dataset = ab.load_dataset("synthetic")
    queries = [dataset[index].query for index in range(INSTANCES)]
    seeds = [instance_seed(0, query.id) for query in queries]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "small"
        pipeline(folder)
        against_a_plain_loop(folder, queries, seeds)
        where_time_goes(folder, queries, seeds)
    published()


if __name__ == "__main__":
    main()
