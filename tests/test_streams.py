"""Outputs that fail: no reader, a full disk, ASCII, nothing at all. The command goes on and its exit code is true."""

import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from amodal_bench.text.streams import Outlet

ROOT = Path(__file__).parent.parent
RUNS = ROOT / "tests" / "data" / "runs"
LOST = "amodal-bench: standard output is not whole, it could not be written: No space left on device\n"
PRINTING = (
    ("list",),
    ("score", RUNS),
    ("table", "--results", RUNS),
    ("compare", *sorted(RUNS.glob("squares/test/*/*"))[:2]),
    ("audit", "--markdown"),
    ("--help",),
)


def command(*arguments: str | Path, unbuffered: bool = False) -> list[str]:
    return [sys.executable, *(["-u"] if unbuffered else []), "-P", "-m", "amodal_bench", *map(str, arguments)]


def in_shell(arguments: Sequence[str], redirection: str, here: Path) -> subprocess.CompletedProcess[str]:
    """With the redirections of a shell."""
    shell = ["sh", "-c", f'exec "$@" {redirection}', "sh"]
    return subprocess.run([*shell, *arguments], cwd=here, capture_output=True, text=True, check=False)


def without_reader(arguments: Sequence[str], here: Path) -> subprocess.CompletedProcess[str]:
    """Into a pipe that nobody reads any more: `| head` after its last line."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        return subprocess.run(arguments, cwd=here, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    finally:
        os.close(writer)


def bench(plugins: Path, here: Path, method: str = "visible") -> list[str]:
    files = [f"--plugin={plugins / name}.py" for name in ("squares", "trouble")]
    return command("bench", "-m", method, "-d", "squares", *files, "--results", here / "r")


def status(here: Path) -> str:
    (path,) = (here / "r").rglob("run.json")
    return str(json.loads(path.read_text())["status"])


@pytest.mark.parametrize("arguments", PRINTING, ids=lambda a: "-".join(map(str, a[:2])).replace(str(ROOT), ""))
def test_a_reader_that_has_seen_enough_is_no_fault(arguments: tuple[str | Path, ...], tmp_path: Path) -> None:
    done = without_reader(command(*arguments), tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("arguments", PRINTING[1:3], ids=lambda a: str(a[0]))
def test_a_full_disk_is_told_and_is_no_success(arguments: tuple[str | Path, ...], tmp_path: Path) -> None:
    done = in_shell(command(*arguments), ">/dev/full", tmp_path)
    assert (done.returncode, done.stderr) == (1, LOST)


@pytest.mark.parametrize(("method", "code", "state"), [("visible", 0, "complete"), ("trouble", 1, "errors")])
def test_a_run_ends_as_it_would_with_a_reader(
    method: str, code: int, state: str, plugins: Path, tmp_path: Path
) -> None:
    done = without_reader(bench(plugins, tmp_path, method), tmp_path)
    assert (done.returncode, done.stderr) == (code, "")
    assert status(tmp_path) == state


@pytest.mark.parametrize(
    ("redirection", "code", "told"),
    [
        (">/dev/full", 1, LOST),
        (">/dev/full 2>/dev/full", 1, ""),
        ("2>/dev/full", 0, ""),
        (">&-", 0, ""),
        ("2>&-", 0, ""),
        ("<&- >&- 2>&-", 0, ""),
    ],
)
def test_a_run_is_whole_whatever_becomes_of_its_output(
    redirection: str, code: int, told: str, plugins: Path, tmp_path: Path
) -> None:
    done = in_shell(bench(plugins, tmp_path), redirection, tmp_path)
    assert (done.returncode, done.stderr) == (code, told)
    assert status(tmp_path) == "complete"


def test_workers_of_a_run_without_outputs_work(plugins: Path, tmp_path: Path) -> None:
    done = in_shell([*bench(plugins, tmp_path), "--workers", "2"], "<&- >&- 2>&-", tmp_path)
    assert (done.returncode, status(tmp_path)) == (0, "complete")


def test_a_refusal_stays_a_refusal_where_it_cannot_be_told(tmp_path: Path) -> None:
    for redirection in ("2>/dev/full", "2>&-", ">/dev/full 2>&1"):
        assert in_shell(command("score", tmp_path), redirection, tmp_path).returncode == 2


@pytest.mark.parametrize(("encoding", "unbuffered"), [("ascii", False), ("latin-1", True)])
def test_what_an_encoding_lacks_is_spelled_out(encoding: str, unbuffered: bool, tmp_path: Path) -> None:
    environment = {**os.environ, "LC_ALL": "C", "PYTHONIOENCODING": encoding}
    for arguments, code, seen in (
        (("score", RUNS), 0, "mIoU_full \\u2191"),
        (("score", "Ölkanne-椅子"), 2, "lkanne-\\u6905\\u5b50 holds no run"),
    ):
        done = subprocess.run(
            command(*arguments, unbuffered=unbuffered), cwd=tmp_path, env=environment, capture_output=True, check=False
        )
        text = (done.stdout + done.stderr).decode(encoding)
        assert done.returncode == code, text
        assert "Traceback" not in text
        assert seen in text
        if code == 0:
            check_columns(text.splitlines())


def check_columns(lines: list[str]) -> None:
    """They stay columns where an encoding lacks characters."""
    start = next(k for k, line in enumerate(lines) if "n_occluded" in line)
    assert len({len(line) for line in lines[start : start + 5]}) == 1


def test_a_pipe_that_is_full_for_a_while_gets_everything(tmp_path: Path) -> None:
    """Node and some shells hand over pipes that do not block."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETFL, os.O_NONBLOCK)
    received: list[bytes] = []

    def read() -> None:
        while chunk := os.read(reader, 4096):
            received.append(chunk)
            time.sleep(0)
        os.close(reader)

    data = os.urandom(1 << 20)
    thread = threading.Thread(target=read)
    thread.start()
    with open(writer, "wb", buffering=0) as raw:  # noqa: PTH123
        outlet, sent = Outlet(raw), 0
        while sent < len(data):
            sent += outlet.write(data[sent:])
    thread.join()
    assert b"".join(received) == data
    assert outlet.lost is None
