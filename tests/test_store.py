import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from amodal_bench.errors import Refused, RunDamaged
from amodal_bench.plugin import Location
from amodal_bench.resolve.registry import Registry
from amodal_bench.running import plan
from amodal_bench.store import folder as store
from amodal_bench.store import rows
from amodal_bench.store.folder import RunFolder, check_writable, find_runs, open_folder, run_folder
from amodal_bench.store.rows import PART, to_table
from amodal_bench.store.spec import RunSpec

SPEC = RunSpec(method="m", revision=1, params={}, dataset="d", split="s", options={}, fingerprint="f")


def row(k: int, **changes: Any) -> dict[str, Any]:
    counts = {f"v{i}": i + k for i in range(8)}
    facts = {"id": f"d/s/{k:02d}/0", "image_id": f"{k:02d}", "ann_id": "0", "group_id": f"{k:02d}", "status": "ok"}
    return {**facts, **counts, "size": [2, 3], "counts": b"6", "seconds": 0.1, "worker": "w", **changes}


def plan_of(count: int) -> pa.Table:
    ids = [row(k)["id"] for k in range(count)]
    return pa.table({"id": ids, "group_id": [i.split("/")[2] for i in ids], "index": range(count)}, schema=rows.PLAN)


def begun(tmp_path: Path, count: int = 6) -> RunFolder:
    folder = run_folder(tmp_path, SPEC, "label")
    folder.create(record(count), plan_of(count))
    return folder


def record(count: int) -> dict[str, Any]:
    return {
        "status": "running",
        "key": SPEC.key(),
        "preset": "label",
        "spec": SPEC.model_dump(mode="json"),
        "request": {"method": "m", "dataset": "d", "params": {}, "options": {}},
        "counts": {"planned": count, "asked": count, "done": 0, "error": 0},
        "timings": {"started": "now", "seconds": 0.0},
    }


def on_disk(folder: RunFolder) -> dict[str, str]:
    found = folder.rows().to_pydict()
    return dict(zip(found["id"], found["status"], strict=True))


def test_a_run_lies_where_its_spec_says(tmp_path: Path) -> None:
    assert run_folder(tmp_path, SPEC, "label").path == tmp_path / "d" / "s" / "label" / SPEC.key()
    with pytest.raises(Refused, match="results/tables is reserved"):
        run_folder(tmp_path, SPEC.model_copy(update={"dataset": "tables"}), "label")


def test_parts_survive_and_the_last_one_makes_the_run_complete(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    folder.append([row(4), row(0)])
    assert on_disk(RunFolder(folder.path)) == {"d/s/04/0": "ok", "d/s/00/0": "ok"}
    folder.finish(folder.record())
    assert folder.record()["status"] == "partial"
    assert folder.instances()["id"].tolist() == ["d/s/00/0", "d/s/04/0"]
    folder.append([row(k) for k in (1, 2, 3, 5)])
    folder.finish(folder.record())
    assert folder.record()["status"] == "complete"
    assert folder.record()["counts"] == {"planned": 6, "asked": 6, "done": 6, "error": 0}
    assert not (folder.path / "parts").exists()
    assert on_disk(folder) == {row(k)["id"]: "ok" for k in range(6)}
    assert folder.instances()["image_id"].tolist()[0] == "00"


def test_a_run_with_failed_instances_is_not_complete(tmp_path: Path) -> None:
    folder = begun(tmp_path, 2)
    folder.append([row(0), row(1, status="error", error="boom")])
    folder.finish(folder.record())
    assert folder.record()["status"] == "errors"
    assert (folder.path / "parts").exists()


def test_a_damaged_part_is_named_with_the_way_out(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    folder.append([row(0)])
    part = next((folder.path / "parts").iterdir())
    part.write_bytes(part.read_bytes()[:-30])
    with pytest.raises(
        RunDamaged, match=rf"{part.name} cannot be read \(.*\). Delete it and run the same command again"
    ):
        folder.rows()


def test_a_row_that_was_never_planned_is_refused(tmp_path: Path) -> None:
    folder = begun(tmp_path, 2)
    folder.append([row(7)])
    with pytest.raises(RunDamaged, match="holds d/s/07/0, which is not in the plan"):
        folder.finish(folder.record())


def test_a_run_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    folder.write_record({**folder.record(), "schema_version": 99})
    with pytest.raises(RunDamaged, match="schema version 99; this amodal_bench reads up to 1: upgrade it"):
        folder.record()
    newer = PART.with_metadata({b"amodal_bench.schema_version": b"99"})
    pq.write_table(to_table([row(0)]).cast(newer), folder.path / "parts" / "x.parquet")
    with pytest.raises(RunDamaged, match="schema version 99"):
        folder.rows()


def test_a_cut_off_record_is_named(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    (folder.path / "run.json").write_text('{"schema_version": 1, "spe')
    with pytest.raises(RunDamaged, match=r"run.json is not JSON; .* start over with --fresh"):
        folder.record()


def test_another_dataset_under_the_same_key_is_refused(tmp_path: Path) -> None:
    folder = begun(tmp_path, 6)
    with pytest.raises(RunDamaged, match="lists other instances than the dataset has now"):
        folder.create(record(5), plan_of(5))


def test_a_results_folder_that_cannot_be_written_is_found_at_once(tmp_path: Path) -> None:
    with pytest.raises(
        Refused, match=r"cannot write to /proc/nothing/results \(.*\): choose another folder with --results"
    ):
        check_writable(Path("/proc/nothing/results"))
    (tmp_path / "file").write_text("")
    with pytest.raises(Refused, match="cannot write to"):
        check_writable(tmp_path / "file" / "results")
    check_writable(tmp_path / "new" / "results")
    assert not (tmp_path / "new").exists()


def test_runs_are_found_and_reserved_names_are_not(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    fake = tmp_path / "tables" / "a" / "b" / "c"
    fake.mkdir(parents=True)
    (fake / "run.json").write_text("{}")
    assert [run.path for run in find_runs(tmp_path)] == [folder.path]
    with pytest.raises(Refused, match="holds no run: name a folder results/DATASET/SPLIT/METHOD/KEY"):
        open_folder(tmp_path)


def test_the_plan_keeps_groups_together_and_a_prefix_is_kept_by_a_longer_one(plugins: Path, tmp_path: Path) -> None:
    cls = Registry([plugins / "squares.py"]).dataset("squares").cls
    dataset = cls(Location(name="squares", root=tmp_path, cache=tmp_path), "test", cls.Options())
    whole = plan.make_plan(dataset)
    groups = whole["group_id"].to_pylist()
    assert groups != sorted(groups)
    assert [g for k, g in enumerate(groups) if k == 0 or groups[k - 1] != g] == list(dict.fromkeys(groups))
    assert [dataset.ids()[i] for i in whole["index"].to_pylist()] == whole["id"].to_pylist()
    shards = [plan.shard(whole, k, 3) for k in range(3)]
    assert sorted(id for s in shards for id in s["id"].to_pylist()) == sorted(whole["id"].to_pylist())
    assert not {*shards[0]["group_id"].to_pylist()} & {*shards[1]["group_id"].to_pylist()}


def test_groups_stand_in_the_order_of_their_hash_and_take_turns_in_shards(
    plugins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the definition, also where ids come in many pieces; the dataset's own order inside a group."""
    monkeypatch.setattr(plan, "_CHUNK", 7)
    cls = Registry([plugins / "squares.py"]).dataset("squares").cls
    dataset = cls(
        Location(name="squares", root=tmp_path, cache=tmp_path), "test", cls.Options.model_validate({"count": 60})
    )
    monkeypatch.setattr(dataset, "group", lambda id: f"{int(id.split('/')[2]) % 7}é")
    whole = plan.make_plan(dataset)
    hashed = sorted(
        (hashlib.sha256(dataset.group(id).encode()).digest(), index) for index, id in enumerate(dataset.ids())
    )
    assert whole["index"].to_pylist() == [index for _, index in hashed]
    turns = list(dict.fromkeys(whole["group_id"].to_pylist()))
    for number in range(4):
        mine = [g for g in whole["group_id"].to_pylist() if turns.index(g) % 4 == number]
        assert plan.shard(whole, number, 4)["group_id"].to_pylist() == mine
    assert plan.find(whole, dataset.ids()[5]) == whole["index"].to_pylist().index(5)
    assert plan.find(whole, "squares/test/none/0") is None


@pytest.mark.parametrize("text", ["4/4", "1", "a/b", "-1/2", "1/0", ""])
def test_a_shard_is_i_of_n(text: str) -> None:
    with pytest.raises(Refused, match="--shard takes i/n with 0 <= i < n"):
        plan.parse_shard(text)


def test_the_record_is_readable_json(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    assert json.loads((folder.path / "run.json").read_text())["status"] == "running"
    assert np.array_equal(folder.plan()["index"], range(6))
    assert store.RESERVED == ("tables", "report")
