"""The header of a safetensors file, read without torch and checked as the library does before it reads tensors."""

import struct
from math import prod
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from amodal_bench.errors import Refused
from amodal_bench.files.documents import MOST_JSON, BadDocument, parse_json

# Bits a number; the names are those of the format (github.com/huggingface/safetensors, format.md and its code).
_BITS = {
    4: ("F4",),
    6: ("F6_E2M3", "F6_E3M2"),
    8: ("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"),
    16: ("I16", "U16", "F16", "BF16"),
    32: ("I32", "U32", "F32"),
    64: ("I64", "U64", "F64", "C64"),
}
_WIDTHS = {name: bits for bits, names in _BITS.items() for name in names}
_WAY_OUT = "copy or download it again, or make it anew"
Whole = Annotated[int, Field(ge=0, lt=2**63)]


class _Tensor(BaseModel):
    model_config = ConfigDict(strict=True)

    dtype: str
    shape: Annotated[list[Whole], Field(max_length=64)]
    data_offsets: Annotated[list[Whole], Field(min_length=2, max_length=2)]


_TENSORS = TypeAdapter(dict[str, _Tensor])
_METADATA = TypeAdapter(dict[str, str] | None)


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata in a safetensors header, empty where there is none.

    Raises `Refused` naming the file and the way out where it is another kind of file, cut off, or says of its tensors
    what cannot be.
    """
    header, start, size = _header(path)
    metadata = header.pop("__metadata__", None)
    try:
        found: dict[str, str] = _METADATA.validate_python(metadata, strict=True) or {}
        tensors = _TENSORS.validate_python(header)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"])) or "metadata"
        raise _damaged(path, f"its header says of {field[:80]!r}: {first['msg'].lower()}") from None
    promised = start + _end(path, tensors)
    if promised != size:
        fault = "cut off" if promised > size else "not a safetensors file"
        raise _damaged(path, f"{fault}: {size} bytes, its header promises {promised}")
    return found


def _header(path: Path) -> tuple[dict[str, Any], int, int]:
    """The header's value, where the tensors begin, and the size of the file."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if length > size - 8:
            raise _damaged(path, f"not a whole safetensors file ({size} bytes; its header would end past that)")
        header = file.read(min(length, MOST_JSON + 1))
    try:
        value = parse_json(header)
    except BadDocument as error:
        raise _damaged(path, f"not a safetensors file (its header {error})") from None
    if not isinstance(value, dict):
        raise _damaged(path, f"not a safetensors file (its header is a {type(value).__name__})")
    return value, 8 + length, size


def _end(path: Path, tensors: dict[str, _Tensor]) -> int:
    """Where the last tensor ends, in bytes from the first; they lie one behind the other, without gaps."""
    end = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: item[1].data_offsets):
        first, last = tensor.data_offsets
        if tensor.dtype not in _WIDTHS:
            raise _damaged(path, f"tensor {name[:80]!r} is of the unknown type {tensor.dtype[:20]!r}")
        takes = prod(tensor.shape) * _WIDTHS[tensor.dtype]
        if first != end or 8 * (last - first) != takes:
            shown = f"{tensor.dtype} {tensor.shape[:8]} from byte {first} to {last}"
            raise _damaged(path, f"tensor {name[:80]!r} cannot be {shown}, where the one before ends at {end}")
        end = last
    return end


def _damaged(path: Path, fault: str) -> Refused:
    return Refused(f"{path}: {fault}; {_WAY_OUT}")
