"""Tables that take a pass over all masks to make, kept in the cache folder."""

import logging
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from amodal_bench.cache import write_atomic

log = logging.getLogger(__name__)


def cached(path: Path, schema: pa.Schema, build: Callable[[], pa.Table]) -> pa.Table:
    """The table in the Parquet file `path`; built and kept there where it is missing or of another schema.

    A schema carries a revision in its metadata, to be raised when the meaning of a column changes. The
    name of the file must hold the fingerprint of what the table is made from.
    """
    if path.is_file():
        table = _read(path)
        if table is not None and table.schema.equals(schema, check_metadata=True):
            return table
    log.info("indexing, once, into %s", path)
    table = build()
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, sink.getvalue().to_pybytes())
    return table


def _read(path: Path) -> pa.Table | None:
    try:
        return pq.read_table(path)
    except pa.ArrowInvalid as error:
        log.warning("%s is damaged and is made anew (%s)", path, error)
        return None
