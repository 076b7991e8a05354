"""A folder of runs with every trouble a report must show, its page, and a real browser."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from amodal_bench.metrics.protocol import DEFAULT, Protocol, protocols
from amodal_bench.report.build import WrittenReport, build
from amodal_bench.report.gallery import GallerySettings
from amodal_bench.store import rows
from amodal_bench.store.folder import RunFolder, find_runs
from amodal_bench.store.sources import TABLES

ROOT = Path(__file__).parent.parent.parent
GOLDEN = ROOT / "tests" / "data" / "runs" / "squares"
PLUGINS = (ROOT / "tests" / "plugins" / "squares.py",)
HOSTILE = '<b>&"x"\'</b>'
CATEGORY = "</script><img src=x onerror=window.hacked=1>"
DRAWS = 100
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync"]  # fmt: skip


def default_first() -> list[Protocol]:
    return sorted(protocols().values(), key=lambda protocol: protocol.id != DEFAULT)


def copied(source: RunFolder, label: str, **changes: object) -> RunFolder:
    """A copy of a run under another name, with changes to its record or (`spec_...`) its spec."""
    folder = RunFolder(source.path.parent.parent / label.replace("/", "_") / f"{len(label):012x}")
    shutil.copytree(source.path, folder.path)
    # Without the digests of its tables, which tests change.
    record = {**folder.record(), "preset": label, "key": folder.path.name, "tables": {}}
    for name, value in changes.items():
        part = record["spec"] if name.startswith("spec_") else record
        part[name.removeprefix("spec_")] = value
    folder.write_record(record)
    return folder


def keep_rows(folder: RunFolder, count: int) -> None:
    """Leave the first rows only, as a `--limit` does."""
    for name in ("instances", "predictions", "timings"):
        path = folder.path / f"{name}.parquet"
        rows.write_table(path, rows.read_table(path, TABLES[name]).slice(0, count))


def set_category(folder: RunFolder, image: str, category: str) -> None:
    path = folder.path / "instances.parquet"
    table = rows.read_table(path, rows.INSTANCES)
    names = [
        category if i == image else c
        for i, c in zip(table["image_id"].to_pylist(), table["category"].to_pylist(), strict=True)
    ]
    column = table.schema.get_field_index("category")
    rows.write_table(path, table.set_column(column, table.schema.field(column), pa.array(names, type=pa.string())))


@pytest.fixture(scope="session")
def markup() -> tuple[str, str]:
    """Label of a run and category of three instances of `results`."""
    return HOSTILE, CATEGORY


@pytest.fixture(scope="session")
def draws() -> int:
    """Of the intervals on the page."""
    return DRAWS


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    """The three golden runs, to be changed."""
    results = tmp_path / "results"
    shutil.copytree(GOLDEN, results / "squares")
    return results


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three whole runs and a hostile name on one dataset, a part of a run on other files."""
    folder = tmp_path_factory.mktemp("report") / "results"
    shutil.copytree(GOLDEN, folder / "squares")
    for run in find_runs(folder):
        run.write_record({**run.record(), "tables": {}})
    found = {run.record()["preset"]: run for run in find_runs(folder)}
    copied(found["dilate"], HOSTILE)
    part = copied(found["dilate"], "dilate-part", spec_fingerprint="f" * 64, status="partial")
    keep_rows(part, 9)
    part.write_record({**part.record(), "counts": {"planned": 24, "asked": 9, "done": 9, "error": 0}})
    for run in find_runs(folder):
        set_category(run, "00", CATEGORY)
    return folder


@pytest.fixture(scope="session")
def written(results: Path) -> WrittenReport:
    """The page of `results`."""
    return build(results, results / "report", default_first(), GallerySettings(plugins=PLUGINS), DRAWS)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium; it is required where the suite must be whole (`.ci/run` installs it)."""
    chromium = shutil.which("chromium")
    if not chromium:
        pytest.skip("no chromium: `apt-get install chromium` to drive the report in a real browser")
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=chromium, args=FLAGS)
        yield started
        started.close()


@dataclass
class Heard:
    """What went wrong while a page was open."""

    faults: list[str] = field(default_factory=list)

    def listen(self, page: Page) -> None:
        def console(message: ConsoleMessage) -> None:
            if message.type in ("error", "warning"):
                self.faults.append(message.text)

        page.on("console", console)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("requestfailed", lambda request: self.faults.append(f"failed: {request.url}"))
        page.on("request", lambda request: self._request(request.url))

    def _request(self, url: str) -> None:
        if not url.startswith(("file:", "data:")):
            self.faults.append(f"network: {url}")


@pytest.fixture
def page(browser: Browser, written: WrittenReport) -> Iterator[Page]:
    """The page, open; no test may leave an error in its console or have made it ask the network."""
    with browser.new_context(viewport={"width": 1200, "height": 800}, offline=True) as context:
        opened = context.new_page()
        heard = Heard()
        heard.listen(opened)
        opened.set_default_timeout(10_000)
        opened.goto(written.page.as_uri())
        yield opened
        assert heard.faults == []
