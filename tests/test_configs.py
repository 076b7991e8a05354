"""Every file in configs/ loads and names what there is."""

import json
import re
from pathlib import Path

import pytest

from amodal_bench.files.package import CONFIGS
from amodal_bench.metrics import protocol
from amodal_bench.resolve import presets
from amodal_bench.resolve.registry import Registry
from amodal_bench.store.spec import resolved

REGISTRY = Registry()
METHODS, DATASETS, PRESETS = REGISTRY.names("methods"), REGISTRY.names("datasets"), presets.preset_names()


def test_no_preset_is_called_like_another_method() -> None:
    shared = set(METHODS) & set(PRESETS)
    assert {presets.read_preset(CONFIGS / "methods" / f"{name}.yaml").method for name in shared} == shared


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_names_what_there_is(name: str) -> None:
    file = presets.read_preset(CONFIGS / "methods" / f"{name}.yaml")
    assert file.method in METHODS
    assert file.trained_on is None or file.trained_on in DATASETS
    assert file.title or name == file.method
    preset = presets.find_preset(name, REGISTRY)
    assert preset.make().params == preset.params
    assert json.dumps(resolved(preset.params))


def test_a_preset_called_like_a_method_has_its_defaults() -> None:
    for name in set(PRESETS) & set(METHODS):
        assert presets.find_preset(name, REGISTRY).params == REGISTRY.method(name).cls.Params()
        assert presets.read_preset(CONFIGS / "methods" / f"{name}.yaml").params == {}


@pytest.mark.parametrize("path", sorted((CONFIGS / "protocols").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_protocol_loads_under_the_name_of_its_file(path: Path) -> None:
    found = protocol.read_protocol(path)
    assert found.id.replace("/", "-") == path.stem
    assert re.fullmatch(r"[a-z0-9-]+/[1-9][0-9]*", found.id)
    assert found.title
    assert found.source
    assert protocol.find_protocol(found.id) == found


def test_what_is_compared_by_default_exists() -> None:
    assert set(presets.embedded_methods()) <= {*METHODS, *PRESETS}
    assert protocol.DEFAULT in protocol.protocols()
