"""The presets of the method, and what a run without weights is told."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from amodal_bench.files.package import CONFIGS
from amodal_bench.methods.inpaint import InpaintParams
from amodal_bench.resolve import presets
from amodal_bench.resolve.presets import find_preset, read_preset
from amodal_bench.resolve.registry import Registry
from amodal_bench.store.spec import resolved

REGISTRY = Registry()
# inpaint-nano and its ablations, which ship, have a page and tests of their own.
NAMES = [name for name in presets.preset_names() if name.startswith("inpaint-") and not name.startswith("inpaint-nano")]
PLAIN = ["inpaint-sd15", "inpaint-sd2", "inpaint-sdxl", "inpaint-flux"]
# Written out, so that their keys say it, though it is what SDXL begins with anyway.
FULL = {"denoising.full_strength": 0.9999}
PAGE = Path(__file__).parents[3] / "docs" / "inpaint.md"

Cli = Callable[..., subprocess.CompletedProcess[str]]


def params(name: str) -> InpaintParams:
    found = find_preset(name, REGISTRY).params
    assert isinstance(found, InpaintParams)
    return found


def changes(name: str, base: str = "inpaint-sdxl") -> dict[str, object]:
    """Dotted parameters in which two presets differ."""

    def leaves(values: object, path: str = "") -> dict[str, object]:
        if not isinstance(values, dict):
            return {path: values}
        return {k: v for key, value in values.items() for k, v in leaves(value, f"{path}.{key}".lstrip(".")).items()}

    own, other = leaves(params(name).model_dump(mode="json")), leaves(params(base).model_dump(mode="json"))
    return {key: value for key, value in own.items() if other[key] != value}


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_builds_and_has_a_title(name: str) -> None:
    file = read_preset(CONFIGS / "methods" / f"{name}.yaml")
    assert file.method == "inpaint"
    assert file.title
    assert params(name) == find_preset(name, REGISTRY).make().params


def test_titles_tell_presets_apart() -> None:
    titles = [read_preset(CONFIGS / "methods" / f"{name}.yaml").title for name in NAMES]
    assert len(set(titles)) == len(titles)


def test_the_method_itself_is_sdxl() -> None:
    assert params("inpaint-sdxl") == InpaintParams() == params("inpaint")


def test_no_preset_repeats_another() -> None:
    digests = [str(resolved(params(name))) for name in NAMES]
    assert len(set(digests)) == len(digests)


def test_tables_name_presets_that_exist() -> None:
    tables = sorted((CONFIGS / "tables").glob("*.yaml"))
    rows = [row for table in tables for row in yaml.safe_load(table.read_text())["rows"]]
    named = {row.get(key, "") for row in rows for key in ("preset", "method_id")}
    wanted = {name for name in named if name.startswith("inpaint")}
    assert wanted <= set(NAMES)
    assert {*PLAIN, "inpaint-baseline-sdxl", "inpaint-sdxl-no-mask"} <= wanted


@pytest.mark.parametrize("name", PLAIN)
def test_resolution_and_model_are_the_backbones(name: str) -> None:
    """512 for Stable Diffusion 1.5 and 2, 1024 for the others; Flux has its own w, and nothing else changes."""
    sizes = {"inpaint-sd15": 512, "inpaint-sd2": 512}
    assert params(name).resolution == sizes.get(name, 1024)
    assert params(name).denoising.guidance_weight == (1.5 if name == "inpaint-flux" else 0.75)
    assert params(name).denoising.guidance == ("text" if name == "inpaint-flux" else "mask"), "Flux sees no mask"
    assert params(name).denoising.tokens == (256 if name == "inpaint-flux" else None), "the most that schnell takes"
    denoising = {f"denoising.{key}" for key in ("guidance_weight", "guidance", "tokens")}
    assert set(changes(name)) <= {"resolution", "backbone.model", *denoising}
    assert params(name).region.mode == "none"


@pytest.mark.parametrize("base", PLAIN)
def test_variants_change_one_thing(base: str) -> None:
    assert changes(f"{base}-crop", base) == {"region.mode": "square"}
    begun = FULL if base == "inpaint-sdxl" else {}
    assert changes(f"{base}-eq7", base) == {"denoising.leakage": "eq7", **begun}
    assert params(f"{base}-crop").region.enlarge == 2


def test_flux_in_8_bits_is_flux_otherwise() -> None:
    assert changes("inpaint-flux-int8", "inpaint-flux") == {"backbone.quantize": "int8"}


def test_ablations_take_one_part_away() -> None:
    assert changes("inpaint-sdxl-no-leakage") == {"denoising.leakage": "off", **FULL}
    assert changes("inpaint-sdxl-no-background") == {"condition.background": "black"}
    assert changes("inpaint-sdxl-no-mask") == {"condition.area": "visible"}
    assert changes("inpaint-baseline-sdxl") == {
        "denoising.leakage": "off",
        **FULL,
        "condition.background": "image",
        "condition.object_noise": 0,
        "condition.area": "bbox",
        "condition.keep_visible": True,
    }


def test_off_needs_no_quotes() -> None:
    """YAML reads a bare off as false; `--set denoising.leakage=off` must work."""
    given, _ = presets.parse_changes(["denoising.leakage=off", "denoising.full_strength=.9999"])
    assert find_preset("inpaint", REGISTRY, given).params == params("inpaint-sdxl-no-leakage")


def test_a_run_without_weights_is_refused_with_the_way_to_get_them(cli: Cli, tmp_path: Path) -> None:
    weights = tmp_path / "models"
    done = cli("bench", "--method", "inpaint-sdxl", "--dataset", "synthetic", "--weights", weights)
    assert done.returncode == 2
    model = "diffusers/stable-diffusion-xl-1.0-inpainting-0.1"
    for text in (
        f"({model}) is not on this machine",
        f"Looked for: {weights / model}",
        f'hf download {model} --include "*/*" ',
        f"--local-dir {weights / model}",
        "sam_vit_h_4b8939.pth",
        "AMODAL_BENCH_WEIGHTS",
    ):
        assert text in done.stderr
    assert re.search(r"Licence: \S*.*OpenRAIL.*Size: .*\d GB", done.stderr)
    assert list((tmp_path / "cwd").iterdir()) == []


def test_list_shows_every_preset(cli: Cli) -> None:
    listed = cli("list", COLUMNS="200")
    assert listed.returncode == 0, listed.stderr
    assert all(re.search(rf"^ *{name} ", listed.stdout, re.MULTILINE) for name in NAMES)
    state = re.search(r"^ *inpaint-flux .*missing: (.*?) *$", listed.stdout, re.MULTILINE)
    assert state, "each preset names its own models"
    assert state[1] == "FLUX.1 schnell, SAM ViT-H"


# docs/inpaint.md


def test_the_page_names_every_preset_and_every_parameter() -> None:
    page = PAGE.read_text()
    assert [name for name in NAMES if name not in page] == []
    for group in ("condition", "denoising", "backbone"):
        names = type(getattr(InpaintParams(), group)).model_fields
        assert [name for name in names if f"{group}.{name}" not in page] == []


def test_the_page_names_nothing_else() -> None:
    page = PAGE.read_text()
    known = InpaintParams().model_dump(mode="json")
    for group, name in set(re.findall(r"`(condition|denoising|backbone|segmenter|region)\.(?!py\b)(\w+)", page)):
        assert name in known[group], f"{group}.{name}"
    mentioned = set(re.findall(r"\b(inpaint-[a-z0-9]+(?:-[a-z0-9]+)*)\b", page))
    assert mentioned <= {*NAMES, "inpaint-nano"}
    for file in set(re.findall(r"`(\w+\.py)`", page)):
        assert list((PAGE.parents[1] / "methods").rglob(file)), file


def test_the_commands_of_the_page_are_understood(cli: Cli) -> None:
    """Each one is answered about data or weights, which are not here, and never about its words."""
    text = "\n".join(re.findall(r"^```(?:sh)?\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL))
    commands = [line.split("#")[0].split() for line in text.splitlines() if line.startswith("amodal-bench ")]
    assert commands
    for command in commands:
        done = cli(*command[1:], "--dry-run")
        assert "is not on this machine" in done.stderr, (command, done.stderr)
