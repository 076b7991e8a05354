"""`verify` on real runs: healthy ones pass, and whatever was changed in one is named."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import amodal_bench as ab
from amodal_bench.errors import Refused
from amodal_bench.masks import rle
from amodal_bench.metrics.protocol import find_protocol
from amodal_bench.resolve.registry import Registry
from amodal_bench.results.finished import load
from amodal_bench.results.summary import summarise
from amodal_bench.results.verification.dataset import check_weights
from amodal_bench.results.verification.means import Means
from amodal_bench.results.verification.result import Verification
from amodal_bench.store.folder import RunFolder
from amodal_bench.store.lock import FolderLock
from amodal_bench.store.rows import write_table
from amodal_bench.store.sources import file_sha256

Check = Callable[..., Verification]
Rows = list[dict[str, Any]]
FILES = tuple(Path(__file__).parent.parent / "plugins" / f"{name}.py" for name in ("squares", "dilate"))
FIRST = "squares/test/00/0"


def edit_record(run: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Edit run.json in place."""
    record = json.loads((run / "run.json").read_text())
    change(record)
    (run / "run.json").write_text(json.dumps(record))


def edit_table(run: Path, name: str, change: Callable[[list[dict[str, Any]]], object]) -> None:
    """Edit the rows of a table, and the digest of it in run.json, as one who knows the format would."""
    path = run / f"{name}.parquet"
    table = pq.read_table(path)
    rows = table.to_pylist()
    change(rows)
    write_table(path, pa.Table.from_pylist(rows, schema=table.schema))
    edit_record(run, lambda record: record["tables"].update({name: file_sha256(path)} if name != "plan" else {}))


def flip(path: Path, where: float) -> None:
    """Turn one bit of a file over, at this share of its length."""
    data = bytearray(path.read_bytes())
    data[int(len(data) * where)] ^= 1
    path.write_bytes(data)


def test_a_whole_run_is_reproducible_and_has_the_scores_that_score_prints(dilated: Path, check: Check) -> None:
    found = check(dilated)
    assert (found.outcome, found.ok, found.rows, found.differences, found.notes) == ("verified", True, 24, (), ())
    summary = summarise(load(RunFolder(dilated)), find_protocol("instance-mean/1"))
    values = [summary.value(metric) for metric in ("mIoU_full", "mIoU_inv")]
    assert found.scores == pytest.approx([value["value"] for value in values if value is not None])
    assert str(found) == (
        f"{dilated}: reproducible from this folder: 24 instances counted again, "
        "mIoU_full 55.68, mIoU_inv 25.61 (instance-mean/1)"
    )


def test_the_folder_alone_is_whole(dilated: Path) -> None:
    found = ab.verify(dilated, quick=True)
    assert found.ok
    assert str(found).startswith(f"{dilated}: whole: 24 instances agree with their masks and the record")


def test_partial_runs_and_failed_instances_are_told(partial: Path, failed: Path, check: Check) -> None:
    assert (check(partial).ok, check(partial).rows) == (True, 10)
    assert check(partial).notes == ("partial: 10 of 24 planned instances have a row",)
    assert (check(failed).ok, check(failed).rows) == (True, 21)
    assert check(failed).notes == ("3 instances failed when it ran: they have no mask, so nothing to count again",)


def test_runs_that_were_given_other_visible_masks_have_all_sixteen_counts_made_again(given: Path, check: Check) -> None:
    assert check(given).ok
    edit_table(given, "instances", lambda rows: rows[0].update(v0=rows[0]["v0"] - 1, v8=rows[0]["v8"] + 1))
    assert ab.verify(given, quick=True).ok
    (difference,) = check(given).differences
    assert "1 instance, in v0, v8: squares/test/00/0 (v0 stored" in difference


def test_the_visible_masks_may_lie_elsewhere_now_and_must_be_those_of_the_run(
    given: Path, made: Path, tmp_path: Path, check: Check
) -> None:
    edit_record(given, lambda record: record["request"].update(visible="predicted:/nowhere/d.json"))
    found = check(given)
    assert found.outcome == "refused"
    assert "are not here: put their file at /nowhere/d.json (`verify` takes them from elsewhere: --" in found.refusal
    assert check(given, visible=f"predicted:{made / 'detections.json'}").ok
    (tmp_path / "others.json").write_text((made / "detections.json").read_text().replace('"0"', '"0" '))
    found = check(given, visible=f"predicted:{tmp_path / 'others.json'}")
    assert f"are not here: predicted:{tmp_path / 'others.json'} holds others" in found.refusal


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("where", [0.05, 0.3, 0.6])
@pytest.mark.parametrize("name", ["instances", "predictions", "timings", "plan"])
def test_one_bit_of_any_table_is_found(name: str, where: float, quick: bool, dilated: Path, check: Check) -> None:
    flip(dilated / f"{name}.parquet", where)
    found = check(dilated, quick=quick)
    assert found.outcome == "differs"
    assert any(f"{name}.parquet" in line for line in found.differences)
    if name != "plan":
        assert f"{name}.parquet: its bytes are not those that the run ended with (sha256 expected" in "".join(
            found.differences
        )


@pytest.mark.parametrize("name", ["instances", "predictions", "timings"])
def test_one_bit_is_found_by_its_page_where_the_digest_was_adapted(name: str, dilated: Path) -> None:
    path = dilated / f"{name}.parquet"
    data = path.read_bytes()
    marks = [b"squares/test/0", b"squares/te"]  # in the page of the ids
    at = max(data.find(mark) for mark in marks)
    assert at > 0
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    edit_record(dilated, lambda record: record["tables"].update({name: file_sha256(path)}))
    (line,) = ab.verify(dilated, quick=True).differences
    assert line.startswith(f"{path} cannot be read (")


def test_a_count_that_was_edited_with_care_is_found_with_the_dataset_alone(dilated: Path, check: Check) -> None:
    def edit(rows: Rows) -> None:
        rows[0].update(v3=rows[0]["v3"] + 1, v7=rows[0]["v7"] - 1)  # the sum and the mask's area are the same

    edit_table(dilated, "instances", edit)
    assert ab.verify(dilated, quick=True).ok
    line, scores = check(dilated).differences
    row = RunFolder(dilated).instances().iloc[0]
    assert line == (
        "rows that are not what their mask and the dataset give: 1 instance, in v3, v7: "
        f"{FIRST} (v3 stored {row['v3']}, recomputed {row['v3'] - 1}, "
        f"v7 stored {row['v7']}, recomputed {row['v7'] + 1})"
    )
    assert scores.startswith("scores (instance-mean/1): mIoU_inv ")


def test_a_mask_that_was_moved_is_found_with_the_dataset_alone(dilated: Path, check: Check) -> None:
    def edit(rows: Rows) -> None:
        for row in rows[2:4]:
            mask = rle.decode({"size": row["size"], "counts": row["counts"]})
            row.update(rle.encode(np.roll(mask, 1, axis=0)))

    edit_table(dilated, "predictions", edit)
    assert ab.verify(dilated, quick=True).ok
    line = check(dilated).differences[0]
    assert "2 instances, in v" in line
    assert "squares/test/00/2 (v" in line
    assert "squares/test/01/0 (v" in line


def test_masks_that_were_swapped_are_found(dilated: Path, check: Check) -> None:
    def swap(rows: Rows) -> None:
        rows[4]["counts"], rows[7]["counts"] = rows[7]["counts"], rows[4]["counts"]

    edit_table(dilated, "predictions", swap)
    line = check(dilated).differences[-2]
    assert "squares/test/01/1" in line
    assert "squares/test/02/1" in line


def test_rows_in_another_order_are_found_without_the_dataset(dilated: Path) -> None:
    edit_table(dilated, "predictions", lambda rows: rows.insert(3, rows.pop(4)))
    (line,) = ab.verify(dilated, quick=True).differences
    assert line == (
        "predictions.parquet has another id, or none, in the row of: 2 instances: squares/test/01/0; squares/test/01/1"
    )
    edit_table(dilated, "instances", lambda rows: rows.insert(3, rows.pop(4)))
    differences = ab.verify(dilated, quick=True).differences
    assert "instances.parquet is not sorted by id, or has an id twice, at: 1 instance: squares/test/01/0" in differences


@pytest.mark.parametrize(
    ("table", "change", "text"),
    [
        ("instances", {"v0": 1}, "counts that do not add up to height x width: 1 instance: squares/test/00/0 ("),
        ("instances", {"v0": -1}, "counts below 0: 1 instance"),
        ("instances", {"v3": None}, "finished, but without v3: 1 instance"),
        ("instances", {"v8": 5}, "counts of another visible mask (v8 to v15), where the spec has the truth's"),
        ("instances", {"status": "perhaps"}, "status that is neither ok nor error: 1 instance: squares/test/00/0 (p"),
        ("instances", {"status": "error"}, "failed, but with counts, with a mask, or without an error: 1 instance"),
        ("instances", {"image_id": "07"}, "image_id or ann_id that are not those of the id: 1 instance"),
        ("instances", {"group_id": "07"}, "group_id that is not the plan's: 1 instance: squares/test/00/0 (st"),
        ("instances", {"id": "squares/test/00/00"}, "not in plan.parquet: 1 instance: squares/test/00/00"),
        ("instances", {"height": 12}, "masks that are no code of their image's size: 1 instance"),
        ("predictions", {"counts": None}, "finished, but without counts: 1 instance"),
        ("predictions", {"counts": b"0" * 9}, "masks that are no code of their image's size: 1 instance: squares/test"),
        ("predictions", {"counts": rle.encode(np.eye(24, 32, dtype=np.bool_))["counts"]},
         "masks of another area than their counts say: 1 instance: squares/test/00/0 (mask 24 pixels, counts "),
        ("timings", {"id": "other/id/1/1"}, "timings.parquet has another id, or none, in the row of: 1 instance"),
        ("plan", {"id": "squares/test/99/9"}, "not in plan.parquet: 1 instance"),
    ],
)  # fmt: skip
def test_rows_that_contradict_one_another_are_found_without_the_dataset(
    table: str, change: dict[str, Any], text: str, dilated: Path
) -> None:
    edit_table(dilated, table, lambda rows: rows[0].update(change))
    assert any(line.startswith(text) for line in ab.verify(dilated, quick=True).differences)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"category": "bus"}, "in category: squares/test/00/0 (category stored 'bus', recomputed 'left')"),
        ({"is_stuff": True}, "in is_stuff: squares/test/00/0 (is_stuff stored True, recomputed False)"),
        ({"is_stuff": None}, "in is_stuff: squares/test/00/0 (is_stuff stored None, recomputed False)"),
    ],
)
def test_facts_of_the_dataset_are_compared(change: dict[str, Any], text: str, dilated: Path, check: Check) -> None:
    edit_table(dilated, "instances", lambda rows: rows[0].update(change))
    assert ab.verify(dilated, quick=True).ok
    (line,) = check(dilated).differences
    assert text in line


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda r: r["spec"].update(seed=5), "run.json: its spec has the key "),
        (lambda r: r["spec"]["options"].update(count=27), "run.json: its spec has the key "),
        (lambda r: r.update(key="0" * 12), "it says 000000000000: one of them was edited"),
        (lambda r: r["counts"].update(done=23), "run.json counts done 23, instances.parquet has 24"),
        (lambda r: r["counts"].update(planned=25), "run.json counts planned 25, plan.parquet has 24"),
        (lambda r: r.update(status="partial"), "run.json says partial, its rows are those of a run that is complete"),
    ],
)
def test_an_edited_record_is_found(
    change: Callable[[dict[str, Any]], object], text: str, dilated: Path, check: Check
) -> None:
    edit_record(dilated, change)
    for found in (check(dilated), check(dilated, quick=True)):
        assert found.outcome == "differs"
        assert any(text in line for line in found.differences)


def test_a_folder_of_another_name_is_found(dilated: Path) -> None:
    moved = dilated.rename(dilated.parent / "best-run")
    (line,) = ab.verify(moved, quick=True).differences
    assert line == f"run.json: its spec has the key {dilated.name}, the folder is called best-run"


def test_the_funnel_is_the_datasets(dilated: Path, check: Check) -> None:
    edit_record(dilated, lambda record: record["funnel"].update(read=30))
    assert check(dilated).differences == ("the dataset has 24 annotations read here, run.json says 30",)


@pytest.mark.parametrize("name", ["instances", "predictions", "timings", "plan"])
def test_a_lost_table_is_named(name: str, dilated: Path, check: Check) -> None:
    (dilated / f"{name}.parquet").unlink()
    for found in (check(dilated), check(dilated, quick=True)):
        assert found.outcome == "differs"
        assert any(f"{name}.parquet" in line for line in found.differences)
        assert (found.rows == 24) == (name in ("timings", "plan"))  # nothing that can be looked at is left out


def test_a_run_that_was_stopped_has_its_parts_verified(partial: Path, check: Check) -> None:
    for path in partial.glob("*s.parquet"):
        path.unlink()
    edit_record(partial, lambda record: (record.update(status="running"), record["counts"].update(done=0)))
    found = check(partial)
    assert (found.ok, found.rows) == (True, 10)
    assert found.notes == (
        "it was stopped before its end, its rows are those of its parts: its bench command goes on with it",
        "partial: 10 of 24 planned instances have a row",
    )
    flip(next((partial / "parts").iterdir()), 0.4)
    (line,) = check(partial).differences
    assert "its bytes are not those that were written" in line


def test_a_run_that_was_killed_in_its_merge_or_at_once_is_no_damaged_one(partial: Path, check: Check) -> None:
    edit_record(partial, lambda record: (record.update(status="running"), record.pop("tables")))
    (partial / "predictions.parquet").unlink()
    assert (check(partial).ok, check(partial).rows) == (True, 10)
    for path in (*partial.glob("*s.parquet"), *(partial / "parts").iterdir()):
        path.unlink()
    assert (check(partial).ok, check(partial).rows) == (True, 0)
    assert check(partial).notes[1] == "partial: 0 of 24 planned instances have a row"


def test_a_damaged_part_beside_tables_is_found(failed: Path) -> None:
    flip(next((failed / "parts").iterdir()), 0.4)
    (line,) = ab.verify(failed, quick=True).differences
    assert "its bytes are not those that were written" in line


def test_a_run_that_is_being_worked_on_is_left_alone(dilated: Path) -> None:
    with FolderLock(dilated) as lock:
        assert lock.take()
        found = ab.verify(dilated, quick=True)
    assert (found.outcome, found.refusal) == (
        "refused",
        f"it is being worked on by process {os.getpid()} on {os.uname().nodename}: verify it when that has ended",
    )


def test_a_run_of_a_later_version_is_not_said_to_differ(dilated: Path) -> None:
    table = pq.read_table(dilated / "plan.parquet")
    write_table(dilated / "plan.parquet", table.replace_schema_metadata({b"amodal_bench.schema_version": b"99"}))
    for _ in range(2):
        found = ab.verify(dilated, quick=True)
        assert found.outcome == "refused"
        assert "has schema version 99; this amodal_bench reads up to 1: upgrade it" in found.refusal
        edit_record(dilated, lambda record: record.update(schema_version=99))


def test_where_there_is_no_run_that_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="holds no run: name a folder"):
        ab.verify(tmp_path)


def test_more_processes_find_the_same(dilated: Path, check: Check) -> None:
    assert check(dilated, workers=2).ok

    def edit(rows: Rows) -> None:
        for row in rows[::2]:
            row.update(v3=row["v3"] + 1, v7=row["v7"] - 1, category=None)

    edit_table(dilated, "instances", edit)
    one, two = (check(dilated, workers=count) for count in (1, 2))
    assert one == two
    assert "12 instances, in category, v3, v7: squares/test/00/0" in one.differences[0]
    assert check(dilated, workers=2, quick=True).ok


def test_nothing_that_a_record_names_is_imported(dilated: Path, tmp_path: Path) -> None:
    mark = tmp_path / "was here"
    bad = tmp_path / "squares.py"
    bad.write_text(f"import pathlib; pathlib.Path({str(mark)!r}).touch()\n" + FILES[0].read_text())
    edit_record(dilated, lambda record: record["request"].update(plugins=[str(bad)]))
    found = ab.verify(dilated)
    assert found.outcome == "refused"
    assert found.refusal.startswith("the run used the plugin squares (sha256 889999b85274...): give it with --plugin")
    assert not mark.exists()
    found = ab.verify(dilated, plugins=(bad, *FILES[1:]))
    assert found.differences[0].startswith("the dataset squares is the plugin of sha256 ")
    assert mark.exists()


def test_a_dataset_that_cannot_be_opened_is_a_refusal_and_no_end(dilated: Path, tmp_path: Path) -> None:
    broken = tmp_path / "squares.py"
    broken.write_text(
        FILES[0].read_text().replace("self.funnel.read = options.count", "raise KeyError('no such thing')")
    )
    found = ab.verify(dilated, plugins=(broken,))
    assert found.refusal == "its dataset cannot be opened: KeyError: 'no such thing'"


def test_the_source_of_a_method_is_compared_where_it_was_given(dilated: Path, tmp_path: Path) -> None:
    other = tmp_path / "dilate.py"
    other.write_text(FILES[1].read_text() + "# changed\n")
    assert ab.verify(dilated, plugins=FILES[:1]).notes == (
        "the source of the plugin dilate was not compared: give it with --plugin FILE",
    )
    (line,) = ab.verify(dilated, plugins=(FILES[0], other)).differences
    assert line.startswith("the method dilate is the plugin of sha256 ")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A run on a folder of files, which lie in `tmp_path / "data"`."""
    rng = np.random.default_rng(3)
    for k in range(6):
        amodal = np.zeros((20, 30), dtype=np.uint8)
        amodal[4:16, 5 + k : 20 + k] = 255
        visible = amodal.copy()
        visible[:, : 10 + k] = 0
        arrays = {"image": rng.integers(0, 255, (20, 30, 3), dtype=np.uint8), "visible": visible, "amodal": amodal}
        for kind, array in arrays.items():
            (tmp_path / "data" / kind).mkdir(parents=True, exist_ok=True)
            PIL.Image.fromarray(array).save(tmp_path / "data" / kind / f"{k}.png")
    return ab.bench("visible", "folder", root=tmp_path / "data", results=tmp_path / "results").path


def test_a_dataset_that_was_changed_under_a_run_is_named_with_both_fingerprints(own: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    before = RunFolder(own).spec().fingerprint
    assert ab.verify(own, root=data).ok
    assert ab.verify(own).ok  # where it lay when it was used here
    amodal = np.array(PIL.Image.open(data / "amodal" / "2.png"))
    amodal[0:3, ::2] = 255
    PIL.Image.fromarray(amodal).save(data / "amodal" / "2.png")
    dataset, rows, _ = ab.verify(own, root=data).differences
    after = ab.load_dataset("folder", root=data).fingerprint()
    assert dataset == (
        f"the files of folder/test in {data} are not those of {own} "
        f"(fingerprint {after[:8]}, the run has {before[:8]}): name the right ones with --root or --data-root"
    )
    assert "1 instance, in v0, v2: folder/test/2/0" in rows


def test_instances_that_came_or_went_are_named(own: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    for kind in ("image", "visible", "amodal"):
        shutil.move(data / kind / "3.png", data / kind / "9.png")
    differences = ab.verify(own, root=data).differences
    assert "plan.parquet has instances that the dataset does not have (1): folder/test/3/0" in differences
    assert "plan.parquet has no row for instances of the dataset (1): folder/test/9/0" in differences


def test_a_dataset_that_is_not_here_is_a_refusal(own: Path, tmp_path: Path) -> None:
    found = ab.verify(own, root=tmp_path / "nowhere")
    assert found.outcome == "refused"
    assert "does not exist" in found.refusal
    assert ab.verify(own, quick=True).ok


def test_an_instance_that_cannot_be_read_is_not_said_to_differ(own: Path, tmp_path: Path) -> None:
    path = tmp_path / "data" / "image" / "4.png"
    path.write_bytes(path.read_bytes()[:40].ljust(path.stat().st_size, b"\0"))
    found = ab.verify(own, root=tmp_path / "data")
    assert found.rows == 5
    assert "the dataset cannot give the instance: 1 instance: folder/test/4/0 (" in found.refusal


def test_weights_that_the_command_names_must_fit_and_others_are_told_of(tmp_path: Path) -> None:
    """No picture is needed for this: the record of a committed run, and the weights that are shipped."""
    record = RunFolder(next((Path(__file__).parent.parent / "data" / "runs").glob("*/*/conddiff-nano/*"))).record()
    assert check_weights(record, Means(), Registry()) == ([], [])
    shipped = Path(record["weights"]["path"]).name
    data = bytearray(next(Path(ab.__file__).parent.glob(f"methods/conddiff/weights/{shipped}")).read_bytes())
    data[-1] ^= 1
    others = tmp_path / "conddiff-nano" / "synthetic" / "model.safetensors"
    others.parent.mkdir(parents=True)
    others.write_bytes(data)
    for named in (Means(checkpoint=others), Means(weights=tmp_path)):
        (line,), _ = check_weights(record, named, Registry())
        assert line.startswith(f"weights: {others} has sha256 ")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AMODAL_BENCH_WEIGHTS", str(tmp_path))
        assert check_weights(record, Means(), Registry()) == ([], [line])


def test_an_instance_that_kills_its_process_is_named_and_the_others_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = tmp_path / "squares.py"
    deadly = "import os, signal\n        if 'DEADLY' in os.environ and index == 5: os.kill(os.getpid(), 9)\n        "
    plugin.write_text(FILES[0].read_text().replace("first = index - index", f"{deadly}first = index - index"))
    run = ab.bench("visible", "squares", plugins=(plugin,), results=tmp_path / "results").path
    monkeypatch.setenv("DEADLY", "")
    found = ab.verify(run, plugins=(plugin,), workers=2)
    assert (found.outcome, found.rows) == ("refused", 23)
    assert "1 instance: squares/test/01/2 (the process that decoded it was killed by SIGKILL)" in found.refusal
