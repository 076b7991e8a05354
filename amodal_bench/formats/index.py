"""Tables that take a pass over all masks to make, kept in the cache folder and read by memory map."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from amodal_bench.errors import DatasetNotReady
from amodal_bench.files.cache import file_digest, write_atomic, writing

log = logging.getLogger(__name__)


def cached(path: Path, schema: pa.Schema, build: Callable[[], pa.Table]) -> pa.Table:
    """The table in the Arrow file `path`; built and kept there where it is missing or of another schema.

    A schema carries a revision in its metadata, to be raised when the meaning of a column changes. The
    name of the file must hold the digest of the contents that the table is made from. The file is not compressed: a
    mapped one opens at once, whatever its size, and its pages are the system's to drop.
    """
    if path.is_file():
        table = read_cached(path) if _is_whole(path) else None
        if table is not None and table.schema.equals(schema, check_metadata=True):
            return table
    log.info("indexing, once, into %s", path)
    table = build()
    path.parent.mkdir(parents=True, exist_ok=True)
    with writing(path) as part, pa.OSFile(str(part), "wb") as sink, pa.ipc.new_file(sink, schema) as file:
        file.write_table(table)
    write_atomic(_note(path), file_digest(path, path.parent.parent).encode())
    return table


def _is_whole(path: Path) -> bool:
    """Whether the file holds what was written. A flipped bit in a mapped table can end the process."""
    note = _note(path)
    if note.is_file() and note.read_bytes() == file_digest(path, path.parent.parent).encode():
        return True
    log.warning("%s is damaged and is made anew (it is not what was written)", path)
    return False


def _note(path: Path) -> Path:
    """Where the digest of a table stands."""
    return path.with_suffix(".sha256")


def unchanged(build: Callable[[], pa.Table], digest: Callable[[], str], before: str) -> Callable[[], pa.Table]:
    """`build`, which raises `DatasetNotReady` where the `digest` of its files is no longer what it was `before`."""

    def checked() -> pa.Table:
        table = build()
        if digest() != before:
            raise DatasetNotReady(
                "the dataset's files changed while they were read, so what was read belongs to no version of them: "
                "wait until whatever writes them is done, then start again"
            )
        return table

    return checked


def read_cached(path: Path) -> pa.Table | None:
    """A table that `cached` wrote; None, with a warning, where the file is damaged."""
    try:
        return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    except (pa.ArrowException, OSError) as error:
        log.warning("%s is damaged and is made anew (%s)", path, error)
        return None


def values_of(column: pa.ChunkedArray) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Each text of a column, sorted, and which rows hold it."""
    for value in sorted(set(pc.drop_null(column).to_pylist())):
        yield value, equal_to(column, value)


def equal_to(column: pa.ChunkedArray, value: str) -> NDArray[np.bool_]:
    """Which rows hold a text; null is another one."""
    rows: NDArray[np.bool_] = pc.fill_null(pc.equal(column, value), False).to_numpy()
    return rows
