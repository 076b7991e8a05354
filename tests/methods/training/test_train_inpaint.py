"""The tiny inpainting pipeline is trained, cut off, resumed, and loads like any other."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("accelerate")

from amodal_bench.errors import Refused  # noqa: E402
from amodal_bench.methods._training.progress import read  # noqa: E402
from amodal_bench.methods._window import RegionSettings  # noqa: E402
from amodal_bench.methods.inpaint.codec import codec, learn_decoder, patches, set_encoder  # noqa: E402
from amodal_bench.methods.inpaint.diffusion import DiffusionFill  # noqa: E402
from amodal_bench.methods.inpaint.params import InpaintParams, InpaintTraining  # noqa: E402
from amodal_bench.methods.inpaint.train import train  # noqa: E402
from amodal_bench.plugin import TrainingRun  # noqa: E402

Start = Callable[..., TrainingRun]
PARAMS = InpaintParams(resolution=64, region=RegionSettings(mode="square"), forward_batch=2)
TINY: dict[str, Any] = {
    "channels": (8, 32), "layers": 1, "codec_steps": 4, "codec_width": 8, "epochs": 4, "batch_size": 4, "lr": 1e-3,
    "val_limit": 4, "log_every": 1, "schedule": "step",
}  # fmt: skip


POOL = 32  # images that the codec is fitted to


@pytest.fixture(autouse=True)
def _few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("amodal_bench.methods.inpaint.train._POOL", POOL)


def smooth(count: int) -> Any:
    torch.manual_seed(0)
    return torch.nn.functional.avg_pool2d(torch.rand(count, 3, 64, 64) * 2 - 1, 5, 1, 2)


def test_the_encoder_is_the_principal_components_of_patches() -> None:
    images, vae = smooth(8), codec(8)
    set_encoder(vae, images)
    with torch.no_grad():
        latents = vae.encode(images).latents.permute(0, 2, 3, 1).reshape(-1, 4).double()
    assert latents.shape == (8 * 32 * 32, 4)
    assert latents.mean(dim=0).abs().max() < 1e-4
    covariance = torch.cov(latents.T)
    assert (covariance - covariance.diag().diag()).abs().max() < 1e-3
    assert covariance[0, 0] == pytest.approx(1, abs=1e-3)
    values = np.linalg.eigvalsh(np.cov(patches(images).T.double().numpy()))[::-1][:4]
    assert np.allclose(covariance.diag(), np.sqrt(values / values[0]), atol=1e-3)


def test_the_decoder_learns() -> None:
    images, vae = smooth(8), codec(8)
    set_encoder(vae, images)
    torch.manual_seed(0)
    before = learn_decoder(vae, iter([images]), 1)
    assert learn_decoder(codec_with(images), iter([images] * 60), 60) < 0.5 * before


def codec_with(images: Any) -> Any:
    torch.manual_seed(0)
    vae = codec(8)
    set_encoder(vae, images)
    return vae


def test_an_epoch_and_one_more_equal_two(ellipses: Any, interrupted: Any, start: Start) -> None:
    config = InpaintTraining.model_validate({**TINY, "epochs": 2, "ema": 0.9})
    whole, parts = start(config, "whole"), start(config, "parts")
    train(PARAMS, ellipses(8), ellipses(8), whole)
    with pytest.raises(interrupted):
        train(PARAMS, ellipses(8, calls=POOL + 12), ellipses(8), parts)  # the codec's images come first
    assert not (parts.out / "model.safetensors").exists()
    train(PARAMS, ellipses(8), ellipses(8), parts)
    networks = [f"pipeline/{name}/diffusion_pytorch_model.safetensors" for name in ("unet", "vae")]
    for file in ("model.safetensors", *networks):
        assert (parts.out / file).read_bytes() == (whole.out / file).read_bytes()
    assert [row["loss"] for row in read(parts.out / "train_log.csv")] == [
        row["loss"] for row in read(whole.out / "train_log.csv")
    ]
    assert any("dB after 4 steps" in line for line in whole.monitor.lines)  # type: ignore[attr-defined]


def test_what_comes_out_is_a_pipeline_that_paints(ellipses: Any, start: Start) -> None:
    run = start(InpaintTraining.model_validate({**TINY, "epochs": 1, "save_fp16": True}))
    train(PARAMS, ellipses(8), ellipses(8), run)
    fill = DiffusionFill(run.out / "pipeline", PARAMS, "cpu")
    x = np.zeros((2, 64, 64, 3), dtype=np.float32)
    area = np.zeros((2, 64, 64), dtype=np.bool_)
    area[:, 16:48, 16:48] = True
    painted = fill(x, area, [1, 2])
    assert painted.shape == (2, 64, 64, 3)
    assert painted.dtype == np.uint8
    assert painted.std() > 0


def test_a_training_can_go_on_from_a_pipeline(ellipses: Any, start: Start, tmp_path: Path) -> None:
    first = start(InpaintTraining.model_validate({**TINY, "epochs": 1}), "first")
    train(PARAMS, ellipses(8), ellipses(8), first)
    again = {**TINY, "epochs": 1, "lr": 1e-12, "final_lr": 0, "weight_decay": 0, "l1": 0}
    second = start(InpaintTraining.model_validate({**again, "start": first.out / "pipeline"}), "second")
    train(PARAMS, ellipses(8), ellipses(8), second)
    before, after = (load_file(run.out / "model.safetensors") for run in (first, second))
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)
    elsewhere = start(InpaintTraining.model_validate({**again, "start": tmp_path}), "third")
    with pytest.raises(Refused, match=r"train.start: .*vae is no part of a pipeline.*model_index.json"):
        train(PARAMS, ellipses(8), ellipses(8), elsewhere)
