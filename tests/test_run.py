"""Running: batches, shards, workers, kills, failures. Every run is real and on disk."""

import hashlib
import os
import re
import resource
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from amodal_bench.errors import Refused
from amodal_bench.progress import Silent
from amodal_bench.resolve.job import Job, Request, prepare
from amodal_bench.running import run
from amodal_bench.running.plan import make_plan
from amodal_bench.running.predict import TooManyErrors
from amodal_bench.store import folder as store

Tables = dict[str, str]


@pytest.fixture
def job(plugins: Path, tmp_path: Path) -> Any:
    def make(method: str = "dilate", results: str = "results", **request: Any) -> Job:
        files = tuple(plugins / f"{name}.py" for name in ("squares", "dilate", "slow", "trouble"))
        request = {"dataset": "squares", "plugins": files, "results": tmp_path / results, **request}
        return prepare(Request(method=method, **request))

    return make


def digests(job: Job) -> Tables:
    """sha256 of every file that the spec alone decides."""
    names = ("plan", "instances", "predictions")
    return {name: hashlib.sha256((job.folder.path / f"{name}.parquet").read_bytes()).hexdigest() for name in names}


def finished(job: Job) -> Tables:
    run.bench(job)
    assert job.folder.record()["status"] == "complete"
    return digests(job)


def test_batches_change_no_byte(job: Any) -> None:
    one, seven = (finished(job(results=str(size), batch_size=size)) for size in (1, 7))
    assert one == seven


def test_seeds_change_the_masks_and_the_folder(job: Any) -> None:
    first, second = job(seed=0), job(seed=1)
    assert finished(first)["predictions"] != finished(second)["predictions"]
    assert first.folder.path != second.folder.path


def test_shards_in_any_order_make_the_same_bytes(job: Any) -> None:
    whole = finished(job(results="whole"))
    parts = job(results="parts")
    plan = make_plan(parts.dataset)
    parts.folder.create(run._record(parts, plan, fresh=False), plan)
    for number in (2, 0, 1):
        run.work(job(results="parts"), number, 3, Silent())
    assert finished(job(results="parts")) == whole


def test_workers_in_processes_make_the_same_bytes(job: Any) -> None:
    whole = finished(job(results="whole"))
    assert finished(job(results="workers", workers=2)) == whole


def test_a_prefix_is_kept_by_a_longer_run_and_nothing_is_predicted_twice(job: Any) -> None:
    whole = finished(job(results="whole"))
    short = job(limit=5)
    assert run.bench(short).finished == 5
    assert short.folder.record()["status"] == "partial"
    assert short.folder.record()["counts"] == {"planned": 24, "asked": 5, "done": 5, "error": 0}
    rest = job()
    assert run.bench(rest).finished == 19
    assert digests(rest) == whole


def test_finished_samples_are_never_decoded_again(job: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run.bench(job(limit=20))
    again = job()
    decoded: list[int] = []
    original = type(again.dataset).__getitem__

    def counted(self: Any, index: int) -> Any:
        decoded.append(index)
        return original(self, index)

    monkeypatch.setattr(type(again.dataset), "__getitem__", counted)
    run.bench(again)
    assert len(decoded) == 4


def test_a_complete_run_is_left_alone(job: Any) -> None:
    first = job()
    run.bench(first)
    before = {path.name: path.stat().st_mtime_ns for path in first.folder.path.iterdir()}
    assert run.bench(job()).finished == 0
    assert {path.name: path.stat().st_mtime_ns for path in first.folder.path.iterdir()} == before


def test_a_killed_run_goes_on_to_the_same_bytes(job: Any, plugins: Path, tmp_path: Path) -> None:
    options = {"options": {"count": 300}, "method": "slow"}
    whole = finished(job(results="whole", **options))
    killed = job(results="killed", **options)
    command = [sys.executable, "-P", "-m", "amodal_bench", "bench", "--method", "slow", "--dataset", "squares"]
    command += ["--set", "dataset.count=300", "--results", str(tmp_path / "killed")]
    command += [f"--plugin={plugins / name}.py" for name in ("squares", "slow")]
    process = subprocess.Popen(command, env={**os.environ, "SLOW_SECONDS": "0.04"}, stdout=subprocess.DEVNULL)
    parts = killed.folder.path / "parts"
    deadline = time.monotonic() + 60
    while not (parts.is_dir() and list(parts.glob("[!.]*.parquet"))) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 0 < killed.folder.finished() < 300
    assert killed.folder.record()["status"] == "running"
    assert finished(killed) == whole


def test_ctrl_c_says_what_is_saved_and_the_same_command_goes_on(plugins: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "amodal_bench", "bench", "--method", "slow", "--dataset", "squares"]
    command += ["--results", str(tmp_path / "r"), *(f"--plugin={plugins / name}.py" for name in ("squares", "slow"))]
    command += ["--set", "dataset.count=300"]  # a minute, of which a busy machine needs but the beginning
    environment = {**os.environ, "SLOW_SECONDS": "0.2"}
    # A shell's background job, as this test may run in, has its children ignore Ctrl-C: take that back.
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, preexec_fn=heed)
    while not list((tmp_path / "r").glob("*/*/*/*/parts/[!.]*")):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    said = process.communicate()[0]
    assert process.returncode == 130
    assert re.search(
        r"stopped: [1-9]\d* instances are saved in .*squares/test/slow/\w+; the same command goes on", said
    )
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert re.search(r"300 instances \([1-9]\d* on disk\)", again.stdout)


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ("raise", "RuntimeError: no idea what squares/test/03/0 is"),
        ("shape", r"ValueError: squares/test/03/0: predicted mask must be bool (24, 32), got bool (24, 31)"),
        ("dtype", r"ValueError: squares/test/03/0: predicted mask must be bool (24, 32), got uint8 (24, 32)"),
        ("list", r"ValueError: squares/test/03/0: predicted mask must be a bool array (24, 32), got list"),
    ],
)
def test_one_bad_instance_is_one_row(job: Any, how: str, text: str) -> None:
    bad = job("trouble", params={"how": how})
    tally = run.bench(bad)
    rows = bad.folder.instances()
    errors = rows[rows["status"] == "error"]
    assert errors["id"].tolist() == [f"squares/test/03/{k}" for k in range(3)]
    assert errors["error"].iloc[0] == text
    assert errors["v0"].isna().all()
    assert tally.errors.total() == 3
    assert bad.folder.record()["status"] == "errors"
    assert bad.folder.record()["counts"] == {"planned": 24, "asked": 24, "done": 21, "error": 3}


def test_the_same_command_tries_failed_instances_again(job: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = job("trouble", params={"how": "raise"}, results="whole")
    monkeypatch.setenv("TROUBLE_CURED", "1")
    expected = finished(whole)
    monkeypatch.delenv("TROUBLE_CURED")
    bad = job("trouble", params={"how": "raise"})
    run.bench(bad)
    monkeypatch.setenv("TROUBLE_CURED", "1")
    again = job("trouble", params={"how": "raise"})
    assert run.bench(again).finished == 3
    assert again.folder.record()["status"] == "complete"
    assert digests(again) == expected


def test_a_batch_that_fails_is_tried_one_by_one(job: Any) -> None:
    tight = job("trouble", params={"how": "batch"})
    assert run.bench(tight).errors.total() == 0
    assert tight.folder.record()["status"] == "complete"


def test_too_few_masks_for_a_batch_are_no_answer(job: Any) -> None:
    tally = run.bench(job("trouble", params={"how": "fewer"}))
    assert set(tally.errors) == {"ValueError: predict returned 0 masks for 1 queries"}


def test_a_method_that_always_fails_is_stopped(job: Any) -> None:
    bad = job("trouble", params={"how": "all"}, max_errors=5)
    with pytest.raises(
        TooManyErrors, match=r"8 instances failed, more than --max-errors 5; most often \(1x\): Runtime"
    ):
        run.bench(bad)
    assert len(bad.folder.rows()) == 8


def test_a_full_disk_keeps_all_that_was_written(job: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The method fills the disk in its third batch: what the first two wrote stays, and the run can go on."""
    monkeypatch.setattr("amodal_bench.running.predict._LONGEST", 0.0)
    expected = finished(job("trouble", params={"how": "disk"}, results="whole", batch_size=24))
    full = job("trouble", params={"how": "disk"})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(OSError, match="File too large"):
            run.bench(full)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len(full.folder.rows()) == 8
    assert not list((full.folder.path / "parts").glob(".*"))  # no half-written file is left
    monkeypatch.setenv("TROUBLE_CURED", "1")
    assert finished(job("trouble", params={"how": "disk"})) == expected


def test_memory_does_not_hold_finished_masks(job: Any) -> None:
    """What is written at a time is a few rows, never the whole run."""
    big = job("slow", options={"count": 600})
    written: list[int] = []
    original = store.RunFolder.append

    def append(self: store.RunFolder, rows: Any) -> None:
        written.append(len(rows))
        original(self, rows)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("amodal_bench.running.predict._LONGEST", 0.0)
        patch.setattr(store.RunFolder, "append", append)
        run.bench(big)
    assert sum(written) == 600
    assert max(written) < 60


def test_many_finished_rows_do_not_wait(job: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("amodal_bench.running.predict._MOST", 10)
    monkeypatch.setattr("amodal_bench.running.predict._SHORTEST", 600.0)
    begun = job(options={"count": 99}, batch_size=4, limit=98)
    run.bench(begun)
    assert begun.folder.count(begun.folder.parts()) == 98
    assert len(begun.folder.parts()) == 9


def test_another_kind_of_device_is_refused_for_a_begun_run(job: Any) -> None:
    first = job(limit=5)
    run.bench(first)
    first.folder.write_record({**first.folder.record(), "device_kind": "NVIDIA X"})
    with pytest.raises(Refused, match="was begun on NVIDIA X, this is cpu: equal results are promised on one kind"):
        run.bench(job())


def test_a_truth_that_was_given_another_visible_mask_has_sixteen_counts(job: Any) -> None:
    done = job(limit=3)
    run.bench(done)
    schema = pq.read_schema(done.folder.path / "instances.parquet")
    assert [f"v{k}" for k in range(16)] == [name for name in schema.names if name[0] == "v" and name[1:].isdigit()]
    assert done.folder.instances()["v8"].isna().all()


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        ({"method": "dilat"}, r"unknown method or preset 'dilat'. Did you mean 'dilate'\?"),
        ({"dataset": "square"}, r"unknown dataset 'square'. Did you mean 'squares'\?"),
        ({"split": "tset"}, r"unknown split of Squares behind bars 'tset'. Did you mean 'test'\? Known: test."),
        ({"params": {"moist": 3}}, r"unknown parameter of method 'dilate' 'moist'. Did you mean 'most'\?"),
        ({"params": {"most": "x"}}, "method 'dilate': most = 'x': input should be a valid integer"),
        ({"options": {"cuont": 3}}, r"unknown parameter of dataset 'squares' .* 'cuont'. Did you mean 'count'\?"),
        ({"device": "gpu"}, "--device takes auto, cpu, cuda or cuda:N, got 'gpu'"),
        ({"limit": 0}, "--limit takes a whole number from 1, got 0"),
        ({"results": Path("/proc/none")}, "cannot write to /proc/none"),
    ],
)
def test_what_cannot_be_done_is_refused_before_a_folder_is_made(
    job: Any, tmp_path: Path, request_: dict[str, Any], text: str
) -> None:
    with pytest.raises(Refused, match=text):
        job(**request_)
    assert not (tmp_path / "results").exists()
