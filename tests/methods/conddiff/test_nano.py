"""The weights that ship: what they say of themselves, and that they give about the numbers of docs/conddiff-nano.md."""

import json
import re
from pathlib import Path

import pytest

import amodal_bench as ab
from amodal_bench.files.cache import file_digest
from amodal_bench.resolve import presets
from amodal_bench.resolve.job import Request, prepare
from amodal_bench.resolve.registry import Registry
from amodal_bench.resolve.training import find_train_file
from amodal_bench.resolve.weights_header import read_metadata
from amodal_bench.running import run
from amodal_bench.store.spec import resolved

ROOT = Path(__file__).parents[3]
FLOORS = {"full": 80, "inv": 56, "whole": 86}  # percent: a little under what docs/conddiff-nano.md has
WEIGHTS = ROOT / "methods" / "conddiff" / "weights"
FILE, FIRST = WEIGHTS / "conddiff-nano.safetensors", WEIGHTS / "conddiff-nano-synthetic.safetensors"


def test_the_file_is_small_and_says_where_it_comes_from() -> None:
    assert FILE.stat().st_size < 8e6
    facts = read_metadata(FILE)
    stated = [facts[name] for name in ("method", "dataset", "split", "seed", "watched")]
    assert stated == ["conddiff", "synthetic+composites", "train", "42", "synthetic+composites/val"]
    assert "watched_reported" not in facts
    assert {"params", "training", "fingerprint", "config", "epochs", "steps"} <= facts.keys()
    training = json.loads(facts["training"])
    assert int(facts["steps"]) == int(facts["epochs"]) * -(-training["epoch_size"] // training["batch_size"])


def test_the_preset_is_the_network_that_was_trained() -> None:
    """What was trained and what is asked for now agree but for what is decided at test."""
    trained = json.loads(read_metadata(FILE)["params"])
    now = resolved(presets.find_preset("conddiff-nano", Registry()).params)
    assert {name for name in trained | now if trained.get(name) != now.get(name)} <= {
        "diffusion", "flip_average", "threshold",
    }  # fmt: skip
    assert {**trained["diffusion"], **{n: now["diffusion"][n] for n in ("steps", "sampler")}} == now["diffusion"]


def test_the_training_file_in_the_repository_is_the_one_that_was_used() -> None:
    used = json.loads(read_metadata(FILE)["training"])
    preset = presets.find_preset("conddiff-nano", Registry())
    settings = preset.plugin.cls.Training
    assert settings is not None
    now = resolved(presets.build(settings, find_train_file("conddiff-nano").training, "nano"))
    of_weights = {name: value for name, value in used.items() if name not in settings.asides}
    assert of_weights == {name: value for name, value in now.items() if name not in settings.asides}
    assert used["start"] == f"sha256:{file_digest(FIRST)}"


def test_what_it_goes_on_from_ships_with_its_own_training_file() -> None:
    facts = read_metadata(FIRST)
    assert (facts["dataset"], facts["seed"]) == ("synthetic", "42")
    settings = presets.find_preset("conddiff-nano-synthetic", Registry()).plugin.cls.Training
    assert settings is not None
    now = presets.build(settings, find_train_file("conddiff-nano-synthetic").training, "nano").model_dump(mode="json")
    used = settings.model_validate(json.loads(facts["training"]))  # the header says rate, batch, ...
    assert now == used.model_dump(mode="json")


def test_the_shipped_weights_complete_shapes(tmp_path: Path) -> None:
    """32 test scenes at 128 pixels: far above the visible mask and the convex hull."""
    pytest.importorskip("timm")
    found = {}
    for name in ("conddiff-nano", "convex_hull"):
        request = Request(
            method=name, dataset="synthetic", options={"resolution": 128}, limit=32, results=tmp_path, device="cpu"
        )
        job = prepare(request)
        run.bench(job)
        assert job.checkpoint is None or job.checkpoint.setting("synthetic") == "supervised"
        frame = ab.open_run(job.folder.path).frame()
        found[name] = (100 * frame["iou_full"].mean(), 100 * frame["iou_inv"].mean())
    full, inv = found["conddiff-nano"]
    assert full > 74
    assert inv > 47
    assert full > found["convex_hull"][0] + 6
    assert inv > found["convex_hull"][1] + 8


def test_on_photos_it_is_of_use(real_data: Path, tmp_path: Path) -> None:
    """98 composites of other photos than it was trained on: hidden parts, and objects in full view."""
    pytest.importorskip("timm")
    request = Request(
        method="conddiff-nano", dataset="coco_a", root=real_data / "photo_composites", results=tmp_path, device="cpu"
    )
    job = prepare(request)
    assert job.checkpoint is not None
    assert job.checkpoint.setting("coco_a") == "zero-shot"
    run.bench(job)
    frame = ab.open_run(job.folder.path).frame()
    targets, whole = frame[frame["ann_id"] == "0.2"], frame[frame["ann_id"] == "0.1"]
    assert (len(targets), len(whole)) == (98, 98)
    assert 100 * targets["iou_full"].mean() > FLOORS["full"]
    assert 100 * targets["iou_inv"].mean() > FLOORS["inv"]
    assert 100 * whole["iou_full"].mean() > FLOORS["whole"]


def test_the_page_names_the_weights_that_ship() -> None:
    page = (ROOT / "docs" / "conddiff-nano.md").read_text()
    assert read_metadata(FILE)["config"] in page
    assert re.search(r"torchrun --nproc-per-node 2 -m amodal_bench train --method conddiff-nano", page)
