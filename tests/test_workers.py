"""Processes that die, hang, or lose their parent; commands that meet on one folder. All real, on disk."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from amodal_bench.errors import Incomplete, Refused
from amodal_bench.resolve.job import Job, Request, prepare
from amodal_bench.running import run
from amodal_bench.running.predict import TooManyErrors
from amodal_bench.store.journal import Journal, entries

POISON = [f"squares/test/03/{k}" for k in range(3)]
ONE = "03/1"  # of them: each costs a process or two


@pytest.fixture
def job(plugins: Path, tmp_path: Path) -> Any:
    def make(
        method: str = "deadly", results: str = "results", how: str = "nothing", image: str = "03", **request: Any
    ) -> Job:
        files = tuple(plugins / f"{name}.py" for name in ("squares", "deadly", "slow"))
        params = {"how": how, "image": image} if method == "deadly" else {}
        request = {"dataset": "squares", "plugins": files, "results": tmp_path / results, "params": params, **request}
        return prepare(Request(method=method, **request))

    return make


@pytest.fixture
def command(plugins: Path, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start `bench` on squares in a process of its own; what still runs in the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(method: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        words = [sys.executable, "-P", "-m", "amodal_bench", "bench", "--method", method, "--dataset", "squares"]
        words += [f"--plugin={plugins / name}.py" for name in ("squares", "deadly", "slow")]
        words += ["--results", str(tmp_path / "results"), *arguments]
        own = {**os.environ, **environment}
        started.append(
            subprocess.Popen(
                words,
                env=own,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=tmp_path,
                preexec_fn=heed,
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def heed() -> None:
    """Signals do what they do by default, also where the tests run under nohup."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def errors(job: Job) -> dict[str, str]:
    rows = job.folder.instances()
    rows = rows[rows["status"] == "error"]
    return dict(zip(rows["id"], rows["error"], strict=True))


def workers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The workers of a command that are alive: not what it starts beside them, nor what has just ended."""
    found = []
    for child in psutil.Process(process.pid).children():
        with contextlib.suppress(psutil.Error):
            if "worker" in " ".join(child.cmdline()):
                found.append(child)
    return found


def until(true: Callable[[], Any], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


# A worker's end is a record that it writes.


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ("load sysexit", "SystemExit: 0"),
        ("load raises", "RuntimeError: no weights like that"),
        ("load exit", r"worker 0/2 ended with exit code 0 while it loaded the method, 2 times"),
    ],
)
def test_workers_that_die_in_load_are_refused_before_anything_is_written(job: Any, how: str, text: str) -> None:
    bad = job(how=how, workers=2)
    with pytest.raises(Refused, match=text):
        run.bench(bad)
    assert not bad.folder.path.exists()


@pytest.mark.parametrize(
    ("how", "image", "text"),
    [
        ("segv", "03", "ProcessDied: the process was killed by SIGSEGV while this instance was predicted alone"),
        ("kill", ONE, "ProcessDied: the process was killed by SIGKILL while this instance was predicted alone"),
        ("exit", ONE, "ProcessDied: the process ended with exit code 0 while this instance was predicted alone"),
        ("sysexit", "03", "SystemExit: 0"),
    ],
)
def test_an_instance_that_kills_its_worker_is_a_row_and_the_rest_is_finished(
    job: Any, how: str, image: str, text: str
) -> None:
    bad = job(how=how, image=image, workers=2, batch_size=2)
    run.bench(bad)
    poison = [id for id in POISON if image in id]
    assert errors(bad) == dict.fromkeys(poison, text)
    counts = {"planned": 24, "asked": 24, "done": 24 - len(poison), "error": len(poison)}
    assert bad.folder.record()["counts"] == counts
    assert not list((bad.folder.path / "journal").glob("*"))


def test_a_command_that_died_at_an_instance_gets_past_it_the_next_time(command: Any, job: Any) -> None:
    words = ("deadly", "--set", "how=segv", "--set", f"image={ONE}")
    first = command(*words)
    assert first.wait() == -signal.SIGSEGV
    second = command(*words)
    _, warned = second.communicate()
    assert second.returncode == 1, warned
    assert "instances were in work when a process died: each is predicted alone first" in warned
    bad = job(how="segv", image=ONE)
    assert list(errors(bad)) == [POISON[1]]
    assert "killed by SIGSEGV" in errors(bad)[POISON[1]]
    # Tried once more, alone again: this process does not die of it.
    assert run.bench(job(how="segv", image=ONE)).finished == 0
    assert list(errors(bad)) == [POISON[1]]


def test_an_instance_that_was_in_work_when_its_process_was_killed_is_no_poison(
    command: Any, job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = command("deadly", "--set", "how=kill")
    assert first.wait() == -signal.SIGKILL
    monkeypatch.setenv("DEADLY_CURED", "1")
    run.bench(job(how="kill"))
    assert job(how="kill").folder.record()["status"] == "complete"


def test_an_instance_that_never_answers_is_given_up(job: Any) -> None:
    bad = job(how="hang", image=ONE, instance_timeout=3.0, batch_size=1)
    run.bench(bad)
    assert errors(bad) == {POISON[1]: "InstanceTimeout: no answer within 3 s (--instance-timeout), alone"}


def test_poison_counts_as_errors(job: Any) -> None:
    bad = job(how="segv", workers=2, max_errors=1, batch_size=1)
    with pytest.raises(TooManyErrors, match="2 instances killed their process or did not end, more than --max"):
        run.bench(bad)


def test_a_worker_that_is_killed_from_outside_is_started_again(command: Any, job: Any) -> None:
    whole = job("slow", results="whole")
    run.bench(whole)
    process = command("slow", "--workers", "2", SLOW_SECONDS="0.3")
    folder = job("slow").folder
    until(lambda: list(entries(folder.path)))
    workers(process)[0].kill()
    _, warned = process.communicate()
    assert process.returncode == 0, warned
    assert "was killed by SIGKILL" in warned
    for name in ("instances", "predictions"):
        assert (folder.path / f"{name}.parquet").read_bytes() == (whole.folder.path / f"{name}.parquet").read_bytes()


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
def test_a_worker_that_is_stopped_before_it_begins_is_started_again(command: Any, job: Any) -> None:
    process = command("slow", "--workers", "2", SLOW_LOAD="1")
    until(lambda: len(workers(process)) == 2)
    workers(process)[0].send_signal(signal.SIGINT)
    said, warned = process.communicate()
    assert process.returncode == 0, said + warned
    assert job("slow").folder.complete
    assert "Traceback" not in warned


# Workers follow their parent.


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP, signal.SIGTERM])
def test_workers_end_with_their_parent(command: Any, job: Any, number: signal.Signals) -> None:
    process = command("slow", "--workers", "2", SLOW_SECONDS="5")
    folder = job("slow").folder
    until(lambda: len(list(entries(folder.path))) == 2)
    left = workers(process)
    process.send_signal(number)
    said, _ = process.communicate()
    assert process.returncode == (-number if number == signal.SIGKILL else 128 + number)
    _, alive = psutil.wait_procs(left, timeout=60)
    assert not alive
    if number != signal.SIGKILL:
        assert re.search(r"stopped: \d+ instances are saved", said)


def test_a_signal_that_is_ignored_stays_ignored(job: Any, plugins: Path, tmp_path: Path) -> None:
    """As under nohup."""
    words = [sys.executable, "-P", "-m", "amodal_bench", "bench", "--method", "slow", "--dataset", "squares"]
    words += ["--results", str(tmp_path / "results"), *(f"--plugin={plugins / n}.py" for n in ("squares", "slow"))]
    process = subprocess.Popen(
        words,
        env={**os.environ, "SLOW_SECONDS": "0.1"},
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
        stdout=subprocess.DEVNULL,
    )
    until(lambda: list(entries(job("slow").folder.path)))
    process.send_signal(signal.SIGHUP)
    assert process.wait() == 0


# A run folder has one master.


def test_a_second_command_waits_for_the_first_and_shows_its_table(command: Any, job: Any, tmp_path: Path) -> None:
    first = command("slow", SLOW_UNTIL=str(tmp_path / "go on"))
    folder = job("slow").folder
    until(lambda: folder.exists)
    second = command("slow")
    warned = second.stderr.readline()
    assert re.search(rf"is being worked on by process {first.pid} on \S+: waiting for it", warned)
    (tmp_path / "go on").touch()
    said, warned = second.communicate()
    assert first.wait() == 0
    assert second.returncode == 0, warned
    assert "mIoU_full" in said
    assert folder.record()["counts"]["done"] == 24


def test_a_second_command_takes_over_from_one_that_is_killed(command: Any, job: Any) -> None:
    first = command("slow", SLOW_SECONDS="0.3")
    folder = job("slow").folder
    until(lambda: folder.exists and folder.parts())
    second = command("slow")
    until(lambda: folder.workers())
    first.kill()
    assert second.wait() == 0
    assert folder.record()["status"] == "complete"


def test_fresh_does_not_delete_what_others_are_at(command: Any, job: Any, tmp_path: Path) -> None:
    first = command("slow", SLOW_UNTIL=str(tmp_path / "go on"))
    until(lambda: job("slow").folder.exists)
    with pytest.raises(Refused, match=rf"worked on by process {first.pid} on .*: --fresh would delete its work"):
        run.bench(job("slow"), fresh=True)
    (tmp_path / "go on").touch()
    assert first.wait() == 0
    here = f"worked on by process {os.getpid()} on .*: --fresh would delete its work"
    with Journal(job("slow").folder.path, "a-worker-elsewhere"), pytest.raises(Refused, match=here):
        run.bench(job("slow"), fresh=True)
    assert job("slow").folder.record()["status"] == "complete"


@pytest.mark.parametrize("workers", [1, 2])
def test_fresh_deletes_only_when_the_new_run_can_start(job: Any, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    done = job()
    run.bench(done)
    before = (done.folder.path / "run.json").read_bytes()
    monkeypatch.setenv("DEADLY_LOAD", "fails")
    with pytest.raises((RuntimeError, Refused), match="no weights today"):
        run.bench(job(workers=workers), fresh=True)
    assert (done.folder.path / "run.json").read_bytes() == before
    assert done.folder.finished() == 24
    monkeypatch.undo()
    again = job(workers=workers)
    run.bench(again, fresh=True)
    assert again.folder.record()["status"] == "complete"
    assert again.folder.record()["request"]["workers"] == workers


@pytest.mark.parametrize("damage", ["status", "no record", "no record, two workers"])
def test_a_complete_run_is_never_emptied(job: Any, damage: str) -> None:
    done = job()
    run.bench(done)
    before = {name: (done.folder.path / f"{name}.parquet").read_bytes() for name in ("instances", "predictions")}
    record = done.folder.path / "run.json"
    if damage == "status":
        record.write_text(json.dumps({**json.loads(record.read_text()), "status": "running"}))
    else:
        record.unlink()
    again = job(workers=2 if "two" in damage else 1)
    run.bench(again)
    assert again.folder.record()["status"] == "complete"
    assert again.folder.record()["counts"]["done"] == 24
    assert {name: (done.folder.path / f"{name}.parquet").read_bytes() for name in before} == before


@pytest.mark.parametrize("name", ["instances", "predictions", "timings"])
def test_a_complete_run_that_lost_a_table_is_finished_again(job: Any, name: str) -> None:
    done = job()
    run.bench(done)
    before = (done.folder.path / "instances.parquet").read_bytes()
    (done.folder.path / f"{name}.parquet").unlink()
    run.bench(job())
    assert (done.folder.path / "instances.parquet").read_bytes() == before
    assert done.folder.record()["status"] == "complete"
    assert len(done.folder.predictions()) == 24


def test_rows_that_nobody_brings_are_an_error_with_its_reason(job: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that end without having done what they were to do."""
    monkeypatch.setattr("amodal_bench.running.run.WorkerOrders", lambda **facts: _orders(facts))
    with pytest.raises(Incomplete, match=r"22 of 24 instances have no result in .*The same command goes on from there"):
        run.bench(job(workers=2))
    assert job().folder.record()["status"] == "partial"


def _orders(facts: dict[str, Any]) -> Any:
    from amodal_bench.running.child import WorkerOrders

    return WorkerOrders(**{**facts, "skip": tuple(f"squares/test/{k // 3:02d}/{k % 3}" for k in range(2, 24))})


def test_what_killed_processes_left_is_swept_up(job: Any) -> None:
    begun = job(limit=2)
    run.bench(begun)
    folder = begun.folder.path
    for litter in (folder / ".instances.parquet.x1", folder / "parts" / ".w-000001.parquet.x2"):
        litter.write_bytes(b"half")
    (folder / ".merge-x3").mkdir()
    (folder / ".merge-x3" / "0.arrow").write_bytes(b"half")
    run.bench(job())
    assert sorted(path.name for path in folder.iterdir()) == [
        "instances.parquet", "plan.parquet", "predictions.parquet", "run.json", "timings.parquet",
    ]  # fmt: skip
