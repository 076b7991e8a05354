"""Eq. 11 and text guidance on tiny pipelines."""

import logging
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from amodal_bench.methods.inpaint.latents import encode, scaled, shrunk  # noqa: E402

Make = Callable[..., Any]


@pytest.mark.parametrize("name", ["sd9", "xl", "nano"])
@pytest.mark.parametrize("null_mask", ["full", "zero", "keep"])
def test_equation_11_nulls_the_mask_and_nothing_else(
    name: str, null_mask: str, fill: Make, tensors: Make, recorded: Make
) -> None:
    loaded, (pixels, area, seeds) = fill(name, batch=2, null_mask=null_mask, steps=7), tensors(name, 2)
    with recorded(loaded.pipe) as calls, torch.no_grad():
        loaded.latents(pixels, area, seeds)
        clean, hidden, nothing = (
            scaled(loaded.pipe.vae, encode(loaded.pipe.vae, one))
            for one in (pixels, pixels * (1 - area), torch.zeros(1, 3, 64, 64))
        )
    small, nothing = shrunk(area, 64 // clean.shape[-1]), nothing.expand_as(clean)
    mask, image = {
        "full": (torch.ones_like(small), nothing), "zero": (torch.zeros_like(small), clean), "keep": (small, nothing),
    }[null_mask]  # fmt: skip
    for given, _, named, _ in calls:
        null, full = given.chunk(2)
        assert torch.equal(null[:, :4], full[:, :4])
        assert torch.equal(null[:, 4:5], mask)
        assert torch.allclose(null[:, 5:], image, atol=1e-5)
        assert torch.equal(full[:, 4:5], small)
        assert torch.allclose(full[:, 5:], hidden, atol=1e-5)
        for value in (named["encoder_hidden_states"], *(named["added_cond_kwargs"] or {}).values()):
            assert torch.equal(*value.chunk(2))


def test_equation_11_by_hand(fill: Make, tensors: Make, recorded: Make) -> None:
    """e_null + (1 + w)(e_M - e_null) of two rows that were run apart, stepped by a scheduler of its own."""
    loaded, scene = fill("sd9", w=0.75), tensors("sd9", 1)
    with recorded(loaded.pipe) as calls, torch.no_grad():
        found = loaded.latents(*scene)
        z = calls[0][0][:1, :4]
        scheduler = diffusers.DDIMScheduler.from_config(loaded.pipe.scheduler.config)
        scheduler.set_timesteps(20)
        for given, time, named, _ in list(calls):
            e_null, e_mask = (
                loaded.pipe.unet(torch.cat([z, row[:, 4:]], dim=1), time, text).sample
                for row, text in zip(given.chunk(2), named["encoder_hidden_states"].chunk(2), strict=True)
            )
            z = scheduler.step(e_null + 1.75 * (e_mask - e_null), time, z).prev_sample
    assert torch.allclose(found, z, atol=2e-5)


@pytest.mark.parametrize("name", ["sd9", "xl", "nano"])
def test_weight_0_is_no_guidance_to_the_last_bit(name: str, fill: Make, tensors: Make) -> None:
    zero, none, some = (
        fill(name, steps=7, **asked) for asked in ({"guidance_weight": 0}, {"guidance": "none"}, {"guidance_weight": 3})
    )
    scene = tensors(name, 1)
    assert torch.equal(zero.latents(*scene), none.latents(*scene))
    assert not torch.equal(zero.latents(*scene), some.latents(*scene))


def test_text_guidance_by_an_empty_prompt_is_none_but_for_sdxl(fill: Make, tensors: Make) -> None:
    """SD has one embedding for both rows; SDXL's unconditional one is zeros."""
    for name, same in [("sd9", True), ("sd4", True), ("nano", True), ("xl", False)]:
        text, none = fill(name, steps=7, guidance="text", w=4), fill(name, steps=7, guidance="none")
        scene = tensors(name, 1)
        assert torch.allclose(text.latents(*scene), none.latents(*scene), atol=1e-5) == same, name


def test_text_guidance_with_words_does_something(fill: Make, tensors: Make) -> None:
    words, none = (fill("sd9", steps=7, prompt="a cat", guidance=how, w=4) for how in ("text", "none"))
    scene = tensors("sd9", 1)
    assert not torch.allclose(words.latents(*scene), none.latents(*scene), atol=1e-5)


@pytest.mark.parametrize("name", ["sd4", "flux", "fill"])
def test_mask_guidance_without_an_input_for_it_is_off_and_said(
    name: str, fill: Make, tensors: Make, recorded: Make, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "amodal_bench"):
        loaded = fill(name, steps=7, w=1.5)
    assert "mask guidance (Eq. 11) is off" in caplog.text
    with recorded(loaded.pipe) as calls:
        loaded.latents(*tensors(name, 1))
    assert {len(call[0]) for call in calls} == {1}
    if name == "fill":  # w itself is the distilled scale
        assert float(calls[0][2]["guidance"]) == 1.5
