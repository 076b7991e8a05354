"""Folders of pipelines: found, refused before weights are read, and their prompt's embeddings."""

import json
import logging
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
transformers = pytest.importorskip("transformers")

from safetensors.torch import load_file, save_file  # noqa: E402

from amodal_bench.errors import Refused, UnknownName, WeightsNotFound  # noqa: E402
from amodal_bench.files.cache import cache_folder  # noqa: E402
from amodal_bench.methods.inpaint import backbones, pipelines  # noqa: E402
from amodal_bench.methods.inpaint.backbones import FAMILIES, find, read, source  # noqa: E402
from amodal_bench.methods.inpaint.diffusion import DiffusionFill  # noqa: E402
from amodal_bench.methods.inpaint.params import Backbone, InpaintParams  # noqa: E402

Make = Callable[..., Any]


def opened(folder: Path, resolution: int = 64, device: str = "cpu", **asked: Any) -> DiffusionFill:
    params = InpaintParams.model_validate({"resolution": resolution, **asked})
    return DiffusionFill(folder, params, device)


@pytest.mark.parametrize(
    ("model", "revision", "told"),
    [
        ("diffusers/stable-diffusion-xl-1.0-inpainting-0.1", None, r"Stable Diffusion XL.*OpenRAIL\+\+-M.*14 GB"),
        ("stable-diffusion-v1-5/stable-diffusion-inpainting", "8a4288a", r"1\.5 inpainting.*OpenRAIL-M.*about 4 GB"),
        ("sd2-community/stable-diffusion-2-inpainting", None, r"Stable Diffusion 2.*OpenRAIL\+\+-M.*about 5 GB"),
        ("black-forest-labs/FLUX.1-schnell", None, r"FLUX\.1 schnell.*Apache-2\.0.*34 GB"),
        ("black-forest-labs/FLUX.1-Fill-dev", None, r"FLUX\.1 Fill dev.*non-commercial.*34 GB"),
        ("someone/else", None, r"An inpainting pipeline.*see its page"),
    ],
)
def test_a_missing_model_is_told_with_what_it_takes(
    model: str, revision: str | None, told: str, tmp_path: Path
) -> None:
    with pytest.raises(WeightsNotFound, match=f"(?s){told}") as caught:
        find(Backbone(model=model, revision=revision), tmp_path)
    assert f"hf download {model}{f' --revision {revision}' if revision else ''} --include " in str(caught.value)
    assert f" --local-dir {tmp_path / model}\n" in str(caught.value)
    assert "and: the hub's cache" in str(caught.value)


# What repositories of this kind hold, as far as it is read or must not be fetched.
LISTING = [
    "model_index.json", "README.md", "sd-v1-5-inpainting.ckpt", "flux1-schnell.safetensors", "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors", "unet/diffusion_pytorch_model.fp16.safetensors",
    "unet/diffusion_pytorch_model.bin", "unet/diffusion_pytorch_model.fp16.bin", "tokenizer/merges.txt",
    "tokenizer_2/spiece.model", "scheduler/scheduler_config.json", "safety_checker/pytorch_model.bin",
    "transformer/diffusion_pytorch_model.safetensors.index.json",
]  # fmt: skip
ALWAYS = {
    "model_index.json", "unet/config.json", "tokenizer/merges.txt", "tokenizer_2/spiece.model",
    "scheduler/scheduler_config.json", "transformer/diffusion_pytorch_model.safetensors.index.json",
}  # fmt: skip


@pytest.mark.parametrize(
    ("variant", "weights"),
    [
        (None, {"unet/diffusion_pytorch_model.safetensors"}),
        ("fp16", {"unet/diffusion_pytorch_model.fp16.safetensors"}),
    ],
)
@pytest.mark.parametrize("model", [None, "someone/else"])
def test_the_command_fetches_each_weight_once_and_no_single_files(
    variant: str | None, weights: set[str], model: str | None
) -> None:
    """The known repositories have every weight as .safetensors; of others a .bin may be the only one."""
    hub = pytest.importorskip("huggingface_hub.utils")
    if model:
        weights = weights | {name.replace(".safetensors", ".bin") for name in weights}
    words = shlex.split(source(Backbone(variant=variant, **({"model": model} if model else {}))).get)
    asked = {
        flag: [words[k + 1] for k, word in enumerate(words) if word == f"--{flag}"] for flag in ("include", "exclude")
    }
    kept = hub.filter_repo_objects(LISTING, allow_patterns=asked["include"], ignore_patterns=asked["exclude"])
    assert set(kept) == ALWAYS | weights
    assert len(words) == 5 + 2 * sum(map(len, asked.values())), "hf takes one pattern an option"


@pytest.mark.parametrize(
    ("model", "way_out"),
    [
        ("mine", "put a folder in the layout of diffusers, as save_pretrained leaves it, at {folder}"),
        ("inpaint-nano/synthetic/pipeline", "amodal-bench train --method inpaint-nano --dataset synthetic, whose pipe"),
    ],
)
def test_what_is_no_hub_id_is_not_looked_for_or_got_there(
    model: str, way_out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backbones, "SHIPPED", tmp_path / "none")
    with pytest.raises(WeightsNotFound) as caught:
        find(Backbone(model=model), tmp_path)
    assert way_out.format(folder=tmp_path / model) in str(caught.value)
    assert "the hub's cache" not in str(caught.value)
    assert "hf download" not in str(caught.value)


def test_a_model_in_the_hubs_cache_is_found_by_its_id_and_revision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    kept = tmp_path / "hub" / "models--some--pipe"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text("a" * 40)
    for commit in "ab":
        (kept / "snapshots" / (commit * 40)).mkdir(parents=True)
    assert find(Backbone(model="some/pipe"), tmp_path) == kept / "snapshots" / ("a" * 40)
    assert find(Backbone(model="some/pipe", revision="b" * 40), tmp_path) == kept / "snapshots" / ("b" * 40)
    with pytest.raises(WeightsNotFound, match="--revision " + "c" * 40):
        find(Backbone(model="some/pipe", revision="c" * 40), tmp_path)


def test_a_folder_below_the_weights_is_found(folder: Make, tmp_path: Path) -> None:
    shutil.copytree(folder("nano"), tmp_path / "mine" / "nano")
    assert find(Backbone(model="mine/nano"), tmp_path) == tmp_path / "mine" / "nano"


@pytest.mark.parametrize(
    ("name", "family", "inputs", "factor", "texts"),
    [
        ("sd9", "sd", 9, 8, 1), ("sd4", "sd", 4, 8, 1), ("xl", "xl", 9, 8, 2), ("flux", "flux", 64, 8, 2),
        ("fill", "fill", 384, 8, 2), ("nano", "sd", 9, 4, 0),
    ],
)  # fmt: skip
def test_what_a_folder_says(name: str, family: str, inputs: int, factor: int, texts: int, folder: Make) -> None:
    kind = read(folder(name))
    assert (kind.family, kind.inputs, kind.factor, len(kind.texts)) == (family, inputs, factor, texts)


def test_every_known_class_is_one_of_diffusers() -> None:
    import diffusers

    assert [name for name in FAMILIES if not hasattr(diffusers, name)] == []


@pytest.mark.parametrize(
    ("name", "file", "values", "told"),
    [
        (
            "sd9",
            "model_index.json",
            {"_class_name": "KandinskyPipeline"},
            r"sd9 holds a KandinskyPipeline; known are St",
        ),
        (
            "sd9",
            "unet/config.json",
            {"in_channels": 5},
            r"sd9/unet takes 5 channels, expected 4 or 9: this is no inpai",
        ),
        ("flux", "transformer/config.json", {"in_channels": 384}, r"transformer takes 384 channels, expected 64: "),
        ("sd9", "vae/config.json", {"latent_channels": 16}, r"sd9/vae makes latents of 16 channels, expected 4: "),
        ("sd9", "vae/config.json", {"block_out_channels": None}, r"holds a AutoencoderKL without block_out_channels: "),
        ("sd9", "vae/config.json", {"block_out_channels": [8] * 9}, r"resolution 64 is no multiple of 256, .*ion=256$"),
        ("flux", "vae/config.json", {"block_out_channels": [8] * 7}, r"no multiple of 128, which one patch of "),
    ],
)
def test_what_cannot_work_is_refused_before_weights_are_read(
    name: str, file: str, values: dict[str, Any], told: str, changed: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(pipelines, "_from_folder")
    with pytest.raises(Refused, match=told):
        opened(changed(name, file, **values))


@pytest.mark.parametrize("name", ["sd4", "flux"])
def test_an_outside_that_cannot_be_left_free_is_refused(name: str, folder: Make) -> None:
    with pytest.raises(
        Refused, match=r"keep_outside=false: this model \(.*\) does not see the area, .* 9-channel UNet"
    ):
        opened(folder(name), denoising={"keep_outside": False})
    with pytest.raises(Refused, match=r"leakage=eq7 sets the outside back after every step"):
        opened(folder("sd9"), denoising={"keep_outside": False, "leakage": "eq7"})


def test_a_folder_that_is_no_pipeline_is_refused(folder: Make, tmp_path: Path) -> None:
    expected = r"model_index\.json cannot be read \(FileNotFoundError\): expected a folder in the layout of diffusers"
    with pytest.raises(Refused, match=expected):
        opened(tmp_path)
    (tmp_path / "model_index.json").write_text("{no json")
    with pytest.raises(Refused, match=r"model_index\.json cannot be read \(is not JSON\)"):
        opened(tmp_path)


def test_missing_and_damaged_weights_are_refused(folder: Make, tmp_path: Path) -> None:
    copy = shutil.copytree(folder("nano"), tmp_path / "nano")
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(b"none")
    with pytest.raises(Refused, match=r"nano cannot be loaded: "):
        opened(copy)
    weights.unlink()
    with pytest.raises(Refused, match=r"(?s)nano cannot be loaded: .*no file named diffusion_pytorch_model"):
        opened(copy)


def test_what_the_download_leaves_out_is_not_missed(changed: Make, scenes: Make, fill: Make) -> None:
    """A folder without its safety checker, whose VAE is a .bin, as older repositories have them."""
    checker = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    copy = changed("sd9", "model_index.json", safety_checker=checker, requires_safety_checker=True)
    vae = copy / "vae" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(vae), vae.with_suffix(".bin"))
    vae.unlink()
    loaded = opened(copy, denoising={"steps": 4})
    assert (loaded(*scenes("sd9", 1)) == fill("sd9", steps=4)(*scenes("sd9", 1))).all()


def test_half_precision_files_are_read_where_asked_for_and_named_where_not(folder: Make, tmp_path: Path) -> None:
    copy = shutil.copytree(folder("sd9"), tmp_path / "sd9")
    for path in copy.rglob("*.safetensors"):
        path.rename(path.with_suffix(".fp16.safetensors"))
    with pytest.raises(Refused, match=r"(?s)sd9 cannot be loaded: .*\n.*variant fp16: --set backbone\.variant=fp16 r"):
        opened(copy)
    assert opened(copy, backbone={"variant": "fp16"}).pipe.unet.dtype == torch.float32


def test_weights_of_another_network_are_refused(changed: Make) -> None:
    with pytest.raises(Refused, match=r"(?s)nano cannot be loaded: .*(shape|size)"):
        opened(changed("nano", "unet/config.json", block_out_channels=[32, 32]))


def test_int8_needs_a_gpu_and_flux(folder: Make) -> None:
    for name, told in [("flux", "this is flux on cpu"), ("sd9", "this is sd on cpu")]:
        expected = rf"int8 is for Flux on a GPU .*\[quant\].*{told}: set backbone.quantize=none"
        with pytest.raises(Refused, match=expected):
            opened(folder(name), resolution=128, backbone={"quantize": "int8"})


def test_int8_sees_one_instance_at_a_time() -> None:
    with pytest.raises(ValueError, match=r"with forward_batch 4 a mask would depend on its companions: set .* to 1"):
        InpaintParams.model_validate({"forward_batch": 4, "backbone": {"quantize": "int8"}})


def test_a_scheduler_is_taken_by_name(folder: Make) -> None:
    loaded = opened(folder("nano"), backbone={"scheduler": "EulerDiscreteScheduler"})
    assert type(loaded.pipe.scheduler).__name__ == "EulerDiscreteScheduler"
    assert loaded.pipe.scheduler.config.prediction_type == "sample"
    with pytest.raises(
        UnknownName, match=r"unknown scheduler 'EulerScheduler'\. Did you mean '.*Known: .*PNDMScheduler"
    ):
        opened(folder("nano"), backbone={"scheduler": "EulerScheduler"})


def test_numbers_and_memory_are_as_asked(folder: Make, scenes: Make) -> None:
    asked = {"dtype": "bfloat16", "slicing": True, "tiling": True, "offload": True}
    loaded = opened(folder("sd9"), backbone=asked, denoising={"steps": 4})
    assert loaded.pipe.unet.dtype == loaded.pipe.vae.dtype == torch.bfloat16
    assert loaded.pipe.vae.use_slicing
    assert loaded.pipe.vae.use_tiling
    assert loaded(*scenes("sd9", 1)).std() > 1
    assert pipelines.load(folder("xl"), read(folder("xl")), Backbone(), "cpu").watermark is None


@pytest.mark.parametrize("name", ["sd9", "xl", "flux"])
def test_text_encoders_are_read_once(name: str, folder: Make, monkeypatch: pytest.MonkeyPatch, scenes: Make) -> None:
    asked = {"steps": 4, "prompt": "a whole thing"}
    size = 128 if name == "flux" else 64
    first = opened(folder(name), size, denoising=asked)
    assert first.pipe.text_encoder is None
    assert first.pipe.tokenizer is None

    def refuse(*given: Any, **named: Any) -> None:
        raise AssertionError("a text encoder is read again")

    for what in ("CLIPTextModel", "CLIPTextModelWithProjection", "CLIPTokenizer", "T5EncoderModel"):
        monkeypatch.setattr(getattr(transformers, what), "from_pretrained", refuse)
    second = opened(folder(name), size, denoising=asked)
    assert (first(*scenes(name, 1)) == second(*scenes(name, 1))).all()
    with pytest.raises(AssertionError, match="read again"):
        opened(folder(name), size, denoising={**asked, "prompt": "another"})


def test_other_text_encoders_of_the_same_name_have_other_embeddings(folder: Make, tmp_path: Path) -> None:
    copy = shutil.copytree(folder("sd9"), tmp_path / "sd9")
    before = opened(copy)._prompt["prompt_embeds"]
    weights = copy / "text_encoder" / "model.safetensors"
    shifted = {name: value + 0.1 for name, value in load_file(weights).items()}
    save_file(shifted, weights, metadata={"format": "pt"})
    assert not torch.equal(opened(copy)._prompt["prompt_embeds"], before)


@pytest.mark.parametrize("damage", [b"", b"garbage " * 9, b"\0" * 64])
def test_damaged_embeddings_in_the_cache_are_made_anew(
    damage: bytes, folder: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AMODAL_BENCH_CACHE", str(tmp_path / "cache"))
    before = opened(folder("sd9"))._prompt
    (note,) = (tmp_path / "cache" / "prompts").iterdir()
    note.write_bytes(damage)
    after = opened(folder("sd9"))._prompt
    assert f"{note} is damaged and is made anew" in caplog.text
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_a_cache_that_cannot_be_written_costs_time_only(
    folder: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    before = opened(folder("sd9"))._prompt
    monkeypatch.setenv("AMODAL_BENCH_CACHE", str(tmp_path / "file" / "cache"))
    with caplog.at_level(logging.WARNING, "amodal_bench"):
        after = opened(folder("sd9"))._prompt
    assert "embeddings of the prompt are made anew each time" in caplog.text
    assert all(torch.equal(value, after[name]) for name, value in before.items())


@pytest.mark.parametrize("name", ["sd9", "xl"])
def test_rows_with_their_own_prompts_are_those_of_runs_with_one_prompt(name: str, folder: Make, tensors: Make) -> None:
    asked = {"guidance": "text", "prompt": "a {category}"}
    mixed = opened(folder(name), forward_batch=2, denoising=asked)
    pixels, area, seeds = tensors(name, 2)
    found = mixed.latents(pixels, area, seeds, ["a cat", "a dog"])
    for row, word in enumerate(("cat", "dog")):
        alone = opened(folder(name), forward_batch=2, denoising={**asked, "prompt": f"a {word}"})
        assert torch.equal(found[row], alone.latents(pixels, area, seeds)[row])
    assert not torch.equal(found, mixed.latents(pixels, area, seeds, ["a cat", "a cat"]))


def test_a_folder_without_text_encoders_refuses_a_prompt_by_category_when_it_is_loaded(
    folder: Make, tmp_path: Path
) -> None:
    copy = shutil.copytree(folder("sd9"), tmp_path / "sd9")
    save_file({"prompt_embeds": torch.randn(1, 5, 16)}, copy / "prompt_embeds.safetensors", metadata={"prompt": ""})
    with pytest.raises(Refused, match=r"is for the prompt '', asked for 'a object'"):
        opened(copy, denoising={"prompt": "a {category}"})


def test_embeddings_that_come_with_the_folder_stand_for_text_encoders(folder: Make, tmp_path: Path) -> None:
    copy = shutil.copytree(folder("sd9"), tmp_path / "sd9")
    stored = len(list((cache_folder() / "prompts").glob("*")))
    mine = torch.randn(1, 5, 16)
    save_file({"prompt_embeds": mine}, copy / "prompt_embeds.safetensors", metadata={"prompt": ""})
    for part in ("text_encoder", "tokenizer"):
        shutil.rmtree(copy / part)
    loaded = opened(copy, forward_batch=2)
    assert torch.equal(loaded._prompt["prompt_embeds"], torch.cat([mine, mine]))
    assert len(list((cache_folder() / "prompts").glob("*"))) == stored
    with pytest.raises(Refused, match=r"prompt_embeds\.safetensors is for the prompt '', asked for 'a cat'"):
        opened(copy, denoising={"prompt": "a cat"})
    save_file({"other": mine}, copy / "prompt_embeds.safetensors")
    with pytest.raises(Refused, match=r"lacks prompt_embeds, negative_prompt_embeds; it has other"):
        opened(copy)
    (copy / "prompt_embeds.safetensors").write_bytes(b"broken")
    with pytest.raises(Refused, match=r"prompt_embeds\.safetensors is damaged: "):
        opened(copy)


def test_a_folder_without_text_encoders_and_embeddings_is_refused(folder: Make, tmp_path: Path) -> None:
    copy = shutil.copytree(folder("nano"), tmp_path / "nano")
    (copy / "prompt_embeds.safetensors").unlink()
    assert json.loads((copy / "model_index.json").read_text())["text_encoder"] == [None, None]
    with pytest.raises(
        Refused, match=r"neither text encoders nor prompt_embeds\.safetensors: the prompt '' has no emb"
    ):
        opened(copy)
