"""Digests of files are remembered, and never believed of other contents."""

import hashlib
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from amodal_bench.files import cache, hashing
from amodal_bench.files.cache import contents, file_digest, file_digests, manifest_digest, tree_digest


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def never_read(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From the call on, reading a file is a failure."""

    def fail(paths: list[str], sizes: list[int]) -> list[str]:
        pytest.fail(f"read again: {paths}")

    return lambda: monkeypatch.setattr(cache, "hashed", fail)


@pytest.fixture
def folder(settle: Callable[[Path], None], tmp_path: Path) -> Path:
    """Ten files that are older than a tick."""
    (tmp_path / "data" / "sub").mkdir(parents=True)
    for k in range(10):
        (tmp_path / "data" / ("sub" if k % 2 else ".") / f"{k}").write_bytes(b"old" if k == 0 else bytes([k]))
    settle(tmp_path / "data" / "sub" / "9")
    return tmp_path / "data"


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def expected(folder: Path) -> list[str]:
    return [sha((folder / name).read_bytes()) for name in names(folder)]


def test_a_second_look_reads_nothing(folder: Path, tmp_path: Path, never_read: Callable[[], None]) -> None:
    assert file_digests(folder, names(folder), tmp_path / "cache") == expected(folder)
    never_read()
    assert file_digests(folder, names(folder), tmp_path / "cache") == expected(folder)
    (tmp_path / "link").symlink_to(folder)
    assert file_digests(tmp_path / "link", names(folder)[::-1], tmp_path / "cache") == expected(folder)[::-1]
    assert file_digests(folder, [], tmp_path / "cache") == []


def test_a_change_that_keeps_size_and_time_is_seen(change: Callable[[Path], None], folder: Path) -> None:
    file = folder / "0"
    assert file_digest(file) == sha(b"old")
    assert file_digests(folder, names(folder)) == expected(folder)
    change(file)
    assert file_digest(file) == sha(b"new")
    assert file_digests(folder, names(folder)) == expected(folder)


def test_changes_within_one_tick_are_seen(tmp_path: Path) -> None:
    file = tmp_path / "file"
    for k in range(40):
        text = f"{k:03d}".encode()
        file.write_bytes(text)
        os.utime(file, ns=(10**18, 10**18))
        assert file_digest(file) == sha(text)


def test_a_file_that_is_too_young_is_not_noted(
    folder: Path, monkeypatch: pytest.MonkeyPatch, never_read: Callable[[], None]
) -> None:
    monkeypatch.setattr("amodal_bench.files.stamp.TICK", 10**18)
    assert file_digests(folder, names(folder)) == expected(folder)
    monkeypatch.undo()
    never_read()
    with pytest.raises(pytest.fail.Exception, match="read again"):
        file_digests(folder, names(folder))


def flipped(note: bytes) -> bytes:
    """One bit in the middle of the digests."""
    start = note.index(sha(b"old")[:8].encode())
    return note[:start] + bytes([note[start] ^ 1]) + note[start + 1 :]


def other_table(note: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"name": ["0"], "sha256": ["f" * 64]}), sink)
    return bytes(sink.getvalue())


@pytest.mark.parametrize(
    "damage",
    [lambda note: b"", lambda note: b"garbage" * 99, lambda note: note[: len(note) // 2], lambda note: note[:-1],
     lambda note: b"\0" * len(note), flipped, other_table],
    ids=["empty", "garbage", "half", "cut", "zeros", "one bit", "another table"],
)  # fmt: skip
def test_damaged_notes_are_made_anew(
    damage: Callable[[bytes], bytes], folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = tmp_path / "cache"
    file_digests(folder, names(folder), cache)
    (note,) = (cache / "digests").glob("*.parquet")
    note.write_bytes(damage(note.read_bytes()))
    assert file_digests(folder, names(folder), cache) == expected(folder)
    assert f"{note} " in caplog.text
    assert "made anew" in caplog.text
    caplog.clear()
    assert file_digests(folder, names(folder), cache) == expected(folder)
    assert caplog.text == ""


def test_a_folder_has_one_table_whatever_the_number_of_files(folder: Path, tmp_path: Path) -> None:
    for name in names(folder):
        file_digests(folder, [name], tmp_path / "cache")
    kept = sorted(path.suffix for path in (tmp_path / "cache" / "digests").iterdir())
    assert kept == [".lock", ".parquet"]
    (note,) = (tmp_path / "cache" / "digests").glob("*.parquet")
    assert pq.read_table(note).num_rows == 10


def test_processes_that_start_together_agree(folder: Path, tmp_path: Path, never_read: Callable[[], None]) -> None:
    location, order = tmp_path / "cache", names(folder)
    program = (
        "import sys, pathlib; from amodal_bench.files.cache import file_digests; "
        "print(*file_digests(pathlib.Path(sys.argv[1]), sys.argv[3:], pathlib.Path(sys.argv[2])))"
    )
    shares = [order[:7], order[3:], order]
    started = [
        subprocess.Popen(
            [sys.executable, "-P", "-c", program, folder, location, *share], stdout=subprocess.PIPE, text=True
        )
        for share in shares
    ]
    for process, share in zip(started, shares, strict=True):
        out, _ = process.communicate()
        assert out.split() == [sha((folder / name).read_bytes()) for name in share]
    never_read()
    assert file_digests(folder, order, location) == expected(folder)


def test_what_was_read_before_an_interruption_is_not_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, inner = list[str](), hashing.hashed

    def interrupted(paths: list[str], sizes: list[int]) -> list[str | None]:
        read.extend(paths)
        if len(read) > 6:
            raise KeyboardInterrupt
        return inner(paths, sizes)

    monkeypatch.setattr(cache, "_SPELL_FILES", 3)
    monkeypatch.setattr(cache, "hashed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        file_digests(folder, names(folder))
    del read[:]
    assert file_digests(folder, names(folder)) == expected(folder)
    assert len(read) == 4


def test_without_a_lock_the_work_is_done_all_the_same(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    location = cache.cache_folder() / "digests" / f"{sha(os.fsencode(folder.resolve()))[:32]}.lock"
    location.mkdir(parents=True)
    assert file_digests(folder, names(folder)) == expected(folder)
    assert f"{location}: not locked (" in caplog.text


def test_long_work_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(cache, "_TOLD_FILES", 5)
    caplog.set_level(logging.INFO)
    file_digests(folder, names(folder))
    assert caplog.messages == [
        f"reading 10 files of {folder} to tell what they hold, once (0.0 GB)", "10 of 10 files read",
    ]  # fmt: skip


def test_what_cannot_be_read_is_told_apart(folder: Path) -> None:
    (folder / "broken").symlink_to(folder / "nowhere")
    assert file_digests(folder, ["broken", "sub", "0"]) == [None, None, sha(b"old")]
    assert list(contents(folder, ["broken", "0"], folder.parent / "cache", "a/")) == [
        ("a/broken", "unreadable"), ("a/0", sha(b"old")),
    ]  # fmt: skip
    with pytest.raises(FileNotFoundError, match="nowhere"):
        file_digest(folder / "broken")
    with pytest.raises(IsADirectoryError):
        file_digest(folder)


def test_a_name_may_be_any_bytes(settle: Callable[[Path], None], tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    (tmp_path / name).write_bytes(b"x")
    settle(tmp_path / name)
    for _ in range(2):
        assert file_digests(tmp_path, [name]) == [sha(b"x")]
    assert manifest_digest([(name, "1")]) == sha(b"caf\xe9.png\t1")


def test_a_tree_is_its_names_and_bytes(folder: Path) -> None:
    lines = sorted(f"{name}\t{digest}" for name, digest in zip(names(folder), expected(folder), strict=True))
    (folder / ".hidden").write_bytes(b"")
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_bytes(b"")
    assert tree_digest(folder) == sha("\n".join(lines).encode())
