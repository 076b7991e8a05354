"""What is kept of a file is kept while the file is the same, and not when it only looks so."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from amodal_bench.files.stamp import COARSE_TICK, TICK, Stamp, remembered, stamp_of
from amodal_bench.masks.images import read_image

Change = Callable[[Path], None]


def test_a_changed_file_has_another_stamp(change: Change, settle: Change, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"old")
    settle(file)
    before = stamp_of(file)
    assert before == stamp_of(file)
    change(file)
    assert stamp_of(file) != before


def test_a_file_is_settled_a_tick_after_its_last_change() -> None:
    fine, whole = 7 * 10**9 + 1, 7 * 10**9
    assert not Stamp(1, 0, fine, 1).settled(fine + TICK - 1)
    assert Stamp(1, 0, fine, 1).settled(fine + TICK)
    assert not Stamp(1, 0, whole, 1).settled(whole + COARSE_TICK - 1)
    assert Stamp(1, 0, whole, 1).settled(whole + COARSE_TICK)
    assert Stamp(1, 10**20, fine, 1).settled(fine + TICK)  # a date in the future, as archives bring them


def test_only_files_and_folders_have_a_stamp(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert stamp_of(tmp_path / "pipe") is None
    assert stamp_of(tmp_path / "missing") is None
    assert stamp_of(tmp_path) is not None


def test_what_was_read_is_kept_until_the_file_changes(change: Change, settle: Change, tmp_path: Path) -> None:
    file, calls = tmp_path / "file", []

    @remembered(2)
    def read(path: Path, most: int | None = None) -> bytes:
        calls.append(most)
        return path.read_bytes()[:most]

    file.write_bytes(b"old")
    settle(file)
    assert [read(file), read(file), read(file, 1), read(file, 1)] == [b"old", b"old", b"o", b"o"]
    assert calls == [None, 1]
    change(file)
    assert (read(file), read(file, 1)) == (b"new", b"n")


def test_what_was_just_written_is_known_by_its_bytes(tmp_path: Path) -> None:
    """Within a tick, a second change may leave the stamp as it is."""
    file, calls = tmp_path / "file", 0

    @remembered(1)
    def read(path: Path) -> bytes:
        nonlocal calls
        calls += 1
        return path.read_bytes()

    for k in range(200):
        text = f"{k:03d}".encode()
        file.write_bytes(text)
        os.utime(file, ns=(10**18, 10**18))
        assert (read(file), read(file)) == (text, text)
    assert calls == 200


def test_what_a_folder_lists_is_kept_while_nothing_comes_or_goes(settle: Change, tmp_path: Path) -> None:
    listed = remembered(1)(lambda path: sorted(file.name for file in path.iterdir()))
    for k in range(50):
        (tmp_path / f"{k:02d}").touch()
        assert len(listed(tmp_path)) == k + 1
    settle(tmp_path)
    assert listed(tmp_path) is listed(tmp_path)


def test_what_is_longest_unused_is_let_go(settle: Change, tmp_path: Path) -> None:
    names, calls = [tmp_path / name for name in "abc"], []

    @remembered(2)
    def read(path: Path) -> str:
        calls.append(path.name)
        return path.name

    for path in names:
        path.touch()
    settle(names[-1])
    a, b, c = names
    assert [read(path) for path in (a, b, a, c, a, b)] == ["a", "b", "a", "c", "a", "b"]
    assert calls == ["a", "b", "c", "b"]


def test_a_missing_file_is_the_readers_to_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"missing"):
        remembered(1)(Path.read_bytes)(tmp_path / "missing")


def test_an_image_that_was_replaced_is_read_again(settle: Change, tmp_path: Path) -> None:
    file = tmp_path / "photo.png"
    for red in (1, 2):
        PIL.Image.new("RGB", (2, 2), (red, 0, 0)).save(file)
        settle(file)
        assert read_image(file)[0, 0, 0] == red
        assert np.shares_memory(read_image(file), read_image(file))
