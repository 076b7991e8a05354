"""The nano presets: the paper's settings and the Telea fill differ from one another in what they are named after."""

from typing import Any

from amodal_bench.resolve.presets import find_preset
from amodal_bench.resolve.registry import Registry
from amodal_bench.store.spec import resolved

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


def test_telea_is_the_papers_settings_with_another_fill() -> None:
    change = {"fill": "telea", "condition.object_noise": 0.0, "condition.keep_visible": True}
    assert changed("inpaint-nano-telea", "inpaint-nano-paper") == change


def test_all_take_the_same_models() -> None:
    for name in ("", "-paper", "-telea"):
        found = params(f"inpaint-nano{name}")
        assert found["backbone"] == params("inpaint-nano")["backbone"]
        assert found["segmenter"]["checkpoint"] == params("sam-nano")["segmenter"]["checkpoint"]


def test_the_second_edition_looks_around_keeps_the_picture_and_changes_nothing_else() -> None:
    change = {
        "condition.background": "image", "condition.grow": 0.05, "within_area": True,
        "backbone.model": "inpaint-nano-2/synthetic+composites/pipeline",
        "segmenter.checkpoint": "sam-nano-2/synthetic+composites/model.safetensors",
    }  # fmt: skip
    own, first = params("inpaint-nano-2"), params("inpaint-nano")
    assert own["condition"].pop("within") == "things"
    found = {f"{part}.{key}": inner for part, value in own.items() if isinstance(value, dict)
             for key, inner in value.items() if first[part][key] != inner}  # fmt: skip
    found |= {name: value for name, value in own.items() if not isinstance(value, dict) and first.get(name) != value}
    assert found == change
    assert params("sam-nano-2")["segmenter"]["checkpoint"] == change["segmenter.checkpoint"]
