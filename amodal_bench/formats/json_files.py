"""JSON files as people save them: the one place where annotation files are read as text.

Accepted are UTF-8 with or without a byte order mark, gzip, and NaN and Infinity, which Python writes and JSON does
not have: they become null. What can not be read is named as what it is, with its line.
"""

import codecs
import logging
import re
import zlib
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from amodal_bench.errors import DatasetNotReady

T = TypeVar("T")

log = logging.getLogger(__name__)

BOM = b"\xef\xbb\xbf"
GZIP = b"\x1f\x8b"
WIDE = {b"\xff\xfe\x00\x00": "UTF-32", b"\x00\x00\xfe\xff": "UTF-32", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
LEAST_BOMB, MOST_RATIO = 256 << 20, 200  # bytes; annotation files shrink to a fifth, at most to a fiftieth
_STEP = 8 << 20  # bytes unpacked or looked at at a time
_NUMBERS = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\b(?:NaN|Infinity|nan|inf)\b', re.DOTALL)
_WHOLE = re.compile(r"[0-9]{1,18}")  # what a signed number of 64 bits holds
_POSITION = re.compile(r" ?\(byte (\d+)\)$")


class OtherFormat(DatasetNotReady):
    """A file is valid JSON, but holds something else than it was asked for."""


def read_json(path: Path, kind: type[T]) -> T:
    """A file as `kind` (a msgspec type); raises `DatasetNotReady` naming the file and what is wrong with it, where.

    Numbers may stand in quotes, and whole numbers may have a fraction of zero.
    """
    return decode(read_text(path), kind, path)


def read_text(path: Path) -> bytes:
    """The bytes of a JSON file, unpacked and without byte order mark; raises `DatasetNotReady`."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise DatasetNotReady(f"{path}: cannot be read ({error.strerror})") from None
    if text.startswith(GZIP):
        text = _inflated(text, path)
    if text.startswith(BOM):
        text = text[len(BOM) :]
    for mark, name in WIDE.items():
        if text.startswith(mark):
            raise DatasetNotReady(f"{path}: is {name}, JSON files are UTF-8: save it as UTF-8")
    if b"\x00" in text[:4]:
        raise DatasetNotReady(f"{path}: is UTF-16, UTF-32 or no text at all, JSON files are UTF-8: save it as UTF-8")
    if not text.isascii():
        _check_encoding(text, path)
    return text


def decode(text: bytes, kind: type[T], path: Path) -> T:
    """JSON text of the file `path` as `kind`; raises `DatasetNotReady`, `OtherFormat` where the JSON itself is good."""
    try:
        return msgspec.json.decode(text, type=kind, strict=False)
    except msgspec.ValidationError as error:
        raise OtherFormat(f"{path}: not in the official format: {error}") from None
    except RecursionError:
        raise DatasetNotReady(f"{path}: lists or objects are nested in one another deeper than is read") from None
    except msgspec.DecodeError as error:
        mended = _without_nan(text, path)
        if mended is not None:
            return decode(mended, kind, path)
        raise DatasetNotReady(f"{path}: {_malformed(text, str(error))}") from None


def _inflated(packed: bytes, path: Path) -> bytes:
    """The contents of a gzip file, of one member or several."""
    most = max(LEAST_BOMB, MOST_RATIO * len(packed))
    parts: list[bytes] = []
    size = 0
    try:
        while packed:
            member = zlib.decompressobj(wbits=31)
            while not member.eof:
                part = member.decompress(packed, _STEP)
                packed = member.unconsumed_tail
                if not part and not packed and not member.eof:
                    raise DatasetNotReady(f"{path}: the gzip file is cut off")
                parts.append(part)
                size += len(part)
                if size > most:
                    raise DatasetNotReady(f"{path}: holds more than {most:,} bytes once unpacked: no annotation file")
            packed = member.unused_data.lstrip(b"\x00")
    except zlib.error as error:
        raise DatasetNotReady(f"{path}: a damaged gzip file ({error})") from None
    return b"".join(parts)


def _without_nan(text: bytes, path: Path) -> bytes | None:
    """The text with null for every NaN and Infinity; None where it has none."""
    first: list[int] = []

    def instead(match: re.Match[bytes]) -> bytes:
        if match[0].startswith(b'"'):
            return match[0]
        first.append(match.start())
        return b"null"

    mended = _NUMBERS.sub(instead, text)
    if not first:
        return None
    log.warning(
        "%s: numbers that JSON does not have (NaN, Infinity) are read as null: %d, the first in %s",
        path, len(first), _position(text, first[0]),
    )  # fmt: skip
    return mended


def _check_encoding(text: bytes, path: Path) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(text), _STEP):
        waiting = len(decoder.getstate()[0])
        part = text[start : start + _STEP]
        try:
            decoder.decode(part, final=start + _STEP >= len(text))
        except UnicodeDecodeError as error:
            byte = start - waiting + error.start
            raise DatasetNotReady(
                f"{path}: not UTF-8: byte 0x{text[byte]:02x} in {_position(text, byte)}. Perhaps it is Latin-1: save "
                "it as UTF-8"
            ) from None


def _malformed(text: bytes, error: str) -> str:
    """What the decoder says, with line and column for its byte."""
    if not text.strip():
        return "is empty"
    if error == "Input data was truncated":
        return f"not valid JSON: it ends before its last bracket, so it is cut off ({len(text):,} bytes)"
    found = _POSITION.search(error)
    what = _POSITION.sub("", error).removeprefix("JSON is malformed: ")
    if found is None:
        return f"not valid JSON: {what}"
    byte = int(found[1])
    around = text[max(byte - 15, 0) : byte + 15].decode(errors="replace")
    return f"not valid JSON: {what} in {_position(text, byte)}, near {around!r}"


def _position(text: bytes, byte: int) -> str:
    line, column = text.count(b"\n", 0, byte) + 1, byte - text.rfind(b"\n", 0, byte)
    return f"line {line}, column {column}"


def identity(value: Any) -> str:
    """An id in one spelling, however the file has it: 7, 7.0 and "7" are one, "007" is another.

    Raises `ValueError` for a number that is not whole, for an empty text, and for what is neither.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{type(value).__name__} is no id")
    if isinstance(value, float):
        if not value.is_integer():
            raise ValueError(f"{value} is no id")
        value = int(value)
    text = words(value)
    if not text:
        raise ValueError("an id is empty")
    return text


def whole(text: str) -> int | None:
    """A whole number from 0 as text has it, in at most 18 digits; None for all else, other scripts' digits too."""
    return int(text) if _WHOLE.fullmatch(text) else None


def number(value: Any) -> float | None:
    """An optional number, None where it is missing, null, a word or not finite."""
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if abs(found) < float("inf") else None


def words(value: Any) -> str | None:
    """An optional name, None where it is missing, null or blank; a number as it is written.

    Half a surrogate pair, which no file can hold, becomes a question mark.
    """
    return None if value is None else str(value).encode(errors="replace").decode().strip() or None


def flag(value: Any) -> bool:
    """Yes or no as people write them: true, 1, 1.0, "1", "true"; missing, null, 0 and all else are no."""
    if isinstance(value, str):
        return value.strip().lower() in ("1", "true", "yes")
    return bool(number(value))
