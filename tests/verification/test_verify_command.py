"""The command: exit codes, several runs at once, and memory that does not grow with the masks."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Cli


def damage(run: Path) -> None:
    data = bytearray((run / "instances.parquet").read_bytes())
    data[len(data) // 3] ^= 16
    (run / "instances.parquet").write_bytes(data)


def test_exit_codes_tell_whether_all_is_verified(results: Path, dilated: Path, plugins: Path, cli: Cli) -> None:
    squares, dilate, trouble = (plugins / f"{name}.py" for name in ("squares", "dilate", "trouble"))
    whole = cli("verify", dilated, "--plugin", squares, "--plugin", dilate)
    assert (whole.returncode, whole.stderr) == (0, "")
    assert whole.stdout.splitlines()[-1] == (
        f"{dilated}: reproducible from this folder: 24 instances counted again, "
        "mIoU_full 55.68, mIoU_inv 25.61 (instance-mean/1)"
    )
    refused = cli("verify", results)
    assert refused.returncode == 2
    assert refused.stdout.count("give it with --plugin FILE. Code that a run's folder names is never imported") == 4
    assert refused.stdout.splitlines()[-1] == "4 runs: 0 verified, 0 differ, 4 not verified"
    damage(dilated)
    differs = cli("verify", results, "--plugin", squares, "--plugin", trouble)
    assert differs.returncode == 1
    assert (
        f"{dilated}: differs\n  - instances.parquet: its bytes are not those that the run ended with" in differs.stdout
    )
    assert "3 instances failed when it ran" in differs.stdout
    assert differs.stdout.splitlines()[-1] == "4 runs: 3 verified, 1 differ, 0 not verified"
    assert cli("verify", results / "nothing").returncode == 2


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"schema_version": 1}'])
def test_a_damaged_record_stops_no_other_run(text: str, results: Path, dilated: Path, cli: Cli) -> None:
    (dilated / "run.json").write_text(text)
    done = cli("verify", results, "--quick")
    assert done.returncode == 1, done.stderr
    assert f"{dilated}: differs\n  - {dilated / 'run.json'}" in done.stdout
    assert done.stdout.splitlines()[-1] == "4 runs: 3 verified, 1 differ, 0 not verified"


def test_a_root_is_that_of_one_dataset(results: Path, dilated: Path, tmp_path: Path, cli: Cli) -> None:
    record = json.loads((dilated / "run.json").read_text())
    record["spec"]["dataset"] = "kins"
    (dilated / "run.json").write_text(json.dumps(record))
    done = cli("verify", results, "--root", tmp_path)
    assert done.returncode == 2
    assert "--root is one dataset's folder, but these runs are of kins, squares: use --data-root" in done.stderr


def test_memory_does_not_grow_with_the_masks(tmp_path: Path) -> None:
    """70 MB of masks: row by row against their counts, in less memory than they take."""
    code = """
import sys
from pathlib import Path
import numpy as np
import pyarrow as pa
from amodal_bench.masks import rle
from amodal_bench.store.rows import PLAN
from amodal_bench.store.spec import RunSpec
from amodal_bench.store.folder import run_folder

COUNT = 2800
spec = RunSpec(method="m", revision=1, params={}, dataset="d", split="s", options={}, fingerprint="f")
folder = run_folder(Path(sys.argv[1]), spec, "m")
mask = np.random.default_rng(0).random((225, 225)) < 0.5
code, area = rle.encode(mask), int(mask.sum())
ids = [f"d/s/{k:05d}/0" for k in range(COUNT)]
facts = {"status": "ok", "height": 225, "width": 225, "worker": "w", "seconds": 1.0, **code}
facts |= {"v0": 225 * 225 - area, "v3": area, **{f"v{k}": 0 for k in (1, 2, 4, 5, 6, 7)}}
groups = [id.split("/")[2] for id in ids]
plan = pa.table({"id": ids, "group_id": groups, "index": range(COUNT)}, schema=PLAN)
record = {"status": "running", "key": spec.key(), "preset": "m", "spec": spec.model_dump(mode="json"),
          "request": {"method": "m", "dataset": "d", "params": {}, "options": {}},
          "counts": {"planned": COUNT, "asked": COUNT, "done": 0, "error": 0},
          "timings": {"started": "now", "seconds": 0.0}}
folder.create(record, plan)
for start in range(0, COUNT, 100):
    part = [{"id": id, "image_id": id.split("/")[2], "ann_id": "0", "group_id": id.split("/")[2], **facts}
            for id in ids[start:start + 100]]
    folder.append(part)
folder.finish(folder.record())
print(COUNT * len(code["counts"]) // 2**20)
"""
    look = """
import resource, sys
from pathlib import Path
from amodal_bench.progress import Silent
from amodal_bench.store.folder import RunFolder
from amodal_bench.results.verification.check import verify
from amodal_bench.results.verification.means import Means
start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = verify(RunFolder(next(Path(sys.argv[1]).glob("d/s/m/*"))), Means(quick=True, workers=1), Silent())
print(found.outcome, found.rows, start // 1024, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""
    made, looked = (
        subprocess.run([sys.executable, "-P", "-c", c, str(tmp_path)], capture_output=True, text=True, check=False)
        for c in (code, look)
    )
    assert made.returncode == looked.returncode == 0, made.stderr + looked.stderr
    outcome, rows, start, peak = looked.stdout.split()
    assert (outcome, rows) == ("verified", "2800")
    assert int(made.stdout) >= 65
    assert int(peak) - int(start) < 60
