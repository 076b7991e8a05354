"""How long does the report of a large results folder take, and how long does its page take to open?

    python benchmarks/report.py [INSTANCES] [METHODS]        (default: 100,000 instances of each of 2 methods)

Bars: built in under 60 s; opened (DOMContentLoaded and the first picture drawn) in under 2 s in headless Chromium. The
rows are made here and written with the store's own functions; an image has ten instances, as in KINS.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from playwright.sync_api import sync_playwright
from rich.console import Console

from amodal_bench.masks.counts import COLUMNS
from amodal_bench.metrics.protocol import DEFAULT, protocols
from amodal_bench.report.build import build
from amodal_bench.report.gallery import GallerySettings
from amodal_bench.store.folder import RunFolder
from amodal_bench.store.rows import INSTANCES, PLAN, PREDICTIONS, SCHEMA_VERSION, TIMINGS, write_table

CHROMIUM = "/usr/bin/chromium"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync"]  # fmt: skip
FINGERPRINT = "0" * 64


def counts(number: int, skill: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """(N, 8) pixels: objects of 400 to 40,000 pixels, a fifth in full view, found as well as `skill` says."""
    amodal = np.exp(rng.uniform(np.log(400), np.log(40_000), number))
    rate = np.where(rng.random(number) < 0.2, 0.0, rng.beta(1.2, 2.0, number))
    found = np.clip(rng.normal([[0.95], [skill]], 0.15, (2, number)), 0, 1)
    cells = np.zeros((number, 8))
    cells[:, 7], cells[:, 6] = amodal * (1 - rate) * found[0], amodal * (1 - rate) * (1 - found[0])
    cells[:, 3], cells[:, 2] = amodal * rate * found[1], amodal * rate * (1 - found[1])
    cells[:, 1] = amodal * np.abs(rng.normal(0, 0.12, number))
    cells[:, 0] = 465_750 - cells.sum(axis=1)
    return np.asarray(cells.round(), dtype=np.int64)


def make_run(results: Path, name: str, number: int, skill: float, seed: int) -> None:
    """A complete run of `number` instances on a dataset whose files are not here."""
    table = counts(number, skill, np.random.default_rng(seed))
    images = [f"{k // 10:06d}" for k in range(number)]
    ids = [f"kins/test/{image}/{k}" for k, image in enumerate(images)]
    frame = pd.DataFrame(
        {
            "id": ids,
            "image_id": images,
            "ann_id": [str(k) for k in range(number)],
            "category": np.array(["car", "pedestrian", "cyclist", "truck", "van", "tram"])[np.arange(number) % 6],
            "is_stuff": False,
            "height": 375,
            "width": 1242,
            "group_id": images,
            **{column: table[:, k] for k, column in enumerate(COLUMNS)},
            "status": "ok",
        }
    )
    folder = RunFolder(results / "kins" / "test" / name / f"{seed:012x}")
    plan = pa.table({"id": ids, "group_id": images, "index": list(range(number))}, schema=PLAN)
    folder.create(record(name, folder.path.name, number), plan)
    columns = {field.name: frame.get(field.name, pd.Series([None] * number, dtype=object)) for field in INSTANCES}
    write_table(folder.path / "instances.parquet", pa.table(columns, schema=INSTANCES))
    empty = pa.table({"id": ids, "size": [[375, 1242]] * number, "counts": [b""] * number}, schema=PREDICTIONS)
    write_table(folder.path / "predictions.parquet", empty)
    times = pa.table({"id": ids, "seconds": [0.01] * number, "worker": ["here"] * number}, schema=TIMINGS)
    write_table(folder.path / "timings.parquet", times)


def record(name: str, key: str, number: int) -> dict[str, Any]:
    """What run.json of a complete run holds."""
    spec = {"method": name, "revision": 1, "params": {}, "checkpoint": None, "method_source": None, "dataset": "kins",
            "split": "test", "options": {}, "fingerprint": FINGERPRINT, "dataset_source": None, "visible": "gt",
            "seed": 0}  # fmt: skip
    return {
        "schema_version": SCHEMA_VERSION, "status": "complete", "key": key, "preset": name, "spec": spec,
        "request": {"method": name, "dataset": "kins", "root": "/nowhere"}, "argv": ["benchmarks/report.py"],
        "protocol": DEFAULT, "funnel": {"read": number, "kept": number, "dropped": {}, "noted": {}},
        "counts": {"planned": number, "asked": number, "done": number, "error": 0}, "git": None, "versions": {},
        "hardware": {}, "device_kind": "cpu", "weights": None,
        "timings": {"started": "2026-01-01T00:00:00+00:00", "finished": "2026-01-01T00:00:00+00:00", "seconds": 1.0},
    }  # fmt: skip


def seconds_to_open(page: Path) -> tuple[float, float]:
    """Seconds to DOMContentLoaded and to the first picture on the screen, in a fresh browser."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        tab = browser.new_page()
        tab.goto(page.as_uri())
        tab.wait_for_function("performance.getEntriesByName('first-contentful-paint').length > 0")
        loaded, painted = tab.evaluate(
            "[performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd, "
            "performance.getEntriesByName('first-contentful-paint')[0].startTime]"
        )
        browser.close()
    return loaded / 1000, painted / 1000


def main() -> None:
    """Make the runs, time the report, time its page."""
    given = [int(text) for text in sys.argv[1:]]
    number, methods = [*given, *(100_000, 2)[len(given) :]]
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory() as name:
        results = Path(name)
        for index in range(methods):
            make_run(results, f"made-{index}", number, 0.3 + 0.15 * index, index)
        first = sorted(protocols().values(), key=lambda p: p.id != DEFAULT)
        started = time.perf_counter()
        written = build(results, results / "report", first, GallerySettings())
        built = time.perf_counter() - started
        loaded, painted = seconds_to_open(written.page)
        size = written.page.stat().st_size / 2**20
        console.print(f"{methods} methods x {number:,} instances under {len(first)} protocols: page of {size:.1f} MiB")
        console.print(f"build                  {built:6.1f} s  (bar: 60 s)")
        console.print(f"DOMContentLoaded       {loaded:6.2f} s")
        console.print(f"first contentful paint {painted:6.2f} s  (bar for both: 2 s)")


if __name__ == "__main__":
    main()
