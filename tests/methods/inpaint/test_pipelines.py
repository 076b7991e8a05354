"""The fill on tiny pipelines of every family: batches, stock equality, what stays outside the area."""

import socket
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from amodal_bench.methods.inpaint.latents import bytes_of, encode, kept_alive, scaled, shrunk  # noqa: E402

FAMILIES = ["sd9", "sd4", "xl", "flux", "fill", "nano"]
FULL = {"xl": 0.9999}  # what diffusers' own SDXL pipeline has as its default
BLIND = ["sd4", "flux"]  # never see the area: the stock pipeline keeps the outside
SCHEDULERS = ["DDIMScheduler", "EulerDiscreteScheduler", "PNDMScheduler"]
Make = Callable[..., Any]


def chunk(name: str, fill: Make, tensors: Make, count: int = 1, **asked: Any) -> tuple[Any, Any, Any, Any]:
    """A loaded fill, its image latents, the area in latents, and what it made of the scenes."""
    loaded = fill(name, batch=count, **asked)
    pixels, area, seeds = tensors(name, count)
    both = torch.cat([pixels, pixels * (1 - area)]) if loaded._kind.takes_mask else pixels  # one batch, as it is run
    with torch.no_grad():
        clean = scaled(loaded.pipe.vae, encode(loaded.pipe.vae, both))[:count]
    return loaded, clean, shrunk(area, pixels.shape[-1] // clean.shape[-1]), loaded.latents(pixels, area, seeds)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_batch_is_its_instances(name: str, fill: Make, scenes: Make) -> None:
    x, area, seeds = scenes(name, 4)
    single, batched = fill(name, batch=1, steps=7), fill(name, batch=4, steps=7)
    alone = np.concatenate([single(x[k : k + 1], area[k : k + 1], seeds[k : k + 1]) for k in range(4)])
    together = batched(x, area, seeds)
    assert together.shape == x.shape
    assert together.dtype == np.uint8
    apart = np.abs(alone.astype(int) - together)  # latents differ by some 1e-7: rounding falls elsewhere now and then
    assert apart.max() <= 1
    assert (apart > 0).mean() < 1e-3
    assert len({image.tobytes() for image in together}) == 4


@pytest.mark.parametrize("name", FAMILIES)
def test_companions_are_irrelevant_to_the_last_bit(name: str, fill: Make, tensors: Make) -> None:
    pixels, area, seeds = tensors(name, 4)
    loaded = fill(name, batch=4, steps=7)
    together = loaded.latents(pixels, area, seeds)
    order = [2, 0, 0, 0]
    again = loaded.latents(pixels[order], area[order], [seeds[k] for k in order])
    assert torch.equal(again, together[order])


def test_a_short_batch_is_padded_and_an_empty_area_left_alone(fill: Make, scenes: Make, recorded: Make) -> None:
    x, area, seeds = scenes("sd9", 3)
    area = area.copy()
    area[1] = False
    loaded = fill("sd9", batch=4, steps=7)
    with recorded(loaded.pipe) as calls:
        found = loaded(x, area, seeds)
    assert {len(call[0]) for call in calls} == {8}  # both rows of guidance
    assert np.array_equal(found[1], bytes_of(torch.from_numpy(x[1])).numpy())
    assert not np.array_equal(found[0], bytes_of(torch.from_numpy(x[0])).numpy())
    for k in (0, 2):
        assert np.array_equal(loaded(x[k : k + 1], area[k : k + 1], seeds[k : k + 1])[0], found[k])


@pytest.mark.parametrize("name", ["sd9", "flux"])
def test_strength_0_is_the_image(name: str, fill: Make, scenes: Make, recorded: Make) -> None:
    x, area, seeds = scenes(name, 2)
    loaded = fill(name, batch=2, strength=0.0)
    with recorded(loaded.pipe) as calls:
        found = loaded(x, area, seeds)
    assert calls == []
    assert np.array_equal(found, np.round((x.clip(-1, 1) / 2 + 0.5) * 255).astype(np.uint8))


def test_more_than_a_batch_is_an_error(fill: Make, scenes: Make) -> None:
    with pytest.raises(ValueError, match="at most forward_batch=1, got 2 images, 2 areas, 2 seeds"):
        fill("sd9", batch=1, steps=7)(*scenes("sd9", 2))


@pytest.mark.parametrize(
    ("name", "asked", "count"),
    [
        ("sd9", {"leakage": "off"}, 20), ("sd9", {}, 6), ("sd9", {"leakage": "eq7"}, 20), ("flux", {}, 6),
        ("sd9", {"backbone": {"scheduler": "PNDMScheduler"}}, 7),
        ("sd9", {"backbone": {"scheduler": "EulerDiscreteScheduler"}}, 6),
        ("sd4", {"backbone": {"scheduler": "PNDMScheduler"}}, 7), ("xl", {}, 6), ("fill", {}, 6),
        ("flux", {"leakage": "eq7"}, 20), ("sd9", {"strength": 1.0}, 20), ("sd9", {"strength": 0.05}, 1),
        ("xl", {"leakage": "off"}, 19), ("xl", {"leakage": "eq7"}, 19),
        ("xl", {"leakage": "off", "full_strength": 1.0}, 20), ("sd9", {"leakage": "off", "full_strength": 0.9999}, 19),
    ],
)  # fmt: skip
def test_how_often_the_network_is_called(
    name: str, asked: dict[str, Any], count: int, fill: Make, scenes: Make, recorded: Make
) -> None:
    loaded = fill(name, guidance="none", **asked)
    with recorded(loaded.pipe) as calls:
        loaded(*scenes(name, 1))
    assert len(calls) == count


@pytest.mark.parametrize("name", ["sd9", "sd4", "xl", "flux", "fill"])
@pytest.mark.parametrize("leakage", ["off", "strength"])
def test_without_guidance_the_stock_pipeline_is_what_runs(
    name: str, leakage: str, fill: Make, tensors: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, clean, _, found = chunk(name, fill, tensors, 2, leakage=leakage, steps=7, guidance="none")
    pixels, area, seeds = tensors(name, 2)
    stock = type(loaded.pipe).__mro__[1 if name in ("flux", "fill") else 2]
    assert stock.__module__.startswith("diffusers.")
    pipe = stock(**loaded.pipe.components)
    pipe.set_progress_bar_config(disable=True)
    prompt = {
        name: value for name, value in loaded._prompt.items() if name in ("prompt_embeds", "pooled_prompt_embeds")
    }
    mode = pipe.vae.encode
    with torch.no_grad():
        masked = scaled(pipe.vae, encode(pipe.vae, torch.cat([pixels, pixels * (1 - area)])))[2:]
    given = {"image": clean, "masked_image_latents": masked if loaded._kind.takes_mask else clean}
    if name == "fill":  # takes pixels only, and draws from the posterior
        given = {"image": pixels / 2 + 0.5}
        monkeypatch.setattr(pipe.vae, "encode", lambda x: SimpleNamespace(latents=mode(x).latent_dist.mode()))
    wanted = pipe(
        **given, **prompt, mask_image=area, height=pixels.shape[2], width=pixels.shape[3], num_inference_steps=7,
        strength=0.3 if leakage == "strength" else FULL.get(name, 1.0), guidance_scale=1.0, output_type="latent",
        generator=[torch.Generator().manual_seed(seed) for seed in seeds],
    ).images  # fmt: skip
    if loaded._kind.flux:
        wanted = pipe._unpack_latents(wanted, *pixels.shape[2:], pipe.vae_scale_factor)
    assert torch.equal(found, wanted) or (name == "fill" and torch.allclose(found, wanted, atol=1e-4))


@pytest.mark.parametrize(
    ("name", "scheduler"),
    [
        *((name, scheduler) for name in ("sd9", "sd4") for scheduler in SCHEDULERS),
        ("xl", None),
        ("flux", None),
        ("fill", None),
    ],
)
def test_what_happens_outside_the_area(name: str, scheduler: str | None, fill: Make, tensors: Make) -> None:
    _, clean, area, found = chunk(name, fill, tensors, backbone={"scheduler": scheduler}, steps=10)
    moved = (found - clean).abs()
    assert float((moved * area).max()) > 0.05
    if name in BLIND:
        assert torch.equal(found * (1 - area), clean * (1 - area))
    else:
        assert float((moved * (1 - area)).max()) > 0.05


@pytest.mark.parametrize("name", ["sd9", "fill"])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_the_outside_can_be_kept(name: str, scheduler: str, fill: Make, tensors: Make) -> None:
    backbone = {} if name == "fill" else {"scheduler": scheduler}
    _, clean, area, found = chunk(name, fill, tensors, backbone=backbone, keep_outside=True, steps=10)
    assert torch.equal(found * (1 - area), clean * (1 - area))
    assert float(((found - clean).abs() * area).max()) > 0.05


@pytest.mark.parametrize("name", ["sd9", "flux"])
def test_strength_1_is_leakage_off(name: str, fill: Make, tensors: Make) -> None:
    full, off = fill(name, strength=1.0, steps=4), fill(name, leakage="off", steps=4)
    assert torch.equal(full.latents(*tensors(name, 1)), off.latents(*tensors(name, 1)))


def test_sdxl_without_leakage_is_the_stock_call_with_its_own_strength(
    fill: Make, tensors: Make, recorded: Make
) -> None:
    """Its default begins one step later from the image under nearly all the noise there is; 1 is noise alone."""
    import inspect

    assert inspect.signature(fill("xl").pipe.__call__).parameters["strength"].default == FULL["xl"]
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(tensors("xl", 1)[2][0]))
    near = {}
    for full in (None, 1.0):
        loaded = fill("xl", leakage="off", full_strength=full, guidance="none")
        with recorded(loaded.pipe) as calls:
            loaded.latents(*tensors("xl", 1))
        near[full] = torch.allclose(calls[0][0][:, :4], noise * loaded.pipe.scheduler.init_noise_sigma, atol=1e-6)
    assert near == {None: False, 1.0: True}


def test_a_full_strength_that_leaves_no_step_is_refused(folder: Make) -> None:
    from amodal_bench.errors import Refused
    from amodal_bench.methods.inpaint.diffusion import DiffusionFill

    from .conftest import parameters

    told = r"full_strength 0\.9999 of 1 step\(s\) is no step at all: .*set denoising\.full_strength=1 for pure noise"
    with pytest.raises(Refused, match=told):
        DiffusionFill(folder("xl"), parameters("xl", leakage="off", steps=1), "cpu")


def test_flux_starts_from_equation_9(fill: Make, tensors: Make, recorded: Make) -> None:
    """With schnell's schedule, strength .3 of 20 steps is .3 noise + .7 image word for word."""
    loaded, pixels, seed = fill("flux"), tensors("flux", 1), tensors("flux", 1)[2][0]
    with recorded(loaded.pipe) as calls, torch.no_grad():
        loaded.latents(*pixels)
        clean = scaled(loaded.pipe.vae, encode(loaded.pipe.vae, pixels[0]))
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed))
    start = loaded.pipe._unpack_latents(calls[0][0], 128, 128, 8)
    assert torch.allclose(start, 0.3 * noise + 0.7 * clean, atol=1e-6)


def test_stable_diffusion_starts_from_the_noised_image(fill: Make, tensors: Make, recorded: Make) -> None:
    loaded, pixels, seed = fill("sd9"), tensors("sd9", 1), tensors("sd9", 1)[2][0]
    with recorded(loaded.pipe) as calls, torch.no_grad():
        loaded.latents(*pixels)
        clean = scaled(loaded.pipe.vae, encode(loaded.pipe.vae, pixels[0]))
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed))
    assert [int(call[1]) for call in calls] == [251, 201, 151, 101, 51, 1]
    share = float(loaded.pipe.scheduler.alphas_cumprod[251])
    assert share**0.5 == pytest.approx(0.820, abs=1e-3)
    assert torch.allclose(calls[0][0][:1, :4], share**0.5 * clean + (1 - share) ** 0.5 * noise, atol=1e-5)


def test_an_area_that_would_vanish_in_the_latents_is_grown(fill: Make, scenes: Make, recorded: Make) -> None:
    x, area, seeds = scenes("sd9", 2)
    area = np.zeros_like(area)
    area[0, 13:15, 21:23] = True
    area[1, 8:32, 8:32] = True
    loaded = fill("sd9", batch=2, guidance="none", steps=7)
    with recorded(loaded.pipe) as calls:
        loaded(x, area, seeds)
    small = calls[0][0][:, 4]
    assert np.argwhere(small[0].numpy()).tolist() == [[1, 2]]
    assert float(small[1].sum()) == 9
    both = kept_alive(torch.from_numpy(area)[:, None].float(), 8)[:, 0].bool().numpy()
    assert np.array_equal(both[1], area[1])
    assert both[0].sum() == 64
    assert both[0, 8:16, 16:24].all()


def test_nothing_speaks_to_the_network(
    folder: Make, scenes: Make, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from amodal_bench.methods.inpaint.diffusion import DiffusionFill
    from amodal_bench.methods.inpaint.params import InpaintParams

    def refuse(*given: Any) -> None:
        raise AssertionError(f"connecting to {given}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    for name in ("xl", "flux"):
        asked = {"resolution": 128, "denoising": {"steps": 4, "prompt": "offline"}}
        params = InpaintParams.model_validate(asked)
        x = np.zeros((1, 128, 128, 3), dtype=np.float32)
        found = DiffusionFill(folder(name), params, "cpu")(x, np.ones((1, 128, 128), dtype=np.bool_), [1])
        assert found.shape == (1, 128, 128, 3)
    assert capfd.readouterr() == ("", "")  # no bars and no chatter either
