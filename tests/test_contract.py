"""What every plugin must state, and how every method must answer. New files are tested the day they land."""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from amodal_bench.errors import WeightsNotFound
from amodal_bench.plugin import AnyMethod, Runtime, Settings
from amodal_bench.resolve import presets
from amodal_bench.resolve.locate import find_checkpoint
from amodal_bench.resolve.registry import Registry
from amodal_bench.store.spec import instance_seed, resolved
from amodal_bench.types import AmodalQuery, Mask, check_mask

REGISTRY = Registry()
METHODS, DATASETS, PRESETS = REGISTRY.names("methods"), REGISTRY.names("datasets"), presets.preset_names()
HEAVY = ("torch", "torchvision", "diffusers", "timm", "transformers", "segment_anything", "cv2", "av")

Masks = dict[str, Mask]


# Every plugin: importing it and what it states.


@cache
def import_faults() -> dict[str, str]:
    """What each plugin raises where heavy packages are not installed; one process imports them all."""
    code = f"""
import importlib, json, sys
sys.modules.update(dict.fromkeys({HEAVY!r}))
faults = {{}}
for name in {[f"methods.{m}" for m in METHODS] + [f"datasets.{d}" for d in DATASETS]!r}:
    try:
        importlib.import_module("amodal_bench." + name)
    except ImportError as error:
        faults[name] = str(error)
print(json.dumps(faults))
"""
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    faults: dict[str, str] = json.loads(done.stdout)
    return faults


@pytest.mark.parametrize("name", [f"methods.{m}" for m in METHODS] + [f"datasets.{d}" for d in DATASETS])
def test_importing_a_plugin_needs_nothing_heavy(name: str) -> None:
    assert name not in import_faults(), f"import it in load(): {import_faults()[name]}"


@pytest.mark.parametrize("name", METHODS)
def test_a_methods_card_is_complete(name: str) -> None:
    card = REGISTRY.method(name).cls.card
    assert card.title
    assert card.licence
    assert card.revision >= 1
    assert card.batch_size >= 1
    assert not set(card.needs) & set(HEAVY) or card.extra, "needs a heavy package: say which extra installs it"
    assert (card.extra or "all") in extras()


def extras() -> set[str]:
    """Extras that pyproject.toml defines, from the file itself."""
    text = (Path(__file__).parent.parent / "pyproject.toml").read_text()
    return set(tomllib.loads(text)["project"]["optional-dependencies"])


@pytest.mark.parametrize("name", DATASETS)
def test_a_datasets_card_is_complete(name: str) -> None:
    card = REGISTRY.dataset(name).cls.card
    assert card.title
    assert card.licence
    assert card.default_split in card.splits
    stated = {what for counts in card.splits.values() for what in counts}
    assert stated <= {"images", "groups", "annotations", "instances"}, "doctor compares nothing else"
    assert card.embedded or (card.get and card.tree.strip())
    assert all(re.fullmatch(r"[0-9a-f]{8,64}", fingerprint) for fingerprint in card.releases)


@pytest.mark.parametrize("name", METHODS)
def test_params_are_settings_with_defaults(name: str) -> None:
    check_settings(REGISTRY.method(name).cls.Params)


@pytest.mark.parametrize("name", DATASETS)
def test_options_are_settings_with_defaults(name: str) -> None:
    check_settings(REGISTRY.dataset(name).cls.Options)


def check_settings(model: type[Settings]) -> None:
    settings = model()
    assert settings.model_config["frozen"]
    json.dumps(resolved(settings))
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        model.model_validate({"no_such_key": 1})


# Methods that can be loaded here: what they answer.


def queries() -> list[AmodalQuery]:
    """Images of several sizes; masks of one pixel, of the whole frame, at borders, in pieces."""
    rng = np.random.default_rng(7)
    made = []
    for image_id, (height, width) in {"a": (24, 32), "b": (40, 17), "c": (1, 9), "d": (64, 64)}.items():
        image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        for number, mask in enumerate(masks(height, width, rng)):
            category = (None, "dog")[number % 2]
            made.append(AmodalQuery(f"made/test/{image_id}/{number}", image_id, image, mask, category))
    for query in made:
        query.image.setflags(write=False)
        query.visible.setflags(write=False)
    return made


def masks(height: int, width: int, rng: np.random.Generator) -> list[Mask]:
    full = np.ones((height, width), dtype=np.bool_)
    rows, columns = np.mgrid[:height, :width]
    pixel = (rows == height // 2) & (columns == width // 3)
    corner = (rows <= height // 2) & (columns <= width // 2)
    pieces = ((columns // 4) % 2 == 0) & (rows >= height // 4)
    speckle = rng.random((height, width)) < 0.3
    speckle[-1, -1] = True
    return [pixel, full, corner, pieces, speckle]


def loaded(name: str, folder: Path) -> AnyMethod:
    """A method or preset that is ready to predict; skips where packages or weights are not here, with the reason."""
    preset = presets.find_preset(name, REGISTRY, few_steps(presets.find_preset(name, REGISTRY).params))
    card = preset.plugin.cls.card
    lacking = [module for module in card.needs if find_spec(module) is None]
    if lacking:
        pytest.skip(f"not installed: {', '.join(lacking)}")
    try:
        checkpoint = find_checkpoint(preset, "synthetic", None, folder)
        method = preset.make()
        path = checkpoint.path if checkpoint else None
        method.load(Runtime(batch_size=card.batch_size, checkpoint=path, weights=folder))
    except WeightsNotFound as error:
        pytest.skip(str(error).splitlines()[0])
    return method


def few_steps(params: Settings) -> dict[str, Any]:
    """Changes by which a sampler has ten steps where it has more; a strength of 0.3 leaves three of them."""
    inner = {name: few_steps(value) for name, value in params if isinstance(value, Settings)}
    own = {"steps": 10} if getattr(params, "steps", 0) > 10 else {}
    return own | {name: changes for name, changes in inner.items() if changes}


def predict(method: AnyMethod, asked: Sequence[AmodalQuery], batch: int, seed: int = 0) -> Masks:
    answers: Masks = {}
    for start in range(0, len(asked), batch):
        part = asked[start : start + batch]
        found = method.predict(part, [instance_seed(seed, query.id) for query in part])
        assert len(found) == len(part)
        answers.update(zip((query.id for query in part), found, strict=True))
    return answers


def check_equal(found: Masks, wanted: Masks, what: str) -> None:
    assert [id for id in wanted if not np.array_equal(found[id], wanted[id])] == [], what


def check_answers(make: Callable[[], AnyMethod]) -> None:
    """All that the contract says of answers, of the method that `make` makes; benchmarks/gpu.py asks it of a card."""
    method, asked = make(), queries()
    before = [(query.image.tobytes(), query.visible.tobytes()) for query in asked]
    single = predict(method, asked, 1)
    for query in asked:
        mask = single[query.id]
        check_mask(mask, query.visible.shape, query.id)
        assert not np.shares_memory(mask, query.visible), f"{query.id}: the answer must be an array of its own"
    check_equal(predict(method, asked[::-1], 7), single, "batches of 7, backwards, give other masks than one by one")
    fresh = predict(make(), asked[::4], 1)
    check_equal(fresh, {id: single[id] for id in fresh}, "the same seeds give other masks")
    assert [(query.image.tobytes(), query.visible.tobytes()) for query in asked] == before, "inputs were changed"


@pytest.mark.parametrize("name", sorted({*METHODS, *PRESETS}))
def test_a_method_answers_as_the_contract_says(name: str, tmp_path: Path) -> None:
    check_answers(lambda: loaded(name, tmp_path / "weights"))


def test_the_contract_can_fail(plugins: Path) -> None:
    """A method that counts its calls is caught."""

    class Drifting:
        calls = 0

        def predict(self, asked: Sequence[AmodalQuery], seeds: Sequence[int]) -> list[Mask]:
            self.calls += 1
            return [query.visible ^ (self.calls > 20) for query in asked]

    drifting: AnyMethod = Drifting()  # type: ignore[assignment]
    with pytest.raises(AssertionError, match="differ"):
        check_equal(predict(drifting, queries(), 1), predict(drifting, queries(), 7), "they differ")
