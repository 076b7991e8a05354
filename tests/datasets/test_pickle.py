import io
import os
import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from amodal_bench.errors import DatasetNotReady
from amodal_bench.formats.pickles import load

PROTOCOLS = range(6)


def written(folder: Path, data: bytes) -> Path:
    path = folder / "annotations.pkl"
    path.write_bytes(data)
    return path


class Call:
    """Pickles as a call of any function, as an attacker writes it."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return self._call


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_containers_and_scalars_come_back(tmp_path: Path, protocol: int) -> None:
    value = {
        "1_2": {3: [None, True, -7, 2**80, 1.5, "ä", b"\x00\xff", b"", ("a", ())]},
        "sets": [{1, 2}, frozenset({3}), bytearray(b"xy")],
    }
    assert load(written(tmp_path, pickle.dumps(value, protocol))) == value


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.int64).reshape(2, 3),
        np.asfortranarray(np.arange(6.0, dtype=np.float32).reshape(2, 3)),
        np.array([1, 2], dtype=">i4"),
        np.array([True, False]),
        np.array(["a", "bcd"]),
        np.array(7),
        np.zeros((0, 4)),
    ],
)
def test_arrays_come_back(tmp_path: Path, protocol: int, array: NDArray[Any]) -> None:
    path = written(tmp_path, pickle.dumps(array, protocol))
    back = load(path)
    np.testing.assert_array_equal(back, array)
    assert back.dtype == pickle.loads(path.read_bytes()).dtype


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_numpy_scalars_come_back(tmp_path: Path, protocol: int) -> None:
    back = load(written(tmp_path, pickle.dumps([np.float64(0.25), np.int64(-3), np.bool_(True)], protocol)))
    assert back == [0.25, -3, True]
    assert [type(value) for value in back] == [np.float64, np.int64, np.bool_]


def test_an_object_array_comes_back_with_its_objects(tmp_path: Path) -> None:
    array = np.empty((2, 1), dtype=object)
    array[:, 0] = [{"size": [2, 3]}, None]
    assert load(written(tmp_path, pickle.dumps(array))).tolist() == array.tolist()


def test_the_old_spelling_of_numpy_and_strings_of_python_2_are_read(tmp_path: Path) -> None:
    # What Python 2 and NumPy 1.16 write for {'counts': 'ab\xff', 'x': numpy.float64(2.5)}.
    data = (
        b"\x80\x02}q\x00(U\x06countsq\x01U\x03ab\xffq\x02U\x01xq\x03cnumpy.core.multiarray\nscalar\nq\x04"
        b"cnumpy\ndtype\nq\x05U\x02f8q\x06K\x00K\x01\x87q\x07Rq\x08(K\x03U\x01<q\tNNNJ\xff\xff\xff\xff"
        b"J\xff\xff\xff\xffK\x00tq\nbU\x08" + struct.pack("<d", 2.5) + b"q\x0b\x86q\x0cRq\ru."
    )
    assert load(written(tmp_path, data)) == {"counts": "abÿ", "x": 2.5}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_system_call_is_refused_and_not_run(tmp_path: Path, protocol: int) -> None:
    trace = tmp_path / "was-run"
    path = written(tmp_path, pickle.dumps({"a": Call(os.system, f"touch {trace}")}, protocol))
    with pytest.raises(DatasetNotReady, match=r"annotations\.pkl: refused: the pickle names posix\.system, which"):
        load(path)
    assert not trace.exists()
    pickle.loads(path.read_bytes())
    assert trace.exists()  # so it would have run


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (Call(eval, "1 + 1"), r"(__builtin__|builtins)\.eval"),
        (Call(getattr, [], "append"), r"(__builtin__|builtins)\.getattr"),
        (OrderedDict(a=1), r"collections\.OrderedDict"),
        (Path("x"), r"pathlib\S*\.PosixPath"),
        (io.BytesIO, r"_?io\.BytesIO"),
        (np.array([Call(os.system, "true")], dtype=object), r"posix\.system"),
        (np.ma.masked_array([1]), r"numpy\.ma\.core\._mareconstruct"),
        (np.random.RandomState(0), r"numpy\.random\._pickle\.__randomstate_ctor"),
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_other_names_are_refused(tmp_path: Path, value: Any, name: str, protocol: int) -> None:
    with pytest.raises(DatasetNotReady, match=f"the pickle names {name}, .* Nothing of it was run"):
        load(written(tmp_path, pickle.dumps(value, protocol)))


def test_a_name_behind_an_attribute_of_an_allowed_module_is_refused(tmp_path: Path) -> None:
    data = b"\x80\x04\x8c\x05numpy\x8c\x0ef2py.os.system\x93."
    with pytest.raises(DatasetNotReady, match=r"the pickle names numpy\.f2py\.os\.system"):
        load(written(tmp_path, data))


DTYPE_WITHOUT_OBJECTS = b"(cnumpy\ndtype\n(S'O8'\nI0\nI1\ntR(I4\nS'|'\nNNNI-1\nI-1\nI0\ntb"


@pytest.mark.parametrize(
    "data",
    [
        # An object array from raw bytes, which NumPy would take for pointers.
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I1\nt"
        + DTYPE_WITHOUT_OBJECTS[1:]
        + b"I00\nS'AAAAAAAA'\ntb.",
        # The array class called with a buffer.
        b"cnumpy\nndarray\n((I1\ntS'O8'\nS'AAAAAAAA'\ntR.",
        # Fewer objects than the shape promises.
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I9\nt"
        + DTYPE_WITHOUT_OBJECTS[1:]
        + b"I00\n(lp0\nNatb.",
        # A shape whose product is right.
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I-1\nI-1\nt"
        + DTYPE_WITHOUT_OBJECTS[1:]
        + b"I00\n(lp0\nNatb.",
        # Structured types, whose pickled state is not checked by NumPy.
        b"cnumpy\ndtype\n(S'V8'\nI0\nI1\ntR.",
        # A scalar that is a pointer.
        b"cnumpy.core.multiarray\nscalar\n(" + DTYPE_WITHOUT_OBJECTS[1:] + b"S'AAAAAAAA'\ntR.",
    ],
)
def test_arrays_that_would_corrupt_memory_are_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(DatasetNotReady, match=r"annotations\.pkl: cannot be read as a pickle"):
        load(written(tmp_path, data))


def test_every_truncation_is_told(tmp_path: Path) -> None:
    data = pickle.dumps({"00000_1": {0: {"VM": [{"size": [2, 3], "counts": b"06"}], "a": np.arange(3)}}})
    for length in range(len(data)):
        with pytest.raises(DatasetNotReady, match=r"annotations\.pkl: .*cut off, damaged or no pickle"):
            load(written(tmp_path, data[:length]))


@pytest.mark.parametrize("data", [b"", b"not a pickle at all", b'{"json": true}', b"\x89PNG\r\n\x1a\n", b"\x80\x09."])
def test_what_is_no_pickle_is_told(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(DatasetNotReady, match=r"annotations\.pkl: .*no pickle"):
        load(written(tmp_path, data))


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotReady, match=r"none\.pkl: no such file"):
        load(tmp_path / "none.pkl")
