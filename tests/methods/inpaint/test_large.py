"""The real architectures at their real width on a CPU, with random weights, through the command line.

`make test-large`, by hand: gigabytes are written and minutes pass, so the suite leaves them out. What it holds is that
the folders' layout, the configurations as they are published, and every option that is on by default fit together.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

pytestmark = pytest.mark.large

SD15 = "stable-diffusion-v1-5/stable-diffusion-inpainting"
SDXL = "diffusers/stable-diffusion-xl-1.0-inpainting-0.1"
LEVELS: dict[str, Any] = {
    "act_fn": "silu", "block_out_channels": (128, 256, 512, 512), "down_block_types": ["DownEncoderBlock2D"] * 4,
    "latent_channels": 4, "layers_per_block": 2, "norm_num_groups": 32, "up_block_types": ["UpDecoderBlock2D"] * 4,
}  # fmt: skip
NOISE: dict[str, Any] = {
    "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1,
}  # fmt: skip


def filled(kind: Any, **config: Any) -> Any:
    """A model of that configuration in bfloat16 with random weights, made without its own slow initialisation."""
    with torch.device("meta"):
        model = kind.from_config(config).to(torch.bfloat16)
    model = model.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data.normal_(0, (1 / parameter[0].numel()) ** 0.5, generator=generator)
        else:
            parameter.data.zero_()
    for name, module in model.named_modules():
        if "norm" in name and getattr(module, "weight", None) is not None:
            module.weight.data.fill_(1)
    return model.eval()


def sd15() -> Any:
    unet = filled(
        diffusers.UNet2DConditionModel, sample_size=64, in_channels=9, out_channels=4, attention_head_dim=8,
        cross_attention_dim=768, block_out_channels=(320, 640, 1280, 1280), layers_per_block=2,
    )  # fmt: skip
    return diffusers.StableDiffusionInpaintPipeline(
        vae=filled(diffusers.AutoencoderKL, sample_size=512, **LEVELS), text_encoder=None, tokenizer=None, unet=unet,
        scheduler=diffusers.PNDMScheduler(skip_prk_steps=True, **NOISE), safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip


def sdxl() -> Any:
    unet = filled(
        diffusers.UNet2DConditionModel, sample_size=128, in_channels=9, out_channels=4, layers_per_block=2,
        block_out_channels=(320, 640, 1280), attention_head_dim=(5, 10, 20), cross_attention_dim=2048,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), use_linear_projection=True,
        transformer_layers_per_block=(1, 2, 10), addition_embed_type="text_time", addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=2816,
    )  # fmt: skip
    return diffusers.StableDiffusionXLInpaintPipeline(
        vae=filled(diffusers.AutoencoderKL, sample_size=1024, scaling_factor=0.13025, **LEVELS), text_encoder=None,
        tokenizer=None, text_encoder_2=None, tokenizer_2=None, unet=unet,
        scheduler=diffusers.EulerDiscreteScheduler(**NOISE), add_watermarker=False,
    )  # fmt: skip


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Path]:
    """A folder for weights and results whose gigabytes are gone after the test."""
    yield tmp_path
    shutil.rmtree(tmp_path)


def room(gigabytes: float, desk: Path) -> None:
    free, disk = psutil.virtual_memory().available / 1e9, shutil.disk_usage(desk).free / 1e9
    if min(free, disk) < gigabytes:
        pytest.skip(f"needs {gigabytes:.0f} GB of memory and of disk, here are {free:.0f} and {disk:.0f}")


def saved(make: Callable[[], Any], folder: Path, **embeds: tuple[int, ...]) -> int:
    """Write the pipeline in diffusers' layout with its prompt's embeddings; the parameters that it has."""
    from safetensors.torch import save_file

    pipe = make()
    parameters = sum(part.numel() for model in (pipe.unet, pipe.vae) for part in model.parameters())
    pipe.save_pretrained(folder)
    save_file(
        {name: torch.zeros(shape) for name, shape in embeds.items()},
        folder / "prompt_embeds.safetensors",
        {"prompt": ""},
    )
    return parameters


def bench(desk: Path, method: str, *changes: str) -> dict[str, Any]:
    """One instance through the command line; the run's record."""
    command = [sys.executable, "-P", "-m", "amodal_bench", "bench", "--method", method, "--dataset", "synthetic"]
    command += ["--limit", "1", "--weights", str(desk / "weights"), "--results", str(desk / "results")]
    start = time.monotonic()
    done = subprocess.run(
        [*command, *(part for change in changes for part in ("--set", change))],
        capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (record,) = (json.loads(path.read_bytes()) for path in (desk / "results").rglob("run.json"))
    assert record["status"] == "complete", record
    peak = re.search(r'"peak_memory_mb": ([\d.]+)', json.dumps(record))
    told = f"{time.monotonic() - start:.0f} s, peak {peak[1] if peak else '?'} MB"
    sys.stdout.write(f"\n{method} {' '.join(changes)}: {told}\n")
    return record


NANO = ("segmenter.type=nano", "segmenter.checkpoint=sam-nano/synthetic/model.safetensors")


def test_stable_diffusion_15_at_128_pixels(desk: Path) -> None:
    room(7, desk)
    folder = desk / "weights" / SD15
    assert saved(sd15, folder, prompt_embeds=(1, 77, 768)) == pytest.approx(943e6, rel=0.01)  # 860 and 84 million
    bench(desk, "inpaint-sd15", "resolution=128", *NANO)


def test_stable_diffusion_xl_at_64_pixels(desk: Path) -> None:
    """In bfloat16: 2.57 billion parameters are 5 GB there."""
    room(13, desk)
    folder = desk / "weights" / SDXL
    shapes = {"prompt_embeds": (1, 77, 2048), "pooled_prompt_embeds": (1, 1280)}
    assert saved(sdxl, folder, **shapes) == pytest.approx(2651e6, rel=0.01)
    bench(desk, "inpaint-sdxl", "resolution=64", "backbone.dtype=bfloat16", *NANO)


def test_sam_vit_b_at_1024_pixels(desk: Path) -> None:
    room(4, desk)
    segment_anything = pytest.importorskip("segment_anything")
    (desk / "weights").mkdir()
    torch.manual_seed(0)
    sam = segment_anything.build_sam_vit_b()
    assert sum(part.numel() for part in sam.parameters()) == pytest.approx(93.7e6, rel=0.01)
    torch.save(sam.state_dict(), desk / "weights" / "sam_vit_b_01ec64.pth")
    del sam
    bench(desk, "sam-vit-b")
