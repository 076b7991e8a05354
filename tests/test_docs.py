"""The pages on adding plugins: their files are written out and their commands are run."""

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import yaml

from amodal_bench.errors import DatasetNotReady
from amodal_bench.resolve.job import open_dataset
from amodal_bench.resolve.locate import DataFlags
from amodal_bench.resolve.presets import PresetFile, build
from amodal_bench.resolve.registry import Registry

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "docs" / "adding-a-method.md", ROOT / "docs" / "adding-a-dataset.md"]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

Cli = Callable[..., subprocess.CompletedProcess[str]]


def blocks(kind: str) -> list[str]:
    """Text of all fenced blocks of a kind, in the order of the pages."""
    return [text for page in PAGES for info, text in FENCE.findall(page.read_text()) if info == kind]


def commands() -> list[str]:
    return [line for block in blocks("sh") for line in block.splitlines()]


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """The folder in which `cli` runs, with every file of the pages."""
    folder = tmp_path / "cwd"
    images = folder / "my_boxes" / "images"
    images.mkdir(parents=True)
    for text in [*blocks("python"), *blocks("yaml")]:
        name = text.splitlines()[0].removeprefix("# ")
        (folder / name).write_text(text)
    (annotations,) = blocks("json")
    (folder / "my_boxes" / "test.json").write_text(annotations)
    PIL.Image.fromarray(np.full((32, 48, 3), 90, dtype=np.uint8)).save(images / "street.png")
    return folder


def test_the_pages_hold_what_is_run_here() -> None:
    assert [text.splitlines()[0] for text in blocks("python")] == ["# closing.py", "# dots.py", "# boxes.py"]
    assert len(commands()) == 6


def as_cli(command: str, root: Path = ROOT) -> list[str]:
    """Arguments of `amodal-bench` in a command of the pages; `make` is asked what it would run."""
    words = shlex.split(command)
    if words[0] == "make":
        if not shutil.which("make"):
            pytest.skip("make is not installed")
        told = subprocess.run(["make", "-n", *words[1:]], cwd=root, capture_output=True, text=True, check=True).stdout
        words = shlex.split(next(line for line in told.splitlines() if line.startswith(".venv/bin/amodal-bench ")))
    assert Path(words[0]).name == "amodal-bench"
    return words[1:]


@pytest.mark.parametrize("command", commands())
def test_a_command_of_the_pages_runs(command: str, desk: Path, cli: Cli) -> None:
    arguments = as_cli(command)
    done = cli(*arguments)
    assert done.returncode == 0, done.stderr
    if arguments[0] == "bench":
        asked = arguments[arguments.index("--method") + 1].split(",")
        finished = {path.relative_to(desk).parts[3] for path in desk.glob("results/*/*/*/*/run.json")}
        assert finished == set(asked)
        assert all(re.search(rf"^ *{name} +\d", done.stdout, re.MULTILINE) for name in asked)
    else:
        assert "first instance boxes/test/street/1: 48 x 32, rate 0.500; visible " in done.stdout


def test_the_method_beats_the_floor_where_bars_are_narrow(desk: Path, cli: Cli) -> None:
    done = cli(*as_cli(commands()[0]))
    rows = (line.split() for line in done.stdout.splitlines())
    scores = {row[0]: float(row[1]) for row in rows if len(row) > 8 and row[0] in ("visible", "closing", "convex_hull")
              and re.fullmatch(r"[\d.]+", row[1])}  # fmt: skip
    assert scores["visible"] < scores["closing"] < scores["convex_hull"]


def test_a_key_that_the_method_does_not_know_is_refused_by_name(desk: Path, cli: Cli) -> None:
    done = cli(*as_cli(commands()[1].replace("radius=5", "radus=5")))
    assert done.returncode == 2
    assert "unknown parameter of method 'closing' 'radus'. Did you mean 'radius'? Known: radius." in done.stderr
    assert not (desk / "results").exists()


def test_the_preset_is_one(desk: Path) -> None:
    preset = PresetFile.model_validate(yaml.safe_load((desk / "closing-wide.yaml").read_text()))
    plugin = Registry([desk / "closing.py"]).method(preset.method)
    params = build(plugin.cls.Params, preset.params, "closing-wide")
    assert params.model_dump() == {"radius": 8}


def test_a_missing_file_is_told_as_the_page_says(desk: Path, tmp_path: Path) -> None:
    flags = DataFlags(root=tmp_path / "nowhere")
    with pytest.raises(
        DatasetNotReady, match=r"(?s)test.json not found.*SPLIT.json.*does not exist.*write it yourself"
    ):
        open_dataset("boxes", Registry([desk / "boxes.py"]), None, {}, flags)


def test_the_entry_point_of_the_page_is_in_the_group_of_the_example_that_is_installed_in_a_test() -> None:
    (text,) = blocks("toml")
    page = tomllib.loads(text)["project"]["entry-points"]
    example = tomllib.loads((ROOT / "tests" / "example_plugin" / "pyproject.toml").read_text())
    assert set(page) < set(example["project"]["entry-points"])


def test_the_code_of_the_pages_is_clean(desk: Path) -> None:
    files = sorted(map(str, desk.glob("*.py")))
    checks = [["ruff", "check", "--ignore", "ARG002"], ["ruff", "format", "--check"]]
    for check in checks:
        command = [sys.executable, "-P", "-m", *check, "--config", str(ROOT / "pyproject.toml"), *files]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_the_pages_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)", page.read_text())
    assert all((page.parent / target).exists() for target in targets)
