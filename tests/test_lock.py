"""Who holds a folder: taking, giving back, and taking from the dead."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from amodal_bench.errors import Refused
from amodal_bench.store import holder, lock
from amodal_bench.store.holder import Holder
from amodal_bench.store.journal import Journal, entries
from amodal_bench.store.lock import HOLDER, LOCK, FolderLock

ELSEWHERE = Holder(host="elsewhere", pid=1, started=1.0)


def test_one_at_a_time_and_no_trace_afterwards(tmp_path: Path) -> None:
    folder = tmp_path / "d" / "s" / "m" / "key"
    with FolderLock(folder) as first, FolderLock(folder) as second:
        assert first.take()
        assert not second.take()
        assert second.holder() == Holder.me()
        assert second.holder_name().startswith(f"process {os.getpid()} on ")
        first.release()
        assert second.take()
        assert second.mine
    assert list(tmp_path.iterdir()) == []


def test_what_came_into_the_folder_stays(tmp_path: Path) -> None:
    with FolderLock(tmp_path / "a" / "b") as held:
        assert held.take()
        (tmp_path / "a" / "b" / "work").write_text("")
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["work"]


ADD = """
import sys, time
from pathlib import Path
from typing import Any
from amodal_bench.store.lock import FolderLock
folder, counter = map(Path, sys.argv[1:])
for _ in range(25):
    with FolderLock(folder) as held:
        while not held.take():
            time.sleep(0.001)
        number = int(counter.read_text())
        counter.write_text(str(number + 1))
"""


def test_four_processes_never_hold_it_at_once(tmp_path: Path) -> None:
    """Each adds to a number in a file, again and again: two at once would lose a step."""
    counter = tmp_path / "counter"
    counter.write_text("0")
    words = [sys.executable, "-P", "-c", ADD, str(tmp_path / "locked"), str(counter)]
    processes = [subprocess.Popen(words) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    assert counter.read_text() == "100"
    assert list(tmp_path.glob("locked/*")) == []


def test_a_folder_that_goes_while_it_is_made_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """mkdir finds one that another process left empty, and it is gone before anybody can look at it."""
    make, met = Path.mkdir, iter([FileExistsError(17, "File exists"), FileNotFoundError(2, "No such file")])

    def mkdir(path: Path, *given: Any, **named: Any) -> None:
        for error in met:
            raise error
        make(path, *given, **named)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    with FolderLock(tmp_path / "run") as held:
        assert held.take()
    assert next(met, None) is None


@pytest.mark.parametrize("what", ["a file", "a link to nowhere"])
def test_what_is_no_folder_can_not_be_locked(what: str, tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.write_text("") if what == "a file" else path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(Refused, match=r"cannot lock .*run \((File exists|Not a directory)\): choose another folder"):
        FolderLock(path).take()


def test_the_lock_of_a_killed_process_is_free_at_once(tmp_path: Path) -> None:
    code = f"""
import os
from pathlib import Path
from typing import Any
from amodal_bench.store.lock import FolderLock
FolderLock(Path({str(tmp_path)!r})).take()
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-P", "-c", code], check=False)
    assert (tmp_path / LOCK).exists()
    with FolderLock(tmp_path) as held:
        assert held.take()


def test_a_lock_without_a_heartbeat_is_taken_over_and_its_holder_notices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A machine that is lost, on a file system that keeps its lock."""
    monkeypatch.setattr(lock, "_GRACE", 0.0)
    with FolderLock(tmp_path) as lost, FolderLock(tmp_path) as heir:
        assert lost.take()
        (tmp_path / HOLDER).write_text(ELSEWHERE.model_dump_json())
        assert not heir.take()
        long_ago = time.time() - holder.SILENCE - 60
        os.utime(tmp_path / HOLDER, (long_ago, long_ago))
        assert heir.take()
        assert not lost.mine
        assert heir.mine
        assert "was held by process 1 on elsewhere, which has shown no sign of life: taken over" in caplog.text
        lost.release()
        assert heir.mine


def test_a_clock_that_is_wrong_here_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ages are told by the file system's clock, and starts of processes from the machine's own."""
    pulse = tmp_path / "pulse"
    pulse.write_text("")
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert ELSEWHERE.alive(pulse)
    assert Holder.me().alive(pulse)


def test_a_process_is_known_by_its_start_too(tmp_path: Path) -> None:
    """Its number alone may be another's by now."""
    me = Holder.me()
    assert not me.model_copy(update={"started": me.started - 100}).alive(tmp_path)
    assert not Holder(host=me.host, pid=2**22 + 1, started=1.0).alive(tmp_path)
    assert Holder.read(b'{"host": "a", "pid":') is None


def test_a_file_system_that_can_not_lock_is_refused() -> None:
    with pytest.raises(Refused, match=r"cannot lock /proc/nothing \(.*\): choose another folder"):
        FolderLock(Path("/proc/nothing")).take()


def test_a_journal_tells_what_is_in_work_and_goes_with_its_process(tmp_path: Path) -> None:
    with Journal(tmp_path, "w") as journal:
        journal.holds(["a/b/c/0", "a/b/cc/1"])
        journal.holds(["a/b/c/0"])
        (entry,) = entries(tmp_path)
        assert (entry.ids, entry.alive, entry.alone, entry.worker) == (["a/b/c/0"], True, False, "w")
    assert list(entries(tmp_path)) == []


def test_a_journal_that_is_cut_off_or_none_suspects_nobody(tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    for number, text in enumerate((b"", b"{", b"null", b'{"host": "x"}'.ljust(256) + b"[1, ")):
        (tmp_path / "journal" / f"{number}.json").write_bytes(text)
    assert [(entry.ids, entry.alive) for entry in entries(tmp_path)] == [([], False)] * 4
