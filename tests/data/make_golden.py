"""Make the golden runs and their scores in tests/data anew: `python -P tests/data/make_golden.py`.

To be run from the root of the repository, and only when the numbers, or the files of a run, are meant to change.
"""

import os
import shutil
import tempfile
from pathlib import Path

import pandas as pd
import pyarrow as pa

from amodal_bench.metrics import scores as scoring
from amodal_bench.metrics.protocol import protocols
from amodal_bench.resolve.job import Request, prepare
from amodal_bench.resolve.presets import embedded_methods
from amodal_bench.running import run
from amodal_bench.store import folder as store
from amodal_bench.store import rows
from amodal_bench.store.sources import file_sha256

PLUGINS = (Path("tests/plugins/squares.py"), Path("tests/plugins/dilate.py"))
RUNS = Path("tests/data/runs")
SCORES = Path("tests/data/golden")


def make_run(method: str, dataset: str) -> None:
    """One whole run, with nothing of this machine's paths and name in it."""
    plugins = PLUGINS if dataset == "squares" else ()
    job = prepare(Request(method=method, dataset=dataset, plugins=plugins, results=RUNS))
    run.bench(job)
    path = job.folder.path / "timings.parquet"
    timings = rows.read_table(path, rows.TIMINGS)
    worker = pa.array(["golden"] * len(timings), type=pa.string())
    rows.write_table(path, timings.set_column(timings.schema.get_field_index("worker"), "worker", worker))
    record = job.folder.record()
    weights = record["weights"] and {**record["weights"], "path": Path(record["weights"]["path"]).name}
    pretrained = {part: {**facts, "path": Path(facts["path"]).name} for part, facts in record["pretrained"].items()}
    own = {"hardware": {"cpu": "any"}, "argv": ["make_golden.py"], "git": None, "weights": weights}
    tables = {**record["tables"], "timings": file_sha256(path)}
    job.folder.write_record({**record, **own, "pretrained": pretrained, "tables": tables})


def main() -> None:
    """Replace everything."""
    shutil.rmtree(RUNS, ignore_errors=True)
    for method in ("visible", "convex_hull", "dilate"):
        make_run(method, "squares")
    for method in embedded_methods():  # the runs behind docs/tables
        make_run(method, "synthetic")
    SCORES.mkdir(exist_ok=True)
    for folder in store.find_runs(RUNS):
        if folder.spec().dataset != "squares":
            continue
        table: pd.DataFrame = scoring.metrics(folder.instances(), list(protocols().values()))
        table.to_csv(SCORES / f"{folder.record()['preset']}.csv", index=False, float_format="%.9f")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as cache:
        os.environ["AMODAL_BENCH_CACHE"] = cache
        main()
