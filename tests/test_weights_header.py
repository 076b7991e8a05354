"""Headers of safetensors files: what the library refuses is refused before, by name and without torch."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from safetensors import SafetensorError
from safetensors.torch import load_file

from amodal_bench.errors import Refused
from amodal_bench.resolve.weights_header import read_metadata

TENSOR = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}


def written(path: Path, header: object, data: bytes = bytes(16), length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def with_tensor(**changes: Any) -> dict[str, Any]:
    return {"w": {**TENSOR, **changes}}


DAMAGED: dict[str, tuple[object, str]] = {
    "empty": (b"", "not a safetensors file [(]its header is not JSON"),
    "a list": ([], "its header is a list"),
    "null": (b"null", "its header is a NoneType"),
    "not UTF-8": (b'{"\xff": 1}', r"its header is not UTF-8"),
    "deep": (b"[" * 100_000, "its header is nested more than 50 deep"),
    "a tensor that is none": ({"w": 1}, "its header says of 'w': input should be"),
    "no type": ({"w": {"shape": [4], "data_offsets": [0, 16]}}, "its header says of 'w.dtype': field required"),
    "no places": ({"w": {"dtype": "F32", "shape": [4]}}, "its header says of 'w.data_offsets': field required"),
    "unknown type": (with_tensor(dtype="F33"), "tensor 'w' is of the unknown type 'F33'"),
    "type is a number": (with_tensor(dtype=32), "its header says of 'w.dtype'"),
    "negative shape": (with_tensor(shape=[-2, -2]), "its header says of 'w.shape.0'"),
    "shape is a text": (with_tensor(shape="22"), "its header says of 'w.shape'"),
    "huge shape": (with_tensor(shape=[2**62, 2**62]), "tensor 'w' cannot be F32"),
    "another shape": (with_tensor(shape=[3]), r"tensor 'w' cannot be F32 \[3\] from byte 0 to 16"),
    "one place": (with_tensor(data_offsets=[0]), "its header says of 'w.data_offsets'"),
    "places turned round": (with_tensor(data_offsets=[16, 0]), "tensor 'w' cannot be F32"),
    "negative place": (with_tensor(data_offsets=[-16, 0]), "its header says of 'w.data_offsets.0'"),
    "place is a text": (with_tensor(data_offsets=["0", "16"]), "its header says of 'w.data_offsets.0'"),
    "place is nothing": (with_tensor(data_offsets=None), "its header says of 'w.data_offsets'"),
    "a gap": ({"v": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]},
               "w": {"dtype": "U8", "shape": [8], "data_offsets": [8, 16]}}, "where the one before ends at 4"),
    "beyond the end": (with_tensor(shape=[4, 2], data_offsets=[0, 32]),
                       r"cut off: \d+ bytes, its header promises \d+"),
    "more than said": (with_tensor(shape=[2], data_offsets=[0, 8]),
                       r"not a safetensors file: \d+ bytes, its header promises \d+"),
    "metadata is a list": ({**with_tensor(), "__metadata__": ["a"]}, "its header says of 'metadata'"),
    "metadata is a number": ({**with_tensor(), "__metadata__": {"epochs": 3}}, "its header says of 'epochs'"),
    "metadata is deep": ({**with_tensor(), "__metadata__": {"a": {"b": "c"}}}, "its header says of 'a'"),
}  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGED)
def test_what_the_library_refuses_is_refused_with_the_files_name(kind: str, tmp_path: Path) -> None:
    header, told = DAMAGED[kind]
    path = written(tmp_path / "a.safetensors", header)
    with pytest.raises(SafetensorError):
        load_file(path)
    with pytest.raises(Refused, match=rf"(?s)a\.safetensors: .*{told}.*; copy or download it again, or make it anew"):
        read_metadata(path)


@pytest.mark.parametrize("length", [0, 17, 2**31, 2**63, 2**64 - 1])
def test_a_length_that_is_none_is_refused(length: int, tmp_path: Path) -> None:
    path = written(tmp_path / "a.safetensors", with_tensor(), length=length)
    with pytest.raises(Refused, match=r"a\.safetensors: not a "):
        read_metadata(path)


def test_every_cut_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.safetensors", {**with_tensor(), "__metadata__": {"dataset": "kins"}})
    assert read_metadata(path) == {"dataset": "kins"}
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(Refused, match=r"a\.safetensors: "):
            read_metadata(path)


def test_every_bit_of_a_header_flipped_is_read_or_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.safetensors", {**with_tensor(), "__metadata__": {"a": "b"}})
    whole = path.read_bytes()
    for bit in range(8 * (len(whole) - 16)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            load_file(path)
        except SafetensorError:
            with pytest.raises(Refused):
                read_metadata(path)


def test_shipped_weights_pass() -> None:
    shipped = sorted((Path(__file__).parent.parent / "methods").rglob("*.safetensors"))
    assert shipped
    for path in shipped:
        read_metadata(path)


def test_weights_without_metadata_have_none(tmp_path: Path) -> None:
    assert read_metadata(written(tmp_path / "a.safetensors", with_tensor())) == {}
    assert read_metadata(written(tmp_path / "a.safetensors", {"__metadata__": None, **with_tensor()})) == {}
    assert read_metadata(written(tmp_path / "a.safetensors", {}, b"")) == {}
