"""Whole runs through the core with a tiny pipeline and a tiny SAM: cut off, resumed, offline, refused in time."""

import hashlib
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("transformers")
pytest.importorskip("segment_anything")

from amodal_bench.errors import Refused  # noqa: E402
from amodal_bench.methods._segment.nano import build_nano  # noqa: E402
from amodal_bench.methods._training import weights as files  # noqa: E402
from amodal_bench.methods.inpaint import Inpaint, InpaintParams  # noqa: E402
from amodal_bench.plugin import Runtime  # noqa: E402
from amodal_bench.progress import Silent  # noqa: E402
from amodal_bench.resolve.job import Job, Request, prepare  # noqa: E402
from amodal_bench.running import run  # noqa: E402
from amodal_bench.types import AmodalQuery  # noqa: E402

Make = Callable[..., Any]
SMALL: dict[str, Any] = {
    "resolution": 64,
    "forward_batch": 2,
    "backbone": {"model": "pipe"},
    "segmenter": {"type": "nano", "checkpoint": "sam.safetensors"},
    "denoising": {"steps": 7},
}
COUNT = 6


class Cut(Silent):
    """Ends the run as Ctrl-C does, once so many instances are finished."""

    def __init__(self, after: int) -> None:
        self._left = after

    def advance(self, finished: int, failed: int) -> None:
        """Count."""
        self._left -= finished
        if self._left <= 0:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def weights(folder: Make, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree of weights: a pipeline with 9 channels, a SAM for 64 pixels, both random."""
    made: Path = tmp_path_factory.mktemp("weights")
    (made / "pipe").symlink_to(folder("sd9"))
    torch.manual_seed(1)
    files.save(build_nano(), made / "sam.safetensors", {}, half=False)
    return made


@pytest.fixture
def job(plugins: Path, weights: Path, tmp_path: Path) -> Callable[..., Job]:
    def make(results: str = "results", params: dict[str, Any] = SMALL, **request: Any) -> Job:
        request = {"weights": weights, "dataset": "squares", "options": {"count": COUNT}, "batch_size": 2, **request}
        request |= {"plugins": (plugins / "squares.py",), "results": tmp_path / results, "params": params}
        return prepare(Request(method="inpaint", **request))

    return make


def finished(job: Job) -> dict[str, str]:
    """sha256 of every file that the spec alone decides, of a run that is now whole."""
    tally = run.bench(job)
    assert not tally.errors
    assert job.folder.record()["status"] == "complete"
    names = ("plan", "instances", "predictions")
    return {name: hashlib.sha256((job.folder.path / f"{name}.parquet").read_bytes()).hexdigest() for name in names}


def test_a_run_that_was_cut_off_goes_on_to_the_same_bytes(job: Callable[..., Job]) -> None:
    whole = finished(job("whole"))
    cut = job("cut")
    with pytest.raises(KeyboardInterrupt):
        run.bench(cut, Cut(after=2))
    assert cut.folder.finished() == 2
    run.bench(job("cut", limit=3))
    again = job("cut", batch_size=1)
    assert again.folder.finished() == 3
    assert finished(again) == whole
    assert finished(job("one by one", batch_size=5)) == whole


def test_the_record_names_both_models_by_their_digests(job: Callable[..., Job], weights: Path) -> None:
    first = job()
    run.bench(first)
    told = first.folder.record()["pretrained"]
    assert {part: entry["path"] for part, entry in told.items()} == {
        "inpainting": str(weights / "pipe"),
        "segmenter": str(weights / "sam.safetensors"),
    }
    sam = hashlib.sha256((weights / "sam.safetensors").read_bytes()).hexdigest()
    assert told["segmenter"]["sha256"] == sam


def test_several_samples_differ_and_are_voted_on(job: Callable[..., Job]) -> None:
    """The first has the run's own seed."""
    once, first, three = (
        finished(job(str(k), {**SMALL, "voting": voting}))["predictions"]
        for k, voting in enumerate(({}, {"samples": 3, "vote": "first"}, {"samples": 3, "vote": "union"}))
    )
    assert once == first
    assert once != three


@pytest.mark.parametrize(
    ("name", "file", "values", "told"),
    [
        ("sd9", "unet/config.json", {"in_channels": 5}, r"sd9/unet takes 5 channels, expected 4 or 9"),
        ("sd9", "model_index.json", {"_class_name": "Kandinsky"}, r"sd9 holds a Kandinsky; known are "),
        ("sd9", "vae/config.json", {"block_out_channels": [8] * 9}, r"resolution 64 is no multiple of 256"),
    ],
)
def test_a_folder_that_cannot_inpaint_is_refused_before_anything_is_written(
    name: str, file: str, values: dict[str, Any], told: str, changed: Make, job: Callable[..., Job], tmp_path: Path
) -> None:
    wrong = changed(name, file, **values)
    (tmp_path / "sam.safetensors").touch()
    with pytest.raises(Refused, match=told):
        job(weights=tmp_path, params={**SMALL, "backbone": {"model": wrong.name}})
    (wrong / "model_index.json").unlink()
    with pytest.raises(Refused, match=r"model_index\.json cannot be read .* as `hf download` and `save_pretrained` "):
        job(weights=tmp_path, params={**SMALL, "backbone": {"model": wrong.name}})
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"strength": 0.1},
            r"denoising = \{.*\}: strength 0\.1 of 7 steps is no step at all: raise steps to at least 10, or set "
            r"strength to 0 for no inpainting$",
        ),
        ({"strength": 1.5}, r"denoising\.strength = 1\.5: input should be less than or equal to 1"),
        ({"leakage": "eq8"}, r"denoising\.leakage = 'eq8': input should be 'strength', 'eq7' or 'off'"),
    ],
)
def test_what_the_sampler_cannot_do_is_refused_before_anything_is_written(
    changes: dict[str, Any], told: str, job: Callable[..., Job], tmp_path: Path
) -> None:
    with pytest.raises(Refused, match=told):
        job(params={**SMALL, "denoising": {"steps": 7, **changes}})
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("strength", [0.3, 0.5, 0.1, 1 / 3, 1 / 49, 0.007])
def test_the_steps_that_are_asked_for_are_the_fewest_that_do(strength: float) -> None:
    with pytest.raises(ValueError, match="no step at all") as caught:
        InpaintParams.model_validate({"denoising": {"steps": 1, "strength": strength}})
    least = int(str(caught.value).split("at least ")[1].split(",")[0])
    assert InpaintParams.model_validate({"denoising": {"steps": least, "strength": strength}})
    assert int((least - 1) * strength) == 0


def test_a_library_that_is_not_installed_is_named_before_anything_is_written(
    job: Callable[..., Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("cv2", "segment_anything"):
        monkeypatch.setitem(sys.modules, name, None)
    told = r"inpaint needs what is not installed here, segment_anything, cv2: pip install 'amodal-bench\[inpaint\]'"
    with pytest.raises(Refused, match=told):
        job()
    assert not (tmp_path / "results").exists()


def test_no_inpainting_and_equation_7_need_no_share_of_steps() -> None:
    for denoising in ({"strength": 0}, {"strength": 0.01, "leakage": "eq7"}, {"strength": 0.01, "leakage": "off"}):
        assert InpaintParams.model_validate({"denoising": denoising}).denoising.steps == 20


def test_nothing_reaches_out_even_where_the_hub_may_be_asked(
    folder: Make, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipeline in the hub's cache under its id, with HF_HUB_OFFLINE off and every socket shut."""
    from huggingface_hub import constants

    def refuse(*given: Any, **named: Any) -> None:
        raise AssertionError(f"connecting to {given}")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    kept = tmp_path / "hub" / "models--some--pipe"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text("a" * 40)
    (kept / "snapshots").mkdir()
    (kept / "snapshots" / ("a" * 40)).symlink_to(folder("sd9"))
    (tmp_path / "sam.safetensors").symlink_to(weights / "sam.safetensors")
    params = InpaintParams.model_validate({**SMALL, "backbone": {"model": "some/pipe"}})
    made = Inpaint(params)
    made.load(Runtime(weights=tmp_path))
    (mask,) = made.predict([asked("pixel")], [3])
    assert mask.shape == (40, 56)


def asked(what: str) -> AmodalQuery:
    """One pixel, three, a frame along all borders, or everything, in a noisy image."""
    visible = np.zeros((40, 56), dtype=np.bool_)
    visible[20, 30] = True
    if what == "three":
        visible[22, [3, 50]] = True
    if what == "frame":
        visible[[0, -1]] = visible[:, [0, -1]] = True
    if what == "full":
        visible[:] = True
    image = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    return AmodalQuery(f"made/test/{what}/0", what, image, visible)


@pytest.mark.parametrize("changes", [{}, {"region": {"mode": "square"}}, {"condition": {"keep_visible": True}}])
@pytest.mark.parametrize("leakage", ["strength", "eq7"])
def test_the_smallest_and_the_largest_objects_pass_through_real_parts(
    changes: dict[str, Any], leakage: str, weights: Path
) -> None:
    """A hull that vanishes in the latents, fewer than nine pixels, an object on every border; alone and together."""
    denoising = {"steps": 4, "leakage": leakage}
    made = Inpaint(InpaintParams.model_validate({**SMALL, **changes, "denoising": denoising, "union_visible": True}))
    made.load(Runtime(weights=weights))
    queries = [asked(what) for what in ("pixel", "three", "frame", "full")]
    together = made.predict(queries, [1, 2, 3, 4])
    for number, (query, mask) in enumerate(zip(queries, together, strict=True)):
        assert mask[query.visible].all()
        assert np.array_equal(made.predict([query], [number + 1])[0], mask)
