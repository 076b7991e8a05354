"""The nano presets: the paper's settings and its ablations differ from one another in what they are named after."""

from typing import Any

import pytest

from amodal_bench.presets import find_preset
from amodal_bench.registry import Registry
from amodal_bench.spec import resolved

REGISTRY = Registry()
SMALL = {"resolution", "region", "backbone", "segmenter", "forward_batch"}


def params(name: str) -> dict[str, Any]:
    return resolved(find_preset(name, REGISTRY).params)


def changed(name: str, base: str) -> dict[str, Any]:
    own, other = params(name), params(base)
    found: dict[str, Any] = {}
    for part, value in own.items():
        if isinstance(value, dict):
            found |= {f"{part}.{key}": inner for key, inner in value.items() if other[part][key] != inner}
        elif other[part] != value:
            found[part] = value
    return found


def test_the_papers_settings_are_those_of_sdxl_but_for_the_size() -> None:
    assert {name.split(".")[0] for name in changed("inpaint-nano-paper", "inpaint")} == SMALL


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("no-leakage", {"denoising.leakage": "off"}),
        ("no-background", {"condition.background": "black"}),
        ("no-mask", {"condition.area": "visible"}),
        ("telea", {"fill": "telea", "condition.object_noise": 0.0, "condition.keep_visible": True}),
    ],
)
def test_an_ablation_changes_what_it_says(name: str, change: dict[str, Any]) -> None:
    assert changed(f"inpaint-nano-{name}", "inpaint-nano-paper") == change


def test_all_take_the_same_models() -> None:
    for name in ("", "-paper", "-no-leakage", "-no-background", "-no-mask", "-telea"):
        found = params(f"inpaint-nano{name}")
        assert found["backbone"] == params("inpaint-nano")["backbone"]
        assert found["segmenter"]["checkpoint"] == params("sam-nano")["segmenter"]["checkpoint"]
