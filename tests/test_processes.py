"""Processes of our own: deaf to Ctrl-C while they import, ended with the call that started them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from amodal_bench.files import processes

SLOW = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # in a shell's background job it is ignored
from pathlib import Path
from typing import Any
from amodal_bench.files.processes import hear_interrupts
Path(sys.argv[1]).write_text("imported")
while not Path(sys.argv[2]).exists():
    time.sleep(0.01)
try:
    hear_interrupts()
    time.sleep(0.1)
except KeyboardInterrupt:
    sys.exit(7)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "slow_module.py").write_text(SLOW)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "slow_module"


def until(path: Path) -> None:
    while not path.exists():
        time.sleep(0.01)


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
def test_an_interrupt_waits_until_it_is_asked_for(
    module: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    process = processes.start(module, str(tmp_path / "ready"), str(tmp_path / "go"))
    process.send_signal(signal.SIGINT)  # while it starts
    until(tmp_path / "ready")
    process.send_signal(signal.SIGINT)
    (tmp_path / "go").touch()
    assert process.wait() == 7
    assert "Traceback" not in capfd.readouterr().err
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_all_end_with_the_call(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        process = processes_start(*arguments, **options)
        started.append(process)
        if len(started) == 2:
            monkeypatch.setattr(process, "wait", interrupted)
        return process

    def interrupted(*_: object) -> int:
        monkeypatch.undo()
        raise KeyboardInterrupt

    processes_start = processes.start
    monkeypatch.setattr(processes, "start", start)
    (tmp_path / "go0").touch()
    with pytest.raises(KeyboardInterrupt):
        processes.run(module, [[str(tmp_path / f"ready{k}"), str(tmp_path / f"go{k}")] for k in range(3)])
    assert [psutil.pid_exists(process.pid) for process in started] == [False] * 3


def test_exit_codes_come_in_the_order_of_the_commands() -> None:
    assert processes.run("timeit", [["-n1", "-r1", "pass"], ["--nonsense"]]) == [0, 2]


def test_it_is_found_where_this_process_finds_it(module: str, tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    assert str(tmp_path) in sys.path
    assert processes.run(module, [[str(tmp_path / "ready"), str(tmp_path / "go")]]) == [0]


STARTER = """
import sys
from amodal_bench.files import processes
processes.run("slow_module", [sys.argv[k : k + 2] for k in (1, 3)])
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_none_outlives_the_process_that_started_it(module: str, tmp_path: Path, number: int) -> None:
    (tmp_path / "starter.py").write_text(STARTER)
    words = [str(tmp_path / name) for name in ("ready0", "never", "ready1", "never")]
    parent = processes.start("starter", *words)
    for name in ("ready0", "ready1"):
        until(tmp_path / name)
    children = psutil.Process(parent.pid).children()
    assert len(children) == 2
    parent.send_signal(number)
    parent.wait()
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive


def test_a_module_has_its_own_arguments_and_name(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "telling.py").write_text("import sys\nprint(__name__, sys.argv[1:], 'telling' in sys.argv[0])")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert processes.run("telling", [["a", "b"]]) == [0]
    assert capfd.readouterr().out == "__main__ ['a', 'b'] True\n"
