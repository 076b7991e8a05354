"""Pickles of annotations, checked against the same structs as JSON files."""

from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

from amodal_bench.errors import DatasetNotReady
from amodal_bench.formats.pickles import load

T = TypeVar("T")


def read_pickle(path: Path, kind: type[T]) -> T:
    """What a pickle holds as `kind` (msgspec structs); raises `DatasetNotReady` naming file and record.

    A field of type Any keeps the value, in the types that JSON knows: `text` writes it down for a `Record`.
    """
    try:
        return msgspec.convert(_plain(load(path)), kind, strict=False)
    except msgspec.ValidationError as error:
        raise DatasetNotReady(f"{path}: not in the official format: {error}") from None
    except RecursionError:
        raise DatasetNotReady(f"{path}: not in the official format: lists are nested deeper than is read") from None


def convert(value: Any, kind: type[T]) -> T | str:
    """One item of a list as `kind`, or what is wrong with it."""
    try:
        return msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError as error:
        return str(error)


def text(value: Any) -> bytes:
    """JSON text of a plain value."""
    return msgspec.json.encode(value)


def _plain(value: Any) -> Any:
    """NumPy's scalars and arrays as Python's, tuples as lists, bytes (counts of an RLE) as strings."""
    if isinstance(value, dict):
        return {_text(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return _plain(value.tolist())
    if isinstance(value, (bytes, bytearray)):
        return value.decode("latin1")
    if isinstance(value, str):
        return _text(value)
    return value


def _text(value: str) -> str:
    """Half a surrogate pair, which no file can hold, becomes a question mark."""
    return value.encode(errors="replace").decode()
