"""Plugins from elsewhere: an installed distribution's entry points, and `--plugin FILE`."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parent / "example_plugin"
BROKEN = {
    "broken_import": ("import no_such_module", "No module named 'no_such_module'"),
    "broken_syntax": ("def broken(:", "invalid syntax"),
    "broken_code": ("undefined_name", "name 'undefined_name' is not defined"),
}

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the example distribution was installed."""
    source = tmp_path_factory.mktemp("source") / "example"
    target = tmp_path_factory.mktemp("site")
    shutil.copytree(EXAMPLE, source, ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-P", "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-index"]
    command = [*pip, "--no-deps", "--no-build-isolation", "--target", str(target), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


def add_distribution(site: Path, name: str, source: str, kind: str = "methods", module: str | None = None) -> None:
    """Put a one-module distribution with one entry point into a folder."""
    module = module or name
    (site / f"{module}.py").write_text(source)
    info = site / f"dist_{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: dist-{module.replace('_', '-')}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[amodal_bench.{kind}]\n{name} = {module}\n")


def lines(table: str, name: str) -> list[str]:
    return [line.strip() for line in table.splitlines() if re.match(rf" *{name} ", line)]


def score(table: str, name: str) -> float:
    """mIoU_full in the comparison."""
    found = re.search(rf"^ {name} +([\d.]+)", table, re.MULTILINE)
    assert found, table
    return float(found[1])


def said(done: subprocess.CompletedProcess[str]) -> str:
    """Standard error in one line."""
    return " ".join(done.stderr.split())


def test_list_shows_what_is_installed(installed: Path, cli: Cli) -> None:
    done = cli("list", PYTHONPATH=str(installed))
    assert done.returncode == 0, done.stderr
    assert re.search(r"bounding_box +Bounding box of the visible mask +nothing +ready", done.stdout)
    assert re.search(r"bars +Rectangles behind a bar +test +ready", done.stdout)
    assert not lines(cli("list").stdout, "bounding_box")


def test_a_distributions_presets_protocols_and_tables_are_found_and_listed(
    installed: Path, cli: Cli, tmp_path: Path
) -> None:
    done = cli("list", PYTHONPATH=str(installed), COLUMNS="200")
    assert done.returncode == 0, done.stderr
    assert re.search(r"boxed +Bounding box, by a preset +nothing +ready +amodal-bench-example", done.stdout)
    assert re.search(r"example/1 +mean of .* +amodal-bench-example", done.stdout)
    assert re.search(r"example +Rectangles behind a bar +amodal-bench-example", done.stdout)
    arguments = ("bench", "-m", "boxed", "-d", "bars", "--protocol", "example", "--results", tmp_path / "r")
    done = cli(*arguments, PYTHONPATH=str(installed))
    assert done.returncode == 0, done.stderr
    assert "protocol example/1" in done.stdout
    done = cli("tables", "example", "--results", tmp_path / "r", PYTHONPATH=str(installed))
    assert done.returncode == 0, done.stderr
    assert "example: 1 of 1 cells measured" in done.stdout


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("no_such_package.configs", "no_such_package.configs: no such package"),
        ("dist_bare", "it holds none of the folders methods/, protocols/, tables/, train/"),
        ("dist_bare.configs", "no such folder"),
    ],
)
def test_a_distribution_without_its_configs_is_told_and_stops_nothing(
    value: str, fault: str, cli: Cli, tmp_path: Path
) -> None:
    """Its code is not run for this."""
    (tmp_path / "dist_bare").mkdir()
    (tmp_path / "dist_bare" / "__init__.py").write_text("raise SystemExit('imported')")
    info = tmp_path / "bare-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bare\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[amodal_bench.configs]\nbare = {value}\n")
    done = cli("list", PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert f"broken: the configs of bare (amodal_bench.configs: {value}) cannot be read" in done.stdout
    assert fault in done.stdout
    assert lines(done.stdout, "visible")


def test_bench_runs_both_and_keys_them_by_their_source(installed: Path, cli: Cli, tmp_path: Path) -> None:
    arguments = ("bench", "-m", "visible,bounding_box", "-d", "bars", "--results", tmp_path / "r")
    done = cli(*arguments, PYTHONPATH=str(installed))
    assert done.returncode == 0, done.stderr
    # Rates 0, .1, ... .4: the box closes every bar.
    assert score(done.stdout, "visible") == 80
    assert score(done.stdout, "bounding_box") == 100
    specs = {path.parts[-3]: json.loads(path.read_text())["spec"] for path in (tmp_path / "r").rglob("run.json")}
    assert specs["bounding_box"]["method_source"] == digest(installed, "bounding_box")
    assert specs["bounding_box"]["dataset_source"] == specs["visible"]["dataset_source"] == digest(installed, "bars")
    assert specs["visible"]["method_source"] is None


def digest(site: Path, module: str) -> str:
    """Of a one-file plugin: its name, a zero byte and its bytes."""
    path = site / "amodal_bench_example" / f"{module}.py"
    return hashlib.sha256(f"{path.name}\0".encode() + path.read_bytes()).hexdigest()


def test_another_source_is_another_run(installed: Path, cli: Cli, tmp_path: Path) -> None:
    changed = tmp_path / "site"
    shutil.copytree(installed, changed)
    path = changed / "amodal_bench_example" / "bounding_box.py"
    path.write_text(path.read_text() + "# changed\n")
    for site in (installed, changed):
        done = cli("bench", "-m", "bounding_box", "-d", "bars", "--results", tmp_path / "r", PYTHONPATH=str(site))
        assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "r" / "bars" / "test" / "bounding_box").iterdir())) == 2


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_entry_point_does_not_break_the_others(name: str, installed: Path, cli: Cli, tmp_path: Path) -> None:
    code, fault = BROKEN[name]
    add_distribution(tmp_path, name, code)
    path = os.pathsep.join((str(installed), str(tmp_path)))
    done = cli("list", PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    (line,) = lines(done.stdout, name)
    assert "broken, see below" in line
    assert f"broken: plugin '{name}' of dist-{name.replace('_', '-')} cannot be imported: {fault}" in done.stdout
    assert lines(done.stdout, "bounding_box")
    assert lines(done.stdout, "visible")
    done = cli("bench", "-m", name, "-d", "bars", PYTHONPATH=path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert f"plugin '{name}' of dist-{name.replace('_', '-')} cannot be imported: {fault}" in said(done)


def test_two_plugins_of_one_name_are_refused(installed: Path, cli: Cli, tmp_path: Path, plugins: Path) -> None:
    code = (plugins / "dilate.py").read_text()
    add_distribution(tmp_path, "bounding_box", code, module="other_box")
    path = os.pathsep.join((str(installed), str(tmp_path)))
    done = cli("bench", "-m", "bounding_box", "-d", "bars", "--results", tmp_path / "r", PYTHONPATH=path)
    assert done.returncode == 2
    assert "2 methods are called 'bounding_box' (built in, entry points, --plugin): rename all but one" in said(done)
    assert not (tmp_path / "r").exists()
    listed = cli("list", PYTHONPATH=path)
    assert listed.returncode == 0
    assert len(lines(listed.stdout, "bounding_box")) == 1
    assert "broken: 2 methods are called 'bounding_box'" in listed.stdout


def test_a_file_called_like_a_built_in_method_is_refused(cli: Cli, tmp_path: Path, plugins: Path) -> None:
    copy = tmp_path / "visible.py"
    shutil.copy(plugins / "dilate.py", copy)
    done = cli("bench", "-m", "visible", "-d", "squares", "--plugin", plugins / "squares.py", "--plugin", copy)
    assert done.returncode == 2
    assert "2 methods are called 'visible'" in said(done)


def test_two_files_of_one_name_are_refused(cli: Cli, tmp_path: Path, plugins: Path) -> None:
    copy = tmp_path / "dilate.py"
    shutil.copy(plugins / "dilate.py", copy)
    files = ("--plugin", plugins / "squares.py", "--plugin", plugins / "dilate.py", "--plugin", copy)
    done = cli("bench", "-m", "dilate", "-d", "squares", *files)
    assert done.returncode == 2
    assert "2 methods are called 'dilate'" in said(done)


@pytest.mark.parametrize(
    ("name", "source", "text"),
    [
        ("gone.py", None, "gone.py: no such file"),
        ("notes.txt", "closing", "notes.txt: not a Python file"),
        ("cut.py", "class Cut(\n", "cut.py: cannot be imported: '(' was never closed"),
        ("far.py", "import no_such_module", "far.py: cannot be imported: No module named 'no_such_module'"),
        ("slip.py", "undefined_name", "slip.py: cannot be imported: name 'undefined_name' is not defined"),
        ("empty.py", "x = 1\n", "empty.py: it defines neither a Method nor a Dataset"),
    ],
)
def test_a_file_that_holds_no_plugin(name: str, source: str | None, text: str, cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / name
    if source is not None:
        path.write_text(source)
    done = cli("bench", "-m", path.stem, "--plugin", path, "--results", tmp_path / "r")
    assert done.returncode == 2
    assert f"amodal-bench: --plugin {tmp_path}/{text}" in said(done)
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "r").exists()


def test_a_file_with_two_methods_is_refused_by_their_names(cli: Cli, tmp_path: Path, plugins: Path) -> None:
    path = tmp_path / "pair.py"
    path.write_text((plugins / "dilate.py").read_text() + "\n\nclass Twice(Dilate):\n    pass\n")
    done = cli("bench", "-m", "pair", "-d", "squares", "--plugin", plugins / "squares.py", "--plugin", path)
    assert done.returncode == 2
    assert f"{path} must define exactly one Method, found: Dilate, Twice" in said(done)


def test_one_file_may_hold_a_method_and_a_dataset(cli: Cli, tmp_path: Path, plugins: Path) -> None:
    path = tmp_path / "squares.py"
    method = (plugins / "dilate.py").read_text().split('"""', 2)[2]
    path.write_text((plugins / "squares.py").read_text() + method)
    done = cli("bench", "-m", "squares", "-d", "squares", "--plugin", path)
    assert done.returncode == 0, done.stderr
    assert score(done.stdout, "squares") > 0
