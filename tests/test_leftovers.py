"""What killed, late or copied processes leave in a run folder, and what others see while it changes."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from amodal_bench.errors import RunDamaged
from amodal_bench.resolve.job import Job, Request, prepare
from amodal_bench.running import run
from amodal_bench.running.child import Word, WorkerOrders
from amodal_bench.store import folder as store
from amodal_bench.store import record, sources
from amodal_bench.store.journal import Journal, entries
from amodal_bench.store.rows import to_table, write_table

TABLES = ("plan", "instances", "predictions", "timings")


@pytest.fixture
def job(plugins: Path, tmp_path: Path) -> Any:
    def make(results: str = "results", **request: Any) -> Job:
        files = tuple(plugins / f"{name}.py" for name in ("squares", "dilate"))
        return prepare(
            Request(method="dilate", dataset="squares", plugins=files, results=tmp_path / results, **request)
        )

    return make


def contents(job: Job) -> dict[str, bytes]:
    """Every file of the run but its record, whose times and seconds differ."""
    files = [path for path in job.folder.path.rglob("*") if path.is_file() and path.name != "run.json"]
    return {str(path.relative_to(job.folder.path)): path.read_bytes() for path in files}


def test_what_processes_left_in_a_complete_run_goes_with_the_next_command(job: Any) -> None:
    done = job()
    run.bench(done)
    before = contents(done)
    folder = done.folder.path
    for name in ("parts", "journal", ".merge-abc"):
        (folder / name).mkdir()
    write_table(folder / "parts" / "late-1.parquet", to_table([]))
    for name in ("journal/dead-1.json", "run.lock", "run.holder", ".instances.parquet.x7", ".merge-abc/0.arrow"):
        (folder / name).write_text("")
    run.bench(job())
    assert contents(done) == before
    assert {path.name for path in folder.iterdir()} == {"run.json", *(f"{name}.parquet" for name in TABLES)}


def test_parts_of_a_complete_run_stay_where_its_tables_are_damaged(job: Any) -> None:
    done = job()
    run.bench(done)
    (done.folder.path / "parts").mkdir()
    part = done.folder.path / "parts" / "late-1.parquet"
    write_table(part, to_table([]))
    with (done.folder.path / "predictions.parquet").open("r+b") as file:
        file.write(b"PAR0")
    run.bench(job())
    assert part.is_file()


def test_a_record_that_says_complete_of_a_part_of_the_run_is_not_believed(job: Any) -> None:
    whole, short = job("whole"), job(limit=5)
    run.bench(whole)
    run.bench(short)
    path = short.folder.path / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "status": "complete"}))
    assert run.bench(job()).finished == 19
    names = ("plan", "instances", "predictions")
    assert [contents(short)[f"{n}.parquet"] for n in names] == [contents(whole)[f"{n}.parquet"] for n in names]


def test_rows_are_counted_while_another_process_merges_them(job: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts go between the look at the folder and the look into them."""
    begun = job(limit=8)
    run.bench(begun)
    assert begun.folder.parts()

    real = sources.overview

    def overview(sources: Any) -> Any:
        monkeypatch.undo()
        run.bench(job())
        return real(sources)

    monkeypatch.setattr(store, "overview", overview)
    assert begun.folder.finished() == 24


def test_a_part_that_can_not_be_read_is_damage_all_the_same(job: Any) -> None:
    begun = job(limit=8)
    run.bench(begun)
    (begun.folder.path / "parts" / "bad-1.parquet").write_text("nothing")
    with pytest.raises(RunDamaged, match=r"bad-1\.parquet cannot be read"):
        begun.folder.finished()


def test_a_run_that_is_deleted_while_it_is_looked_at_is_not_complete(job: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    done = job()
    run.bench(done)
    real = record.read_record

    def deleted(path: Path) -> Any:
        path.unlink(missing_ok=True)
        return real(path)

    monkeypatch.setattr(store, "read_record", deleted)
    assert not done.folder.complete


def test_a_process_is_not_at_work_in_a_copy_of_its_folder(tmp_path: Path) -> None:
    """What it held when the copy was made is suspected there, as after its death."""
    original, copy = tmp_path / "original", tmp_path / "copy"
    with Journal(original, "host-1-a") as journal:
        journal.holds(["d/s/0/0", "d/s/1/0"])
        shutil.copytree(original, copy)
        assert [entry.alive for entry in entries(original)] == [True]
        assert [entry.alive for entry in entries(copy)] == [False]
        assert store.RunFolder(copy).suspects() == ["d/s/0/0", "d/s/1/0"]


def test_a_worker_that_finds_other_data_than_its_command_did_does_nothing(job: Any, tmp_path: Path) -> None:
    begun = job()
    orders = WorkerOrders(request=begun.request.model_dump(mode="json"), key="0123456789ab", shard=(0, 1))
    said = subprocess.run(
        [sys.executable, "-P", "-m", "amodal_bench.running.worker"],
        input=orders.model_dump_json() + "\n", capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    word = Word.model_validate_json(said.stdout)
    assert word.kind == "refused"
    assert word.text.startswith("the data or the code has changed since the run 0123456789ab began: for a worker that")
    assert not (tmp_path / "results").exists()
