"""The real architectures at their real width on a CPU, with random weights, through the command line.

`make test-large`, by hand: gigabytes are written and minutes pass, so the suite leaves them out. What it holds is that
the folders' layout, the configurations as they are published, and every option that is on by default fit together.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

from architectures import PUBLISHED  # noqa: E402

pytestmark = pytest.mark.large

SD15 = "stable-diffusion-v1-5/stable-diffusion-inpainting"
SDXL = "diffusers/stable-diffusion-xl-1.0-inpainting-0.1"
CLASSES = {"sd": "StableDiffusionInpaintPipeline", "xl": "StableDiffusionXLInpaintPipeline"}
WITHOUT = {
    "sd": dict.fromkeys(("text_encoder", "tokenizer", "safety_checker", "feature_extractor"))
    | {"requires_safety_checker": False},
    "xl": dict.fromkeys(("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2")) | {"add_watermarker": False},
}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Path]:
    """A folder for weights and results whose gigabytes are gone after the test."""
    yield tmp_path
    shutil.rmtree(tmp_path)


def room(gigabytes: float, desk: Path) -> None:
    free, disk = psutil.virtual_memory().available / 1e9, shutil.disk_usage(desk).free / 1e9
    if min(free, disk) < gigabytes:
        pytest.skip(f"needs {gigabytes:.0f} GB of memory and of disk, here are {free:.0f} and {disk:.0f}")


def saved(name: str, folder: Path) -> int:
    """Write the pipeline in diffusers' layout, bfloat16, with its prompt's embeddings; how many parameters it has."""
    from safetensors.torch import save_file

    found = PUBLISHED[name]
    parts = found.parts("cpu", torch.bfloat16)
    parameters = sum(part.numel() for model in (parts["unet"], parts["vae"]) for part in model.parameters())
    getattr(diffusers, CLASSES[found.family])(**parts, **WITHOUT[found.family]).save_pretrained(folder)
    empty = {name: torch.zeros(shape) for name, shape in found.prompt.items()}
    save_file(empty, folder / "prompt_embeds.safetensors", {"prompt": ""})
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
    assert record["status"] == "partial", "one of many"
    (table,) = (pq.read_table(path) for path in (desk / "results").rglob("instances.parquet"))
    assert table["status"].to_pylist() == ["ok"], table.to_pylist()
    told = f"{time.monotonic() - start:.0f} s, peak {record['timings']['peak_memory_mb']:.0f} MB"
    sys.stdout.write(f"\n{method} {' '.join(changes)}: {told}\n")
    return record


NANO = ("segmenter.type=nano", "segmenter.checkpoint=sam-nano/synthetic/model.safetensors")


def test_stable_diffusion_15_at_128_pixels(desk: Path) -> None:
    room(7, desk)
    folder = desk / "weights" / SD15
    assert saved("sd15", folder) == pytest.approx(943e6, rel=0.01)  # 860 and 84 million
    bench(desk, "inpaint-sd15", "resolution=128", *NANO)


def test_stable_diffusion_xl_at_64_pixels(desk: Path) -> None:
    """In bfloat16: 2.57 billion parameters are 5 GB there."""
    room(13, desk)
    folder = desk / "weights" / SDXL
    assert saved("sdxl", folder) == pytest.approx(2651e6, rel=0.01)
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
