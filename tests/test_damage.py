"""Bits that flip on disk: named, or without effect; never read as numbers."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from amodal_bench.errors import RunDamaged
from amodal_bench.store import folder as store
from amodal_bench.store.folder import RunFolder
from amodal_bench.store.merging import merge
from amodal_bench.store.rows import Row
from amodal_bench.store.sources import TABLES, PartFile, file_sha256

GOLDEN = Path(__file__).parent / "data" / "runs"
FLIPS = 200


@pytest.fixture
def complete(tmp_path: Path) -> RunFolder:
    """A complete run with the digests of its tables."""
    source = next(f for f in store.find_runs(GOLDEN) if f.record()["preset"] == "dilate")
    folder = RunFolder(tmp_path / source.path.name)
    shutil.copytree(source.path, folder.path)
    tables = {name: file_sha256(folder.path / f"{name}.parquet") for name in TABLES}
    folder.write_record({**folder.record(), "tables": tables})
    return folder


def flipped(data: bytes, bit: int) -> bytes:
    """With one bit changed."""
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def bits(data: bytes, rng: np.random.Generator) -> list[int]:
    return [int(bit) for bit in rng.integers(0, 8 * len(data), FLIPS)]


@pytest.mark.parametrize("name", ["instances", "predictions"])
def test_no_flipped_bit_of_a_complete_run_is_read(complete: RunFolder, name: str, rng: np.random.Generator) -> None:
    path = complete.path / f"{name}.parquet"
    whole = path.read_bytes()
    read = getattr(complete, name)
    assert len(read()) == 24
    for bit in bits(whole, rng):
        path.write_bytes(flipped(whole, bit))
        with pytest.raises(RunDamaged, match=rf"{name}.parquet cannot be read .*\. Delete it and run the same command"):
            read()


def test_no_flipped_bit_of_a_part_is_merged(complete: RunFolder, tmp_path: Path, rng: np.random.Generator) -> None:
    begun = RunFolder(tmp_path / "begun")
    (begun.path / "parts").mkdir(parents=True)
    rows = complete.instances().set_index("id").join(complete.predictions().to_pandas().set_index("id"))
    rows = rows.join(complete.timings().set_index("id")).reset_index()
    begun.append(_plain(rows))
    part = next((begun.path / "parts").iterdir())
    merge([PartFile(part)], begun.path)
    expected = (begun.path / "predictions.parquet").read_bytes()
    whole = part.read_bytes()
    for bit in bits(whole, rng):
        part.write_bytes(flipped(whole, bit))
        with pytest.raises(RunDamaged, match=r"cannot be read|is no table of a run|schema version|has finished rows"):
            merge([PartFile(part)], begun.path)
        assert (begun.path / "predictions.parquet").read_bytes() == expected


def _plain(rows: pd.DataFrame) -> list[Row]:
    """Rows without what they do not have; pandas makes floats of a column with nulls."""
    return [{str(k): v for k, v in row.items() if np.size(v) > 1 or pd.notna(v)} for row in rows.to_dict("records")]


def test_pages_are_checked_where_a_run_has_no_digests(complete: RunFolder, rng: np.random.Generator) -> None:
    """As a run in progress has none. What remains is a flip in the few bytes of Parquet's own headings."""
    complete.write_record({**complete.record(), "tables": {}})
    path = complete.path / "predictions.parquet"
    whole, table = path.read_bytes(), complete.predictions()
    unseen = 0
    for bit in bits(whole, rng):
        path.write_bytes(flipped(whole, bit))
        try:
            unseen += not complete.predictions().equals(table)
        except RunDamaged:
            continue
    assert unseen <= FLIPS // 50


def test_the_record_of_a_merge_holds_the_digests_of_its_tables(complete: RunFolder) -> None:
    told = json.loads((complete.path / "run.json").read_text())["tables"]
    assert set(told) == {"instances", "predictions", "timings"}
