"""Files written whole or not at all, the cache folder, and digests that are remembered.

The sha256 of a file is remembered with its stamp, and believed while the stamp is the same. All that is known of the
files below one folder stands in one table, so that a million small files do not make a million notes.
"""

import hashlib
import logging
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import reduce
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from filelock import FileLock

from amodal_bench.files.hashing import hashed
from amodal_bench.files.stamp import Stamp, stamp_of

log = logging.getLogger(__name__)

STAMPS = pa.schema([("name", pa.binary()), *((field, pa.int64()) for field in Stamp._fields)])
NOTES = STAMPS.append(pa.field("sha256", pa.string()))
_NONE = (None,) * len(Stamp._fields)
_SPELL_FILES, _SPELL_BYTES = 50_000, 1 << 34  # no more is read again after a process was killed
_TOLD_FILES, _TOLD_BYTES = 5_000, 1 << 30  # more takes long enough to be told
_PATIENCE = 600.0  # seconds; on some shared file systems a lock outlives its machine


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
    folder = os.environ.get("AMODAL_BENCH_CACHE")
    if folder:
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "amodal_bench"


def file_digest(path: Path, cache: Path | None = None) -> str:
    """sha256 (hex) of a file's bytes, remembered. Raises `OSError` where it cannot be read."""
    real = path.resolve()
    (digest,) = file_digests(real.parent, [real.name], cache)
    if digest is None:
        with real.open("rb") as file:  # says why
            return hashlib.file_digest(file, "sha256").hexdigest()
    return digest


def file_digests(root: Path, names: Sequence[str], cache: Path | None = None) -> list[str | None]:
    """sha256 (hex) of every file `root/name`, remembered; None for one that cannot be read.

    Of processes that ask for the same folder at once, one reads the files; the others wait and take what it found.
    """
    base = root.resolve()
    book = (cache or cache_folder()) / "digests" / f"{hashlib.sha256(os.fsencode(base)).hexdigest()[:32]}.parquet"
    now = time.time_ns()
    stamps = _stamps(base, names)
    digests = _noted(book, stamps)
    if None in digests:
        book.parent.mkdir(parents=True, exist_ok=True)
        with _alone(book.with_suffix(".lock")):
            digests = _noted(book, stamps)
            for indices in _spells(stamps, digests, base):
                paths = [f"{base}/{names[index]}" for index in indices]
                for index, digest in zip(indices, hashed(paths, stamps["size"].take(indices).to_pylist()), strict=True):
                    digests[index] = digest
                _keep(book, stamps.take(indices), [digests[index] for index in indices], now)
    return digests


def _stamps(base: Path, names: Sequence[str]) -> pa.Table:
    """The files as they are now; null where there is none."""
    stamps = [stamp_of(f"{base}/{name}") or _NONE for name in names]
    columns = [map(os.fsencode, names), *(zip(*stamps, strict=True) if stamps else [()] * len(_NONE))]
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, STAMPS, strict=True)], STAMPS)


def _noted(book: Path, stamps: pa.Table) -> list[str | None]:
    """The digests of those files that the notes have with the same stamp."""
    notes = _notes(book)
    known = notes.take(pc.index_in(stamps["name"], value_set=notes["name"].combine_chunks()))
    same = [pc.fill_null(pc.equal(known[field], stamps[field]), False) for field in Stamp._fields]
    digests: list[str | None] = pc.if_else(reduce(pc.and_, same), known["sha256"], None).to_pylist()
    return digests


def _spells(stamps: pa.Table, digests: Sequence[str | None], base: Path) -> Iterator[list[int]]:
    """The indices of the files that are to be hashed, in parts that are noted down one by one."""
    sizes = stamps["size"].to_pylist()
    missing = [index for index, digest in enumerate(digests) if digest is None and sizes[index] is not None]
    total = sum(sizes[index] for index in missing)
    reported = len(missing) > _TOLD_FILES or total > _TOLD_BYTES
    if reported:
        log.info("reading %d files of %s to tell what they hold, once (%.1f GB)", len(missing), base, total / 1e9)
    spell, size = list[int](), 0
    for done, index in enumerate(missing, 1):
        spell.append(index)
        size += sizes[index]
        if len(spell) == _SPELL_FILES or size > _SPELL_BYTES or done == len(missing):
            yield spell
            if reported:
                log.info("%d of %d files read", done, len(missing))
            spell, size = [], 0


def _keep(book: Path, stamps: pa.Table, digests: Sequence[str | None], now: int) -> None:
    """Note down digests of files that were read after `now`, but for those that changed too shortly before."""
    values = zip(*(stamps[field].to_pylist() for field in Stamp._fields), digests, strict=True)
    sure = [digest is not None and Stamp(*stamp).settled(now) for *stamp, digest in values]
    fresh = stamps.append_column(NOTES.field("sha256"), pa.array(digests, pa.string())).filter(
        pa.array(sure, pa.bool_())
    )
    notes = _notes(book)
    others = notes.filter(pc.invert(pc.is_in(notes["name"], value_set=fresh["name"].combine_chunks())))
    with writing(book) as part:
        pq.write_table(pa.concat_tables([others, fresh]), part, use_dictionary=False, write_page_checksum=True)


def _notes(book: Path) -> pa.Table:
    """The notes of a folder; none, so that they are made anew, where the file is missing or damaged."""
    if book.is_file():
        try:
            notes = pq.read_table(book, page_checksum_verification=True, memory_map=True)
            if notes.schema.equals(NOTES):
                return notes
            log.warning("%s holds something else and is made anew", book)
        except (pa.ArrowException, OSError) as error:
            log.warning("%s is damaged and is made anew (%s)", book, error)
    return NOTES.empty_table()


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold a lock that only saves work: where it cannot be had, the work is done twice, and rightly."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=_PATIENCE)
    except (OSError, NotImplementedError) as error:
        log.warning("%s: not locked (%s): other processes may read the same files", path, error)
    try:
        yield
    finally:
        lock.release()


def contents(root: Path, names: Sequence[str], cache: Path, prefix: str = "") -> Iterator[tuple[str, str]]:
    """(`prefix` and name, sha256) of files below a folder, for `manifest_digest`; what cannot be read is named so."""
    for name, digest in zip(names, file_digests(root, names, cache), strict=True):
        yield prefix + name, digest or "unreadable"


def manifest_digest(entries: Iterable[tuple[str, str]]) -> str:
    """sha256 (hex) of sorted (name, digest or fact) pairs: the fingerprint of a folder."""
    text = "\n".join(f"{name}\t{value}" for name, value in sorted(entries))
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def tree_digest(folder: Path) -> str:
    """sha256 (hex) of the names and bytes of all files below a folder, hidden ones left out."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    names = [str(path) for path in paths if not any(part.startswith(".") for part in path.parts)]
    digests = zip(names, file_digests(folder, names), strict=True)
    return manifest_digest((name, digest or file_digest(folder / name)) for name, digest in digests)
