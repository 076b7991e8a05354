from pathlib import Path

import pytest
from pydantic import Field

from amodal_bench.errors import Refused, UnknownName
from amodal_bench.plugin import Settings
from amodal_bench.resolve import presets
from amodal_bench.resolve.presets import build, find_preset, parse_changes
from amodal_bench.resolve.registry import Registry


class Inner(Settings):
    width: int = 3


class Params(Settings):
    steps: int = Field(default=10, ge=1)
    rate: float = 0.5
    inner: Inner = Inner()


def test_set_values_are_yaml_and_reach_into_nested_ones() -> None:
    params, options = parse_changes(["steps=5", "inner.width=7", "dataset.include_stuff=false", "rate=1e-4"])
    assert options == {"include_stuff": False}
    built = build(Params, params, "method 'm'")
    assert built == Params(steps=5, rate=1e-4, inner=Inner(width=7))


@pytest.mark.parametrize("item", ["steps", "=3"])
def test_set_without_key_and_value_is_refused(item: str) -> None:
    with pytest.raises(Refused, match=f"--set takes key=value, got '{item}'"):
        parse_changes([item])


def test_an_unknown_parameter_is_refused_with_a_suggestion() -> None:
    with pytest.raises(
        UnknownName, match=r"unknown parameter of method 'm' 'step'. Did you mean 'steps'\? Known: inner,"
    ):
        build(Params, {"step": 5}, "method 'm'")


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"steps": "many"}, "method 'm': steps = 'many': input should be a valid integer"),
        ({"steps": 0}, "method 'm': steps = 0: input should be greater than or equal to 1"),
        ({"inner": {"widht": 3}}, "method 'm': inner.widht = 3: extra inputs are not permitted"),
    ],
)
def test_a_wrong_value_is_refused_with_field_value_and_what_was_expected(values: dict[str, object], text: str) -> None:
    with pytest.raises(Refused, match=text):
        build(Params, values, "method 'm'")


def test_parameters_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Params().steps = 3  # type: ignore[misc]


def test_a_preset_is_a_method_with_parameters_and_a_plugin_name_means_its_defaults(
    plugins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "amodal-bench.yaml").write_text("configs: [.]\n")
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "dilate-far.yaml").write_text("method: dilate\nparams: {most: 9}\n")
    registry = Registry([plugins / "dilate.py"])
    assert find_preset("dilate-far", registry).params.model_dump() == {"most": 9}
    assert find_preset("dilate-far", registry, {"most": 2}).params.model_dump() == {"most": 2}
    assert find_preset("dilate", registry).params.model_dump() == {"most": 3}
    with pytest.raises(UnknownName, match=r"unknown method or preset 'dilate-fra'\. Did you mean 'dilate-far'"):
        find_preset("dilate-fra", registry)


def test_a_preset_file_with_an_unknown_key_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("method: visible\nparam: {}\n")
    with pytest.raises(Refused, match=r"p.yaml: not a preset: (.|\n)*param"):
        presets.read_preset(path)
