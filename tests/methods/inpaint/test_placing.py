"""Half precision, another VAE, int8's conditions, layouts and compiled parts, on tiny pipelines and a CPU."""

import json
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from functools import partialmethod
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from amodal_bench.errors import Refused, WeightsNotFound  # noqa: E402
from amodal_bench.methods.inpaint import Inpaint, backbones, pipelines, placing, prompts  # noqa: E402
from amodal_bench.methods.inpaint.diffusion import DiffusionFill  # noqa: E402
from amodal_bench.methods.inpaint.params import Backbone, Denoising, InpaintParams  # noqa: E402
from amodal_bench.store.spec import resolved  # noqa: E402

from .conftest import parameters  # noqa: E402

Make = Callable[..., Any]


def loaded(folder: Path, other_vae: Path | None = None, **backbone: Any) -> Any:
    kind = backbones.read(folder, other_vae)
    return pipelines.load(folder, kind, Backbone.model_validate(backbone), "cpu", other_vae)


@pytest.fixture
def free_vae(folder: Make, tmp_path: Path) -> Path:
    """SDXL's VAE as a folder of its own that says it does not overflow, and differs from the pipeline's."""
    copy = shutil.copytree(folder("xl") / "vae", tmp_path / "free" / "vae")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "force_upcast": False}))
    return copy


# Which VAE is kept in float32


@pytest.mark.parametrize("name", ["sd9", "sd4", "nano", "flux", "fill"])
def test_half_precision_is_the_vaes_too(name: str, folder: Make) -> None:
    """As the stock pipelines have it, though the library's default of a VAE's configuration says otherwise."""
    assert loaded(folder(name)).vae.config.get("force_upcast", True) in (True, False)
    assert loaded(folder(name), dtype="float16").vae.dtype == torch.float16


def test_sdxls_own_vae_is_kept_in_single_precision(folder: Make) -> None:
    half = loaded(folder("xl"), dtype="float16")
    assert (half.unet.dtype, half.vae.dtype) == (torch.float16, torch.float32)
    assert loaded(folder("xl"), dtype="bfloat16").vae.dtype == torch.bfloat16


def test_a_vae_that_does_not_overflow_takes_its_place(folder: Make, free_vae: Path) -> None:
    half = loaded(folder("xl"), free_vae, dtype="float16", vae="free/vae")
    assert (half.unet.dtype, half.vae.dtype) == (torch.float16, torch.float16)


def test_the_other_vae_is_what_is_used(folder: Make, free_vae: Path, tensors: Make) -> None:
    from safetensors.torch import load_file, save_file

    weights = free_vae / "diffusion_pytorch_model.safetensors"
    same = DiffusionFill(folder("xl"), parameters("xl", steps=4), "cpu", free_vae)
    plain = DiffusionFill(folder("xl"), parameters("xl", steps=4), "cpu")
    assert torch.equal(same.latents(*tensors("xl", 1)), plain.latents(*tensors("xl", 1)))
    save_file({name: value * 1.1 for name, value in load_file(weights).items()}, weights)
    other = DiffusionFill(folder("xl"), parameters("xl", steps=4), "cpu", free_vae)
    assert not torch.equal(other.latents(*tensors("xl", 1)), plain.latents(*tensors("xl", 1)))


def test_the_other_vae_is_looked_for_with_the_rest(folder: Make, free_vae: Path, tmp_path: Path) -> None:
    params = InpaintParams.model_validate({"resolution": 64, "backbone": {"model": "pipe", "vae": "some/vae"}})
    (tmp_path / "pipe").symlink_to(folder("xl"))
    (tmp_path / params.segmenter.checkpoint).touch()
    told = r"(?s)A VAE \(some/vae\) is not on this machine.*hf download some/vae --include \"config\.json\" .*some/vae"
    with pytest.raises(WeightsNotFound, match=told) as caught:
        Inpaint(params).pretrained(tmp_path)
    assert caught.value.missing == ("A VAE",)
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "vae").symlink_to(free_vae)
    assert Inpaint(params).pretrained(tmp_path)["vae"] == tmp_path / "some" / "vae"


def test_a_vae_of_another_family_is_refused(folder: Make) -> None:
    with pytest.raises(Refused, match=r"flux/vae makes latents of 16 channels, expected 4: "):
        backbones.read(folder("xl"), folder("flux") / "vae")
    with pytest.raises(Refused, match=r"expected a folder in the layout of diffusers"):
        backbones.read(folder("xl"), folder("flux"))


# Speed that changes no more than the last bits


@pytest.mark.parametrize("name", ["sd9", "xl", "flux", "nano"])
@pytest.mark.parametrize("speed", ["channels_last", "fused_qkv"])
def test_layouts_and_fused_products_change_the_last_bits_at_most(
    name: str, speed: str, folder: Make, tensors: Make
) -> None:
    plain = DiffusionFill(folder(name), parameters(name, steps=4), "cpu")
    fast = DiffusionFill(folder(name), parameters(name, backbone={speed: True}, steps=4), "cpu")
    torch.testing.assert_close(fast.latents(*tensors(name, 1)), plain.latents(*tensors(name, 1)), rtol=1e-4, atol=1e-4)
    if speed == "channels_last":
        kernel = fast.pipe.vae.decoder.conv_in.weight if name != "nano" else fast.pipe.vae.decoder.layers[0].weight
        assert kernel.is_contiguous(memory_format=torch.channels_last)
    elif name != "nano":
        attentions = [part for part in fast.pipe.vae.modules() if hasattr(part, "to_qkv")]
        assert attentions, "three products are one"


def test_compiled_parts_are_warm_when_they_are_loaded(
    folder: Make, scenes: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Traced for real, without the code that a compiler would make of the trace: that takes minutes."""
    monkeypatch.setattr(torch.nn.Module, "compile", partialmethod(torch.nn.Module.compile, backend="eager"))
    plain = DiffusionFill(folder("nano"), parameters("nano", 2, steps=4), "cpu")
    with caplog.at_level("INFO", "amodal_bench"):
        fast = DiffusionFill(folder("nano"), parameters("nano", 2, {"compile": True}, steps=4), "cpu")
    assert "compiled the inpainting model, warm after" in caplog.text
    assert fast.pipe.unet._compiled_call_impl is not None
    assert fast.pipe.vae.decoder._compiled_call_impl is not None
    x, area, seeds = scenes("nano", 2)
    with torch.compiler.set_stance("fail_on_recompile"):
        found = fast(x, area, seeds)
    assert np.abs(found.astype(int) - plain(x, area, seeds)).max() <= 1


def test_what_is_not_asked_for_stands_in_no_key() -> None:
    told = resolved(InpaintParams())
    assert not {"vae", "channels_last", "fused_qkv"} & set(told["backbone"])
    assert not {"full_strength", "tokens"} & set(told["denoising"])
    assert not {"dtype", "compile"} & set(told["segmenter"])
    asked = {"backbone": {"vae": "some/vae"}, "segmenter": {"dtype": "bfloat16"}, "denoising": {"tokens": 256}}
    told = resolved(InpaintParams.model_validate(asked))
    found = told["backbone"]["vae"], told["segmenter"]["dtype"], told["denoising"]["tokens"]
    assert found == ("some/vae", "bfloat16", 256)


# Flux in int8, and its prompt


@pytest.mark.parametrize(
    ("installed", "told"),
    [
        ("0.47.2", r"needs bitsandbytes 0\.48 or newer, here is 0\.47\.2: pip install --upgrade bitsandbytes"),
        (None, r"int8 is for Flux on a GPU with the package bitsandbytes \(pip install 'amodal-bench\[quant\]'\)"),
    ],
)
def test_int8_needs_a_bitsandbytes_whose_modules_can_be_moved(
    installed: str | None, told: str, folder: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placing, "_bitsandbytes", lambda: installed)
    kind = backbones.read(folder("flux"))
    with pytest.raises(Refused, match=told):
        placing.quantized(kind, Backbone(quantize="int8"), "cuda:0")


@pytest.mark.parametrize("installed", ["0.48.0", "0.49.1", "1.0"])
def test_the_denoising_network_alone_is_int8(installed: str, folder: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    quantizers = pytest.importorskip("diffusers.quantizers")
    asked: dict[str, Any] = {}
    monkeypatch.setattr(quantizers, "PipelineQuantizationConfig", lambda **named: asked.update(named))
    monkeypatch.setattr(placing, "_bitsandbytes", lambda: installed)
    found = placing.quantized(backbones.read(folder("flux")), Backbone(quantize="int8"), "cuda:0")
    assert list(found) == ["quantization_config"]
    assert asked["components_to_quantize"] == ["transformer"]
    assert asked["quant_backend"] == "bitsandbytes_8bit"


def test_weights_are_read_while_the_runs_own_gpu_is_the_current_one(
    folder: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """int8 weights go to the current GPU as they are read, which is the first one unless it is told."""
    events: list[str] = []

    class Current:
        def __init__(self, device: str) -> None:
            self._device = device

        def __enter__(self) -> None:
            events.append(f"to {self._device}")

        def __exit__(self, *error: object) -> None:
            events.append("back")

    monkeypatch.setattr(torch.cuda, "device", Current)
    monkeypatch.setattr(pipelines, "_from_folder", lambda *given, **named: events.append("read"))
    monkeypatch.setattr(pipelines, "placed", lambda *given: events.append("placed"))
    pipelines.load(folder("flux"), backbones.read(folder("flux")), Backbone(), "cuda:1")
    assert events == ["to cuda:1", "read", "back", "placed"]
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: events.append("emptied"))
    placing.handed_back("cuda:1")
    assert events[4:] == ["to cuda:1", "emptied", "back"]
    placing.handed_back("cpu")
    assert len(events) == 7
    assert isinstance(placing.current("cpu"), nullcontext)


def test_memory_is_handed_back_once_the_text_encoders_are_gone(
    folder: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import gc
    import weakref

    monkeypatch.setenv("AMODAL_BENCH_CACHE", str(tmp_path))
    made: list[Any] = []
    gone: list[bool] = []

    def load(*given: Any) -> Any:
        pipe = pipelines.load_texts(*given)
        made.append(weakref.ref(pipe.text_encoder_2))
        return pipe

    def handed_back(device: str) -> None:
        gc.collect()
        gone.append(made[0]() is None)

    monkeypatch.setattr(prompts, "load_texts", load)
    monkeypatch.setattr(prompts, "handed_back", handed_back)
    kind = backbones.read(folder("flux"))
    prompts.embeddings(folder("flux"), kind, Backbone(), prompts.Prompt("a thing"), "cpu")
    assert gone == [True]


@pytest.mark.parametrize(("tokens", "length"), [(None, 512), (256, 256), (7, 7)])
def test_fluxs_prompt_has_the_length_that_is_asked_for(tokens: int | None, length: int, folder: Make) -> None:
    kind = backbones.read(folder("flux"))
    found = prompts.embeddings(folder("flux"), kind, Backbone(), prompts.Prompt("", tokens), "cpu")
    assert found["prompt_embeds"].shape[1] == length


def test_a_length_is_for_flux(folder: Make) -> None:
    told = r"denoising\.tokens=256 is the length of Flux's prompt; this is sd, whose text encoder has one length: leave"
    with pytest.raises(Refused, match=told):
        DiffusionFill(folder("sd9"), parameters("sd9", tokens=256), "cpu")
    with pytest.raises(ValueError, match="less than or equal to 512"):
        Denoising(tokens=513)


def test_shipped_embeddings_of_another_length_are_refused(changed: Make) -> None:
    from safetensors.torch import save_file

    copy = changed("flux", "vae/config.json")
    embeds = {"prompt_embeds": torch.zeros(1, 5, 32), "pooled_prompt_embeds": torch.zeros(1, 16)}
    save_file(embeds, copy / "prompt_embeds.safetensors", metadata={"prompt": ""})
    with pytest.raises(Refused, match=r"has 5 tokens, asked for 256: set denoising\.tokens=5"):
        DiffusionFill(copy, parameters("flux", tokens=256), "cpu")
