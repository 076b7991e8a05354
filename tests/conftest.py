"""What all tests share: no network, a cache folder of their own, small real parts."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

# Before any import of huggingface_hub, which reads it once.
os.environ["HF_HUB_OFFLINE"] = "1"

from amodal_bench.files.stamp import stamp_of

# The same examples every time, and no clock: a busy machine is no failure.
settings.register_profile("tests", deadline=None, derandomize=True, max_examples=100)
settings.load_profile("tests")

ROOT = Path(__file__).parent.parent
Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing is read from or left in the user's cache, configuration or data folders."""
    before = dict(os.environ)
    cache, base = tmp_path_factory.mktemp("cache"), tmp_path_factory.getbasetemp()
    scenes = (base.parent if "PYTEST_XDIST_WORKER" in before else base) / "scenes"
    scenes.mkdir(exist_ok=True)
    (cache / "synthetic").symlink_to(scenes)  # rendered once for all processes that run tests
    os.environ["AMODAL_BENCH_CACHE"] = str(cache)
    for name in ("AMODAL_BENCH_DATA", "AMODAL_BENCH_WEIGHTS"):
        os.environ.pop(name, None)
    yield
    os.environ.clear()
    os.environ.update(before)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What takes gigabytes and minutes runs where it is asked for."""
    if "large" not in config.getoption("markexpr"):
        for item in items:
            if item.get_closest_marker("large"):
                item.add_marker(pytest.mark.skip(reason="real sizes take gigabytes and minutes: make test-large"))


@pytest.fixture
def plugins() -> Path:
    """Folder of small plugins: the dataset `squares`, the method `dilate`, ..."""
    return ROOT / "tests" / "plugins"


@pytest.fixture
def real_data() -> Path:
    """Real annotation files with known answers."""
    folder = os.environ.get("AMODAL_BENCH_REAL_DATA")
    if not folder:
        pytest.skip("set AMODAL_BENCH_REAL_DATA to the folder with cocoa_val3, photo_composites and fishbowl_mini")
    return Path(folder)


@pytest.fixture
def cases() -> Path:
    """Small datasets with the faults that people's files have, a folder each."""
    folder = os.environ.get("AMODAL_BENCH_CASES")
    if not folder:
        pytest.skip("set AMODAL_BENCH_CASES to the folder of specimens (bom, fn_abs, im_exif6, ...)")
    return Path(folder)


@pytest.fixture
def settle() -> Callable[[Path], None]:
    """Wait until a file is older than a tick of the file system's clock."""

    def wait(path: Path) -> None:
        while not (stamp := stamp_of(path)) or not stamp.settled(time.time_ns()):
            time.sleep(0.01)

    return wait


def rewrite(path: Path) -> None:
    """In place, as long as before."""
    path.write_bytes(b"new".ljust(path.stat().st_size))


def rewrite_and_set_back(path: Path) -> None:
    """What `rsync --inplace -t` and `touch -r` leave: the same size, inode and time."""
    times = path.stat()
    rewrite(path)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def rename_over(path: Path) -> None:
    """What `mv`, `rsync -t` and most programs leave: the same size and time, another inode."""
    other = path.with_name(f"{path.name}.other")
    shutil.copy2(path, other)
    rewrite_and_set_back(other)
    other.replace(path)


def link_elsewhere(path: Path) -> None:
    """A link to another file of the same size and time."""
    other = path.with_name(f"{path.name}.other")
    shutil.copy2(path, other)
    rewrite_and_set_back(other)
    path.unlink()
    path.symlink_to(other)


@pytest.fixture(params=[rewrite, rewrite_and_set_back, rename_over, link_elsewhere])
def change(request: pytest.FixtureRequest) -> Callable[[Path], None]:
    """Ways to give a file other contents, b"new" and spaces, of the same size."""
    found: Callable[[Path], None] = request.param
    return found


@pytest.fixture
def process(tmp_path: Path) -> Cli:
    """Run amodal-bench in a process of its own, in an empty folder: where the process is what is tested."""
    here = tmp_path / "cwd"
    here.mkdir(exist_ok=True)

    def call(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", "-m", "amodal_bench", *map(str, arguments)],
            cwd=here,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    return call


@pytest.fixture
def cli(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Cli:
    """As `process`, by the entry point in this process, which saves the second that a new one takes to start."""
    from tests.in_process import ended

    here = tmp_path / "cwd"
    here.mkdir(exist_ok=True)

    def call(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        words = [str(argument) for argument in arguments]
        capfd.readouterr()
        code = ended(words, here, environment)
        return subprocess.CompletedProcess(words, code, *capfd.readouterr())

    return call


@pytest.fixture
def rng() -> np.random.Generator:
    """Seeded."""
    return np.random.default_rng(20)
