"""Does a run of a million instances stay small and steady, and is it quickly opened again?

    python benchmarks/scale.py [--count 1000000] [--only run|merge]

Bars: peak memory of `bench` below 700 MB; CPU time of the second half of the instances at most 1.1 of the first
half's; the finished run opened again, by `bench` and by `score`, in under 3 CPU seconds each; a merge of 3 GiB of mask
codes under 1 GiB. Times are CPU times, which a busy machine changes least. An hour on a busy core; 8 GB of disk.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from amodal_bench.files.cache import write_atomic
from amodal_bench.masks.counts import COLUMNS
from amodal_bench.resolve.job import Request, prepare
from amodal_bench.running.run import bench
from amodal_bench.store.folder import RunFolder, find_runs
from amodal_bench.store.rows import FINISHED, PART, to_bytes
from amodal_bench.store.sources import DIGITS

PLUGIN = Path(__file__).parent / "plugins" / "specks.py"
CODE = 3 * 1024 + 256  # bytes of a mask code in the merge: 3.1 GiB of a million
ROWS = 5_000  # in a part
FINISH = """
import sys
from pathlib import Path
from amodal_bench.store.folder import RunFolder
folder = RunFolder(Path(sys.argv[1]))
folder.finish(folder.record())
"""


@dataclass(frozen=True, slots=True)
class Used:
    """What a process took: CPU seconds, and the most memory in MB."""

    cpu: float
    peak: float


def watched(command: list[str], look: Callable[[psutil.Process], None] | None = None) -> Used:
    """Run a command to its end; `look` is called every second."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    handle = psutil.Process(process.pid)
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        if look:
            look(handle)
        time.sleep(1.0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return Used(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6)


def commanded(results: Path, count: int) -> list[str]:
    """The bench command."""
    command = [sys.executable, "-P", "-m", "amodal_bench", "bench", "--method", "visible", "--dataset", "specks"]
    return [*command, f"--set=dataset.count={count}", "--plugin", str(PLUGIN), "--results", str(results)]


def halves(seen: list[tuple[int, float]]) -> float:
    """CPU time of the second half of the rows over that of the first; `seen` holds (rows, CPU seconds)."""
    rows, seconds = np.array(seen, dtype=np.float64).T
    first, middle, last = np.interp([rows[0], (rows[0] + rows[-1]) / 2, rows[-1]], rows, seconds)
    return float((last - middle) / (middle - first))


def run(results: Path, count: int, table: Table) -> None:
    """The whole run, then the same again, then its scores."""
    seen: list[tuple[int, float]] = []
    known: set[str] = set()
    rows = 0

    def look(process: psutil.Process) -> None:
        nonlocal rows
        for folder in find_runs(results):
            new = folder.parts() - known
            if new:
                rows += folder.count(new)
                known.update(new)
                times = process.cpu_times()
                seen.append((rows, times.user + times.system))

    used = watched(commanded(results, count), look)
    again = watched(commanded(results, count))
    score = watched([sys.executable, "-P", "-m", "amodal_bench", "score", str(results)])
    table.add_row("bench: peak memory", f"{used.peak:.0f} MB", "700 MB")
    table.add_row("bench: CPU an instance", f"{1000 * used.cpu / count:.2f} ms", "")
    table.add_row("bench: second half / first half", f"{halves(seen):.2f}", "1.10")
    table.add_row("bench again", f"{again.cpu:.1f} CPU s, {again.peak:.0f} MB", "3 CPU s")
    table.add_row("score", f"{score.cpu:.1f} CPU s, {score.peak:.0f} MB", "3 CPU s")


def merge(results: Path, count: int, table: Table) -> None:
    """A run whose rows all lie in parts, merged."""
    request = Request(
        method="visible", dataset="specks", options={"count": count}, plugins=(PLUGIN,), results=results, limit=ROWS
    )
    job = prepare(request)
    bench(job)
    write_parts(job.folder)
    size = sum(path.stat().st_size for path in (job.folder.path / "parts").iterdir())
    used = watched([sys.executable, "-P", "-c", FINISH, str(job.folder.path)])
    record = job.folder.record()
    if record["status"] != "complete":
        raise SystemExit(f"the merge left the run {record['status']}: {record['counts']}")
    table.add_row(f"merge of {size / 2**30:.1f} GiB: peak memory", f"{used.peak:.0f} MB", "1074 MB")
    table.add_row("merge: CPU", f"{used.cpu:.0f} s", "")


def write_parts(folder: RunFolder) -> None:
    """Rows of every planned instance but the first, with mask codes of random bytes."""
    rng = np.random.default_rng(0)
    plan = folder.plan()
    for start in range(ROWS, len(plan), ROWS):
        some = plan.slice(start, ROWS)
        n, ids, images = len(some), some["id"].combine_chunks(), some["group_id"].combine_chunks()
        columns = {name: pa.nulls(n, PART.field(name).type) for name in PART.names}
        columns |= {"id": ids, "image_id": images, "group_id": images, "ann_id": pa.array(["0"] * n)}
        columns |= {
            "status": pa.array([FINISHED] * n),
            "worker": pa.array(["w"] * n),
            "seconds": pa.array(rng.random(n)),
        }
        columns |= {name: pa.array(rng.integers(0, 9, n)) for name in COLUMNS}
        columns["size"] = pa.array([[8, 8]] * n, PART.field("size").type)
        columns["counts"] = pa.array([rng.bytes(CODE) for _ in range(n)], pa.large_binary())
        data = to_bytes(pa.table(columns, schema=PART))
        name = f"made-{start:08d}-{hashlib.sha256(data).hexdigest()[:DIGITS]}.parquet"
        write_atomic(folder.path / "parts" / name, data)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--only", choices=("run", "merge"))
    given = parser.parse_args()
    table = Table(title=f"{given.count:,} instances")
    for name in ("what", "measured", "bar"):
        table.add_column(name, justify="left" if name == "what" else "right")
    with tempfile.TemporaryDirectory() as folder:
        for name, measure in (("run", run), ("merge", merge)):
            if given.only in (None, name):
                measure(Path(folder) / name, given.count, table)
    Console().print(table)


if __name__ == "__main__":
    main()
