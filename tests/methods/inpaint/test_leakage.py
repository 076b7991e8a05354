"""Eq. 7 as printed: its algebra, its ends, and a whole run against a loop in numpy."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from amodal_bench.errors import Refused  # noqa: E402
from amodal_bench.methods.inpaint.diffusion import DiffusionFill  # noqa: E402
from amodal_bench.methods.inpaint.latents import encode, scaled, shrunk  # noqa: E402
from amodal_bench.methods.inpaint.leakage import eq7  # noqa: E402
from amodal_bench.methods.inpaint.params import InpaintParams  # noqa: E402

Make = Callable[..., Any]


def clean_of(loaded: Any, pixels: Any, area: Any) -> Any:
    """Image latents to the last bit: encoded in one batch with the masked image where that is."""
    both = torch.cat([pixels, pixels * (1 - area)]) if loaded._kind.takes_mask else pixels
    with torch.no_grad():
        return scaled(loaded.pipe.vae, encode(loaded.pipe.vae, both))[: len(pixels)]


def test_the_formula_is_equation_7_with_its_weights_collected() -> None:
    generator = torch.Generator().manual_seed(0)
    new, known = (torch.randn(2, 4, 8, 8, generator=generator) for _ in range(2))
    area = (torch.rand(2, 1, 8, 8, generator=generator) > 0.5).float()
    printed = 0.3 * (area * new + (1 - area) * known) + 0.7 * known
    assert torch.allclose(eq7(new, known, area, 0.3), printed, atol=1e-6)
    assert torch.equal(eq7(new, known, area, 0.0), known)
    assert torch.equal(eq7(new, known, area, 1.0), torch.where(area.bool(), new, known))


@pytest.mark.parametrize(
    ("name", "scheduler"),
    [("sd4", None), ("sd4", "EulerDiscreteScheduler"), ("flux", None)],
)
def test_strength_1_is_the_stock_pipeline_where_it_keeps_the_outside(
    name: str, scheduler: str | None, fill: Make, tensors: Make
) -> None:
    backbone = {"scheduler": scheduler}
    stock = fill(name, backbone=backbone, leakage="off", steps=5)
    leaking = fill(name, backbone=backbone, leakage="eq7", strength=1.0, steps=5)
    scene = tensors(name, 1)
    assert torch.equal(stock.latents(*scene), leaking.latents(*scene))


def test_it_is_so_where_the_schedule_depends_on_the_resolution_too(changed: Make, tensors: Make) -> None:
    """FLUX.1 dev shifts its schedule by the number of patches."""
    dev = changed("flux", "scheduler/scheduler_config.json", use_dynamic_shifting=True, shift=3.0)
    found = []
    for denoising in ({"leakage": "off"}, {"leakage": "eq7", "strength": 1.0}, {"leakage": "eq7", "strength": 0.0}):
        asked = {"resolution": 128, "denoising": {"steps": 5, **denoising}}
        loaded = DiffusionFill(dev, InpaintParams.model_validate(asked), "cpu")
        found.append(loaded.latents(*tensors("flux", 1)))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[2], clean_of(loaded, *tensors("flux", 1)[:2]))


@pytest.mark.parametrize("name", ["sd9", "sd4", "flux"])
def test_an_empty_area_is_the_image_to_the_last_bit(name: str, fill: Make, tensors: Make) -> None:
    loaded, (pixels, area, seeds) = fill(name, leakage="eq7", steps=5), tensors(name, 1)
    nowhere = torch.zeros_like(area)
    assert torch.equal(loaded.latents(pixels, nowhere, seeds), clean_of(loaded, pixels, nowhere))


@pytest.mark.parametrize("name", ["sd9", "fill"])
def test_elsewhere_it_is_so_for_an_area_of_everything(name: str, fill: Make, tensors: Make) -> None:
    stock, leaking = fill(name, leakage="off", steps=5), fill(name, leakage="eq7", strength=1.0, steps=5)
    pixels, area, seeds = tensors(name, 1)
    everything = torch.ones_like(area)
    assert torch.equal(stock.latents(pixels, everything, seeds), leaking.latents(pixels, everything, seeds))
    assert not torch.allclose(stock.latents(pixels, area, seeds), leaking.latents(pixels, area, seeds), atol=1e-2)


@pytest.mark.parametrize("name", ["sd9", "sd4", "xl", "flux", "fill", "nano"])
def test_strength_0_is_the_image_to_the_last_bit(name: str, fill: Make, tensors: Make) -> None:
    loaded, (pixels, area, seeds) = fill(name, batch=2, leakage="eq7", strength=0.0, steps=4), tensors(name, 2)
    assert torch.equal(loaded.latents(pixels, area, seeds), clean_of(loaded, pixels, area))


@pytest.mark.parametrize(
    ("name", "scheduler"),
    [("sd9", None), ("sd9", "EulerDiscreteScheduler"), ("sd4", None), ("xl", None), ("flux", None), ("fill", None)],
)
def test_outside_the_area_nothing_moves_at_any_strength(
    name: str, scheduler: str | None, fill: Make, tensors: Make
) -> None:
    for strength in (0.3, 0.9):
        loaded = fill(name, backbone={"scheduler": scheduler}, leakage="eq7", strength=strength, steps=4)
        pixels, area, seeds = tensors(name, 1)
        clean, found = clean_of(loaded, pixels, area), loaded.latents(pixels, area, seeds)
        outside = 1 - shrunk(area, pixels.shape[-1] // clean.shape[-1])
        assert float(((found - clean) * outside).abs().max()) <= 1e-6
        assert float((found - clean).abs().max()) > 1e-3


@pytest.mark.parametrize("guidance", ["none", "mask"])
def test_a_whole_run_is_a_loop_in_numpy(guidance: str, fill: Make, tensors: Make, recorded: Make) -> None:
    """DDIM and Eq. 7 in double precision, fed with what the network said in the run."""
    loaded, (pixels, area, seeds) = fill("sd9", leakage="eq7", guidance=guidance), tensors("sd9", 1)
    with recorded(loaded.pipe) as calls:
        found = loaded.latents(pixels, area, seeds).numpy()
    clean = clean_of(loaded, pixels, area).numpy().astype(np.float64)
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(seeds[0])).numpy().astype(np.float64)
    small = shrunk(area, 8).numpy()
    abar = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)
    times = np.arange(0, 1000, 50)[::-1] + 1
    z = noise
    assert [int(call[1]) for call in calls] == times.tolist()
    for k, time in enumerate(times):
        said = calls[k][3].numpy().astype(np.float64)
        eps = said if guidance == "none" else said[:1] + 1.75 * (said[1:] - said[:1])
        then = abar[time - 50] if time > 50 else abar[0]
        x0 = (z - np.sqrt(1 - abar[time]) * eps) / np.sqrt(abar[time])
        z = np.sqrt(then) * x0 + np.sqrt(1 - then) * eps
        last = k == len(times) - 1
        known = clean if last else np.sqrt(abar[times[k + 1]]) * clean + np.sqrt(1 - abar[times[k + 1]]) * noise
        z = 0.3 * (small * z + (1 - small) * known) + 0.7 * known
    assert np.abs(found - z).max() < 2e-5


def test_a_folder_whose_scheduler_remembers_gets_ddim(changed: Make, fill: Make, tensors: Make) -> None:
    pndm = changed("sd4", "model_index.json", scheduler=["diffusers", "PNDMScheduler"])
    config = pndm / "scheduler" / "scheduler_config.json"
    told = json.loads(config.read_text())
    del told["clip_sample"]
    config.write_text(json.dumps({**told, "skip_prk_steps": True}))
    asked = {"resolution": 64, "denoising": {"steps": 5, "leakage": "eq7"}}
    with_pndm = DiffusionFill(pndm, InpaintParams.model_validate(asked), "cpu")
    assert type(with_pndm.pipe.scheduler).__name__ == "DDIMScheduler"
    assert with_pndm.pipe.scheduler.config.clip_sample is False
    with_ddim = fill("sd4", steps=5, leakage="eq7")
    assert torch.equal(with_pndm.latents(*tensors("sd4", 1)), with_ddim.latents(*tensors("sd4", 1)))
    plain = {"resolution": 64, "denoising": {"steps": 5}}
    assert (
        type(DiffusionFill(pndm, InpaintParams.model_validate(plain), "cpu").pipe.scheduler).__name__ == "PNDMScheduler"
    )


def test_a_scheduler_asked_for_that_remembers_is_refused(folder: Make) -> None:
    asked = {"resolution": 64, "backbone": {"scheduler": "PNDMScheduler"}, "denoising": {"leakage": "eq7"}}
    with pytest.raises(
        Refused,
        match=r"of which PNDMScheduler remembers more than one: .* one of DDIMScheduler, EulerDiscreteScheduler$",
    ):
        DiffusionFill(folder("sd4"), InpaintParams.model_validate(asked), "cpu")
