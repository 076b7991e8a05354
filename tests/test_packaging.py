"""The wheel and the sdist: what is in them, and that the wheel works in an environment without torch."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Callable
from importlib.metadata import distribution, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
RUNS = ROOT / "tests" / "data" / "runs"
PLUGINS = ROOT / "tests" / "plugins"
HEAVY = ("torch", "torchvision", "diffusers", "timm", "transformers", "segment_anything", "cv2", "av", "accelerate")

LINKS = ("configs", "datasets", "methods")

Run = Callable[..., subprocess.CompletedProcess[str]]


def call(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run without what points to this checkout; fails with the output."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    words = list(map(str, command))
    done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def copy_tree(target: Path) -> None:
    """What a checkout holds, links as links; so that building leaves nothing here."""
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode or not (ROOT / ".git").exists():
        ignored = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "data", "weights")
        shutil.copytree(ROOT, target, symlinks=True, ignore=ignored)
        return
    for name in filter(None, listed.stdout.split("\0")):
        source, copy = ROOT / name, target / name
        if source.is_symlink() or source.is_file():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copy, follow_symlinks=False)


def build(source: Path, target: Path, *kinds: str) -> list[Path]:
    """Build in this environment: no network."""
    command = [
        sys.executable,
        "-P",
        "-m",
        "build",
        "--no-isolation",
        "--skip-dependency-check",
        "--outdir",
        str(target),
    ]
    call(*command, *kinds, source, cwd=target.parent)
    return sorted(target.iterdir())


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist and the wheel."""
    folder = tmp_path_factory.mktemp("build")
    copy_tree(folder / "tree")
    sdist, wheel = sorted(build(folder / "tree", folder / "dist", "--sdist", "--wheel"), key=lambda p: p.suffix)
    assert (sdist.suffixes[-2:], wheel.suffix) == ([".tar", ".gz"], ".whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def sdist(built: tuple[Path, Path]) -> Path:
    return built[0]


@pytest.fixture(scope="module")
def wheel(built: tuple[Path, Path]) -> Path:
    return built[1]


def contents(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def wanted_files() -> set[str]:
    """Every file of this checkout's package, as it lies behind the links; pages of text stay at home."""
    found: set[str] = set()
    for folder in ("amodal_bench", *LINKS):
        for path in (ROOT / folder).rglob("*"):
            name = path.relative_to(ROOT)
            if path.is_dir() or "__pycache__" in name.parts or path.suffix == ".md":
                continue
            if name.parts[:2] not in [("amodal_bench", link) for link in LINKS]:
                found.add(str(name if folder == "amodal_bench" else Path("amodal_bench") / name))
    return found


def test_the_wheel_holds_all_package_files_and_nothing_else(wheel: Path) -> None:
    names = contents(wheel)
    code = {name for name in names if not name.split("/")[0].endswith(".dist-info")}
    assert {name.split("/")[0] for name in names} - {"amodal_bench"} == {f"{wheel.stem.rsplit('-', 3)[0]}.dist-info"}
    assert code == wanted_files()
    named = {"py.typed", "methods/visible.py", "datasets/kins/__init__.py", "configs/protocols/instance-mean-1.yaml"}
    assert {f"amodal_bench/{name}" for name in named} <= code


def test_the_wheel_holds_real_files(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        kinds = {info.filename: info.external_attr >> 28 for info in archive.infolist()}
        text = archive.read("amodal_bench/methods/visible.py").decode()
    assert {name for name, kind in kinds.items() if kind == 0o12} == set()
    assert text == (ROOT / "methods" / "visible.py").read_text()


def test_the_wheel_names_its_command_and_its_licence(wheel: Path) -> None:
    info = wheel.stem.rsplit("-", 3)[0] + ".dist-info"
    with zipfile.ZipFile(wheel) as archive:
        scripts = archive.read(f"{info}/entry_points.txt").decode()
        metadata = archive.read(f"{info}/METADATA").decode()
        assert "Apache License" in archive.read(f"{info}/licenses/LICENSE").decode()
    assert "amodal-bench = amodal_bench.cli:main" in scripts
    assert "License-Expression: Apache-2.0" in metadata
    assert "Requires-Dist: torch>=2.4; extra == " in metadata


def test_a_wheel_from_the_sdist_is_the_same(sdist: Path, wheel: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
        assert [member.name for member in archive if member.issym() or member.islnk()] == []
    (source,) = (tmp_path / "unpacked").iterdir()
    (again,) = build(source, tmp_path / "dist", "--wheel")
    assert again.name == wheel.name
    assert contents(again) == contents(wheel)


def base_distributions() -> set[str]:
    """Names of all that `pip install amodal-bench` without extras brings along, from what is installed here."""
    found: set[str] = set()
    waiting = list(requires("amodal-bench") or [])
    while waiting:
        requirement = Requirement(waiting.pop())
        marker = requirement.marker
        name = requirement.name.lower()
        if name in found or (marker and not marker.evaluate({"extra": ""})):
            continue
        found.add(name)
        waiting += requires(name) or []
    return found


def link_distributions(names: set[str], site: Path) -> None:
    """Put installed distributions into another site-packages, as links."""
    for name in names:
        installed = distribution(name)
        tops = {Path(file).parts[0] for file in installed.files or [] if ".." not in Path(file).parts}
        for top in tops - {"__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(Path(str(installed.locate_file(top))))


@pytest.fixture(scope="module")
def run(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs a program of an environment that holds the wheel and its base dependencies alone, in an empty folder."""
    folder = tmp_path_factory.mktemp("empty")
    venv.create(folder / "env", with_pip=False, symlinks=True)
    programs = folder / "env" / ("Scripts" if os.name == "nt" else "bin")
    pip = [sys.executable, "-P", "-m", "pip", "--disable-pip-version-check", "--python", str(programs / "python")]
    call(*pip, "install", "--quiet", "--no-index", "--no-deps", wheel, cwd=folder)
    site = call(programs / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder)
    link_distributions(base_distributions(), Path(site.stdout.strip()))
    (folder / "cwd").mkdir()

    def start(program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return call(programs / program, *arguments, cwd=folder / "cwd")

    return start


def test_the_empty_environment_is_empty(run: Run) -> None:
    code = f"""
import amodal_bench, importlib.util as u, sys
assert [name for name in {HEAVY!r} if u.find_spec(name)] == []
assert not any(u.find_spec(name) for name in ("methods", "datasets", "configs", "tests"))
print(amodal_bench.__file__, sys.prefix, sep="\\n")
"""
    location, prefix = run("python", "-I", "-c", code).stdout.splitlines()
    assert Path(location).is_relative_to(prefix)
    assert not Path(location).is_relative_to(ROOT)


def test_list_shows_every_method_dataset_and_protocol(run: Run) -> None:
    table = run("amodal-bench", "list").stdout
    shown = {line.split()[0] for line in table.splitlines() if line.strip()}
    assert "broken" not in table
    folders = {kind: ROOT / kind for kind in ("methods", "datasets")}
    plugins = {
        p.stem for f in folders.values() for p in f.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()
    }
    presets = {path.stem for path in (ROOT / "configs" / "methods").glob("*.yaml")}
    assert {name for name in plugins if name[0] != "_"} | presets | {"instance-mean/1", "pooled/1"} <= shown


def test_every_preset_and_protocol_is_read_from_the_wheel(run: Run) -> None:
    code = """
from amodal_bench.resolve.presets import embedded_methods, preset_names
from amodal_bench.metrics.protocol import protocols
print(*sorted(protocols()), "|", *preset_names(), "|", *embedded_methods())
"""
    found = [part.split() for part in run("python", "-I", "-c", code).stdout.split("|")]
    assert sorted(name.replace("/", "-") for name in found[0]) == stems("protocols")
    assert found[1] == stems("methods")
    assert found[2]


def stems(kind: str) -> list[str]:
    return sorted(path.stem for path in (ROOT / "configs" / kind).glob("*.yaml"))


def test_score_of_a_golden_run(run: Run) -> None:
    (folder,) = (RUNS / "squares" / "test" / "convex_hull").iterdir()
    done = run("amodal-bench", "score", folder, "--protocol", "pooled/1")
    assert re.search(r"^ convex_hull +75\.00", done.stdout, re.MULTILINE)


def test_bench_of_a_plugin(run: Run) -> None:
    files = ("--plugin", PLUGINS / "squares.py", "--plugin", PLUGINS / "dilate.py")
    done = run("python", "-P", "-m", "amodal_bench", "bench", "-m", "visible,dilate", "-d", "squares", *files)
    assert re.search(r"^ visible +60\.00", done.stdout, re.MULTILINE)
