"""Parts become tables: the same bytes however the rows lay, nothing lost, in memory that does not grow."""

import hashlib
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amodal_bench.errors import RunDamaged
from amodal_bench.store import merging
from amodal_bench.store.merging import merge
from amodal_bench.store.rows import read_table, to_table, write_table
from amodal_bench.store.sources import TABLES, OldTables, PartFile, RowSource, overview

Rows = Sequence[dict[str, Any]]


def row(k: int, **changes: Any) -> dict[str, Any]:
    counts = {f"v{i}": i + k for i in range(8)}
    facts = {"id": f"d/s/{k:02d}/0", "image_id": f"{k:02d}", "ann_id": "0", "group_id": f"{k:02d}", "status": "ok"}
    return {**facts, **counts, "size": [2, 3], "counts": b"6", "seconds": 0.1, "worker": "w", **changes}


def failed(k: int, error: str = "boom") -> dict[str, Any]:
    return row(k, status="error", error=error, counts=None, size=None, **{f"v{i}": None for i in range(8)})


def merged(parts: Sequence[Rows], folder: Path) -> dict[str, str]:
    """sha256 of each table that these parts make in `folder`."""
    sources = []
    for number, rows in enumerate(parts):
        sources.append(PartFile(folder / f"{number:03d}.parquet"))
        write_table(sources[-1].path, to_table(rows))
    done = merge(sources, folder)
    found = {name: hashlib.sha256((folder / f"{name}.parquet").read_bytes()).hexdigest() for name in TABLES}
    assert done.tables == found
    assert not list(folder.glob(".*"))
    return found


def instances(folder: Path) -> list[dict[str, Any]]:
    table = read_table(folder / "instances.parquet", TABLES["instances"])
    return list(table.to_pylist())


@settings(max_examples=50)  # twenty files each, in the mean
@given(st.lists(st.integers(0, 11), min_size=1, max_size=40), st.integers(1, 40), st.booleans())
def test_any_partition_into_parts_merges_to_the_same_bytes(order: list[int], size: int, spilled: bool) -> None:
    with TemporaryDirectory() as one, TemporaryDirectory() as other, pytest.MonkeyPatch.context() as patch:
        whole = merged([[row(k) for k in sorted(set(order))]], Path(one))
        if spilled:
            patch.setattr(merging, "_BUCKET", 2000)  # bytes: a few rows
        cut = [[row(k) for k in order[start : start + size]] for start in range(0, len(order), size)]
        assert merged(cut, Path(other)) == whole


def test_the_rows_of_a_group_do_not_depend_on_the_buckets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row(k, id=f"d/s/{k:04d}/0", counts=bytes(100 + k % 7)) for k in range(500)]
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    monkeypatch.setattr(merging, "_GROUP_BYTES", 3000)
    monkeypatch.setattr(merging, "_GROUP_ROWS", 64)
    whole = merged([rows], tmp_path / "a")
    monkeypatch.setattr(merging, "_BUCKET", 5000)
    assert merged([rows[k::9] for k in range(9)], tmp_path / "b") == whole
    assert [r["id"] for r in instances(tmp_path / "b")] == sorted(r["id"] for r in rows)


@pytest.mark.parametrize("bucket", [2000, 10**9])
def test_two_different_results_for_one_instance_are_refused(
    bucket: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merging, "_BUCKET", bucket)
    others = [row(k) for k in range(40)]
    with pytest.raises(RunDamaged, match=r"two different results for d/s/03/0 \(they differ in v1, counts\)"):
        merged([others, [row(3, v1=99, counts=b"5")]], tmp_path)
    assert not (tmp_path / "instances.parquet").exists()


def test_a_finished_row_stands_for_the_failed_try_before_it(tmp_path: Path) -> None:
    for number, parts in enumerate(
        [[[failed(2)], [row(2)]], [[row(2)], [failed(2)]], [[failed(2), failed(2), row(2)]]]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        merged(parts, folder)
        assert [r["status"] for r in instances(folder)] == ["ok"]
    merged([[failed(1)], [failed(1, "a first one")]], tmp_path)
    assert [r["error"] for r in instances(tmp_path)] == ["a first one"]


def test_many_repeats_are_compared_at_once(tmp_path: Path) -> None:
    """Row by row, as it was, 20,000 of them took 49 seconds; the CPU limit is what fails here, not a clock."""
    rows = [row(k, id=f"d/s/{k:05d}/0") for k in range(20_000)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    merged([rows, rows], tmp_path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_utime - before < 20
    assert len(instances(tmp_path)) == 20_000


def test_rows_of_earlier_tables_are_kept_where_no_part_has_them(tmp_path: Path) -> None:
    whole = merged([[row(k) for k in range(5)]], tmp_path)
    ids = pa.array([row(k)["id"] for k in (1, 3, 4)])
    write_table(tmp_path / "000.parquet", to_table([row(0), row(2)]))
    sources: list[RowSource] = [PartFile(tmp_path / "000.parquet"), OldTables(tmp_path, ids)]
    assert overview(sources)["id"].to_pylist() == [row(k)["id"] for k in range(5)]
    assert merge(sources, tmp_path).tables == whole


def test_a_finished_row_whose_mask_is_lost_is_none(tmp_path: Path) -> None:
    merged([[row(0), failed(1)]], tmp_path)
    (tmp_path / "predictions.parquet").unlink()
    (tmp_path / "timings.parquet").unlink()
    found = overview([OldTables(tmp_path, pa.array([row(0)["id"], row(1)["id"]]))])
    assert found.to_pylist() == [{"id": row(1)["id"], "status": "error", "error": "boom"}]


def test_finished_rows_without_their_counts_are_damage(tmp_path: Path) -> None:
    write_table(tmp_path / "000.parquet", to_table([row(0), row(1, v3=None, counts=None)]))
    with pytest.raises(RunDamaged, match=r"000.parquet has finished rows without v3, counts. Delete it and run"):
        merge([PartFile(tmp_path / "000.parquet")], tmp_path)


def test_a_part_is_checked_against_the_digest_in_its_name(tmp_path: Path) -> None:
    path = tmp_path / f"w-000001-{'0' * 16}.parquet"
    write_table(path, to_table([row(0)]))
    with pytest.raises(RunDamaged, match="its bytes are not those that were written"):
        merge([PartFile(path)], tmp_path)


def test_memory_does_not_grow_with_the_masks(tmp_path: Path) -> None:
    """300 MB of masks in parts of 15 MB, under a limit of memory that leaves 450 MB beside the libraries."""
    code = """
import os, resource, sys
from pathlib import Path
from amodal_bench.store.merging import merge
from amodal_bench.store.sources import PartFile
from amodal_bench.store.rows import to_table, write_table
folder = Path(sys.argv[1])
facts = {"image_id": "i", "ann_id": "0", "group_id": "g", "status": "ok", "size": [2, 3], "worker": "w", "seconds": 1.0}
facts |= {f"v{k}": k for k in range(8)}
for part in range(20):
    ids = range(part, 10_000, 20)
    rows = [{"id": f"d/s/{k:05d}/0", "counts": os.urandom(30_000), **facts} for k in ids]
    write_table(folder / f"{part}.parquet", to_table(rows))
start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
merge([PartFile(path) for path in sorted(folder.glob("*.parquet"))], folder)
print(start // 1024, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    start, peak = map(int, done.stdout.split())
    assert peak - start < 450


def test_the_size_of_a_part_counts_what_the_file_writes_in_bits(tmp_path: Path) -> None:
    """Small counts and equal names take no room in a file, but in memory: buckets would be too large."""
    write_table(tmp_path / "000.parquet", to_table([row(k) for k in range(2000)]))
    part = PartFile(tmp_path / "000.parquet")
    assert part.size > 0.9 * sum(table.nbytes for table in part.chunks())
