"""Files written whole or not at all, the cache folder, and digests that are remembered."""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from amodal_bench.documents import BadDocument, parse_json

_SHA256 = re.compile(r"[0-9a-f]{64}")


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """A temporary file to write; on leaving it is on disk under `path`, or after an error gone: fsync, rename."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    part = Path(name)
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.chmod(0o644)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_atomic(path: Path, data: bytes) -> None:
    """Have `data` on disk under `path`, or leave what was there."""
    with writing(path) as part:
        part.write_bytes(data)


def cache_folder() -> Path:
    """`AMODAL_BENCH_CACHE`, else the user's cache folder (XDG) / amodal_bench. Not made here."""
    own = os.environ.get("AMODAL_BENCH_CACHE")
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "amodal_bench"


def file_digest(path: Path, cache: Path | None = None) -> str:
    """sha256 (hex) of a file's bytes, remembered by path, size and time of change."""
    real = path.resolve()
    stat = real.stat()
    stamp = [str(real), stat.st_size, stat.st_mtime_ns]
    note = (cache or cache_folder()) / "digests" / hashlib.sha256(str(real).encode()).hexdigest()[:32]
    known = _noted(note, stamp)
    if known:
        return known
    with real.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    note.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(note, json.dumps({"stamp": stamp, "sha256": digest}).encode())
    return digest


def _noted(note: Path, stamp: list[Any]) -> str | None:
    """The digest that a note holds for this stamp; None where there is none, or where the note is damaged."""
    try:
        found = parse_json(note.read_bytes())
    except (OSError, BadDocument):
        return None
    if not isinstance(found, dict) or found.get("stamp") != stamp:
        return None
    sha256 = found.get("sha256")
    return sha256 if isinstance(sha256, str) and _SHA256.fullmatch(sha256) else None


def manifest_digest(entries: Iterable[tuple[str, str]]) -> str:
    """sha256 (hex) of sorted (name, size or digest) pairs: the fingerprint of a folder."""
    text = "\n".join(f"{name}\t{value}" for name, value in sorted(entries))
    return hashlib.sha256(text.encode()).hexdigest()


def tree_digest(folder: Path) -> str:
    """sha256 (hex) of the names and bytes of all files below a folder, hidden ones left out."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    names = {str(path.relative_to(folder)): path for path in files}
    shown = {name: path for name, path in names.items() if not any(part.startswith(".") for part in Path(name).parts)}
    return manifest_digest((name, file_digest(path)) for name, path in shown.items())
