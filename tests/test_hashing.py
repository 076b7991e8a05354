import hashlib
import threading
from pathlib import Path

import pytest

from amodal_bench.files import hashing
from amodal_bench.files.hashing import hashed


def test_every_file_gets_its_own_sha256(tmp_path: Path, rng: object) -> None:
    paths, sizes, expected = [], [], []
    for index, size in enumerate([0, 1, 5, 2**18, 2**18 + 1, 2**20, 2**20 + 1, 3 * 2**20, 7]):
        path, data = tmp_path / str(index), bytes([index]) * size
        path.write_bytes(data)
        paths.append(str(path))
        sizes.append(size)
        expected.append(hashlib.sha256(data).hexdigest())
    assert hashed(paths, sizes) == expected
    assert hashed(paths[::-1], sizes[::-1]) == expected[::-1]
    assert hashed([], []) == []


def test_both_ways_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone and in threads: the first two turns try each."""
    monkeypatch.setattr(hashing, "_TURN", 40)
    threads, inner = set(), hashing._several

    def watched(paths: list[str]) -> list[str | None]:
        threads.add(threading.current_thread() is threading.main_thread())
        return inner(paths)

    monkeypatch.setattr(hashing, "_several", watched)
    paths = [tmp_path / f"{k}" for k in range(100)]
    for path in paths:
        path.write_text(path.name)
    expected = [hashlib.sha256(path.name.encode()).hexdigest() for path in paths]
    assert hashed([str(path) for path in paths], [3] * 100) == expected
    assert threads == {True, False}


def test_what_cannot_be_read_has_no_digest(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    found = hashed([str(tmp_path / "missing"), str(tmp_path), str(tmp_path / "file")], [2**21, 4, 1])
    assert found == [None, None, hashlib.sha256(b"x").hexdigest()]
