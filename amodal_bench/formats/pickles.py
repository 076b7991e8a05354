"""Pickles of containers, scalars and NumPy arrays, read without running anything that they name.

Dataset authors ship annotations as pickles, and a pickle is a program. Here it may call nothing but the
stand-ins below. NumPy's own hooks are not among them: they accept a dtype that claims to hold no objects, and
raw bytes in the place of object pointers, which is enough to corrupt the process.
"""

import math
import os
import pickle
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amodal_bench.errors import DatasetNotReady

SIMPLE_DTYPE = re.compile(r"[<>|=]?[biufcSUO]\d*")
_FEW, _REPEATED = 1_000_000, 8  # items that a pickle of any size may hold, and for each of its bytes
# What damaged pickles were seen to raise, beside UnpicklingError, when their opcodes meet the wrong values.
DAMAGE = (
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    OverflowError,
    MemoryError,
)


def load(path: Path) -> Any:
    """The object in a pickle of protocol 0 to 5, of Python 2 or 3; raises `DatasetNotReady` naming the file.

    Allowed are None, bool, int, float, str, bytes, bytearray, list, tuple, dict, set, frozenset, and NumPy
    scalars and arrays of numbers, strings and allowed objects. Byte strings of Python 2 come as str
    (Latin-1), arrays as a subclass of ndarray. Anything else is refused, with its name and before it is
    imported.
    """
    try:
        with path.open("rb") as file:
            value = _Reader(file, path).load()
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise DatasetNotReady(f"{path}: {(error.strerror or str(error)).lower()}") from None
    except DAMAGE as error:
        raise DatasetNotReady(
            f"{path}: cannot be read as a pickle: it is cut off, damaged or no pickle ({type(error).__name__}: {error})"
        ) from error
    _check_repeats(path, value, _FEW + _REPEATED * size)
    return value


def _check_repeats(path: Path, value: Any, most: int) -> None:
    """Raise `DatasetNotReady` where lists in lists that are one and the same come to more than `most` items.

    A few bytes spell a list that holds another one twice, which holds another one twice, and so on without end.
    """
    waiting, items = [value], 0
    while waiting:
        found = waiting.pop()
        inner = [*found.keys(), *found.values()] if isinstance(found, dict) else found
        if isinstance(inner, (list, tuple, set, frozenset)):
            items += len(inner)
            waiting += (item for item in inner if isinstance(item, (dict, list, tuple, set, frozenset)))
        if items > most:
            raise DatasetNotReady(
                f"{path}: refused: written out, the pickle would hold more than {most:,} items, for it repeats lists "
                "in lists, or one holds itself. Get the official file again."
            )


class _Reader(pickle.Unpickler):
    def __init__(self, file: Any, path: Path) -> None:
        super().__init__(file, encoding="latin1")
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        known = module.replace("numpy._core", "numpy.core").replace("__builtin__", "builtins")
        if (known, name) in STAND_INS:
            return STAND_INS[known, name]
        raise DatasetNotReady(
            f"{self._path}: refused: the pickle names {module}.{name}, which is neither a plain container or "
            "scalar nor a NumPy array. Nothing of it was run. Do not open the file by other means before you "
            "know why it is there; get the official file again."
        )


class _DType:
    """Stands in for numpy.dtype: simple types only, and of a pickled state only the byte order."""

    def __init__(self, code: str, *_: object) -> None:
        if not isinstance(code, str) or not SIMPLE_DTYPE.fullmatch(code):
            raise ValueError(f"dtype {code!r} is not one of the simple types")
        self.real: np.dtype[Any] = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] in ("<", ">", "="):
            self.real = self.real.newbyteorder(state[1])


class _Array(np.ndarray[Any, np.dtype[Any]]):
    """An array whose pickled state is checked before NumPy sees it."""

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, data = state
        real = _real(dtype)
        if not isinstance(shape, tuple) or not all(isinstance(side, int) and side >= 0 for side in shape):
            raise ValueError(f"an array of shape {shape!r}")
        if real.hasobject != isinstance(data, list):
            raise ValueError("an object array must hold a list, any other array bytes")
        _check_nothing(shape, data)
        if isinstance(data, list) and len(data) != math.prod(shape):
            raise ValueError(f"an object array of shape {shape} holds {len(data)} objects")
        super().__setstate__((1, shape, real, fortran, data))


def _check_nothing(shape: tuple[int, ...], data: Sequence[Any]) -> None:
    """An array without a number in it may be a million rows long, which a list would write out."""
    if not len(data) and math.prod(side or 1 for side in shape) > _FEW:
        raise ValueError(f"an array of shape {shape!r} that holds nothing")


def _real(dtype: object) -> np.dtype[Any]:
    if not isinstance(dtype, _DType):
        raise ValueError(f"expected a dtype, got {type(dtype).__name__}")
    return dtype.real


def _reconstruct(*_: object) -> NDArray[Any]:
    """Stands in for NumPy's function of this name: an empty array, which its state then fills."""
    return np.empty(0, dtype=np.int8).view(_Array)


def _frombuffer(data: bytes, dtype: object, shape: tuple[int, ...], order: Any) -> NDArray[Any]:
    """Stands in for NumPy's function of this name: protocol 5."""
    _check_nothing(shape, data)
    return np.frombuffer(data, dtype=_real(dtype)).reshape(shape, order=order)


def _scalar(dtype: object, data: bytes | str) -> Any:
    """Stands in for NumPy's function of this name; Python 2 wrote the bytes as a string."""
    raw = data.encode("latin1") if isinstance(data, str) else data
    return np.frombuffer(raw, dtype=_real(dtype), count=1)[0]


def _encode(text: str, encoding: str) -> bytes:
    """Stands in for codecs.encode, with which protocols 0 to 2 spell bytes."""
    if encoding != "latin1":
        raise ValueError(f"bytes spelled in {encoding!r}, expected 'latin1'")
    return text.encode("latin1")


STAND_INS: dict[tuple[str, str], Any] = {
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("builtins", "bytes"): bytes,
    ("builtins", "bytearray"): bytearray,
    ("_codecs", "encode"): _encode,
    ("numpy", "dtype"): _DType,
    ("numpy", "ndarray"): "numpy.ndarray",  # only ever an argument, so it need not be callable
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _frombuffer,
}
