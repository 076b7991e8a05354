"""The cache folder is nobody's truth: what is damaged in it is made anew."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from amodal_bench.files.cache import file_digest

DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda whole: b"",
    "cut off": lambda whole: whole[: len(whole) // 2],
    "other JSON": lambda whole: b"null",
    "a list": lambda whole: b"[]",
    "no JSON": lambda whole: b"{",
    "no text": lambda whole: b"\xff\xfe",
    "deep": lambda whole: b"[" * 100_000,
    "zeros": lambda whole: bytes(len(whole)),
    "nothing in it": lambda whole: b"{}",
}
READ_DAMAGED = """
import os
import sys
from pathlib import Path

from amodal_bench import api
from tests.test_cache import DAMAGES, flips

def read():
    dataset = api.load_dataset("cocoa_cls", root=sys.argv[1], split="val")
    return dataset.ids(), dataset.funnel.as_dict(), [str(dataset.column("amodal_area"))], list(dataset.codes())

right = read()
for damage in [*DAMAGES.values(), *flips()]:
    for table in Path(os.environ["AMODAL_BENCH_CACHE"], "index").glob("*.arrow"):
        part = table.with_suffix(".part")
        part.write_bytes(damage(table.read_bytes()))
        part.replace(table)
    if read() != right:
        sys.exit("another table was read")
"""


def flips() -> Iterator[Callable[[bytes], bytes]]:
    """One bit at a time, all over the file."""
    for index in range(24):
        yield partial(_flipped, index / 24)


def _flipped(fraction: float, whole: bytes) -> bytes:
    at = int(fraction * len(whole))
    return whole[:at] + bytes([whole[at] ^ 0x40]) + whole[at + 1 :]


@pytest.mark.parametrize("kind", DAMAGES)
def test_damaged_digest_notes_are_made_anew(kind: str, tmp_path: Path) -> None:
    file, cache = tmp_path / "annotations.json", tmp_path / "cache"
    file.write_bytes(b"[1, 2, 3]")
    os.utime(file, (1e9, 1e9))
    right = hashlib.sha256(file.read_bytes()).hexdigest()
    assert file_digest(file, cache) == right
    for note in (cache / "digests").iterdir():
        note.write_bytes(DAMAGES[kind](note.read_bytes()))
    assert file_digest(file, cache) == right
    assert file_digest(file, cache) == right


def test_a_damaged_index_is_made_anew(tmp_path: Path) -> None:
    """In a process of its own: a table that is mapped can end it."""
    root, cache = tmp_path / "cocoa_cls", tmp_path / "cache"
    (root / "annotations").mkdir(parents=True)
    (root / "val2014").mkdir()
    source = Path(__file__).parent / "data" / "formats" / "cocoa_cls" / "COCO_amodal_val2014_with_classes.json"
    shutil.copy(source, root / "annotations")
    done = subprocess.run(
        [sys.executable, "-c", READ_DAMAGED, str(root)], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent), "AMODAL_BENCH_CACHE": str(cache)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-300:]
