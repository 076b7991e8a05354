"""Annotation files as people save them, and broken ones: each is read, or named as what it is."""

import gzip
import logging
from pathlib import Path
from typing import Any

import pytest
from msgspec import Raw, Struct

from amodal_bench.errors import DatasetNotReady
from amodal_bench.formats.json_files import flag, identity, number, read_json, words


class Item(Struct):
    id: int
    name: str = ""
    rate: float | None = None
    mask: Raw = Raw()


GOOD = b'[{"id": 1, "name": "cup", "rate": 0.5, "mask": [1, 2]},\n {"id": "2", "name": "NaN", "rate": null}]'


def items(folder: Path, data: bytes, name: str = "a.json") -> list[Item]:
    (folder / name).write_bytes(data)
    return read_json(folder / name, list[Item])


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("plain.json", GOOD),
        ("mark.json", b"\xef\xbb\xbf" + GOOD),
        ("a.json.gz", gzip.compress(GOOD, mtime=0)),
        ("named_as_plain.json", gzip.compress(b"\xef\xbb\xbf" + GOOD, mtime=0)),
        ("two_members.json.gz", gzip.compress(GOOD[:40], mtime=0) + gzip.compress(GOOD[40:], mtime=0)),
    ],
)
def test_what_is_json_by_its_contents_is_read(tmp_path: Path, name: str, data: bytes) -> None:
    first, second = items(tmp_path, data, name)
    assert (first.id, first.rate, bytes(first.mask)) == (1, 0.5, b"[1, 2]")
    assert (second.id, second.name, second.rate) == (2, "NaN", None)


def test_numbers_that_json_does_not_have_are_null_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = (
        b'[{"id": 1, "rate": NaN, "name": "a \\" NaN, Infinity"},\n {"id": 2, "rate": -Infinity, "mask": [NaN, 1.0]}]'
    )
    with caplog.at_level(logging.WARNING):
        first, second = items(tmp_path, text)
    assert (first.rate, first.name, second.rate, bytes(second.mask)) == (
        None,
        'a " NaN, Infinity',
        None,
        b"[null, 1.0]",
    )
    assert (
        "a.json: numbers that JSON does not have (NaN, Infinity) are read as null: 3, the first in line 1, column 20"
        in caplog.text
    )


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (GOOD.decode().encode("utf-16"), "is UTF-16, JSON files are UTF-8: save it as UTF-8"),
        (GOOD.decode().encode("utf-16-be"), "is UTF-16, UTF-32 or no text at all"),
        (GOOD.decode().encode("utf-32"), "is UTF-32, JSON files are UTF-8"),
        (
            b'[{"id": 1},\n {"id": 2, "name": "caf\xe9"}]',
            "not UTF-8: byte 0xe9 in line 2, column 24. Perhaps it is Latin-1: save it as UTF-8",
        ),
        (b'[{"id": 1},\n{"id": 2,}]', "not valid JSON: trailing comma in object in line 2, column 10, near .*2,"),
        (b'[{"id": 1},]', "not valid JSON: trailing comma in array in line 1, column 12"),
        (b'[{"id": 1}, {"id"', r"not valid JSON: it ends before its last bracket, so it is cut off \(17 bytes\)"),
        (b"[{'id': 1}]", "not valid JSON: .* in line 1, column 3, near"),
        (b'[{"id": 1}] [', "not valid JSON: trailing characters in line 1, column 14"),
        (b'[{"id": NaN}]', r"not in the official format: Expected `int`, got `null` - at `\$\[0\].id`"),
        (b'{"id": 1}', "not in the official format: Expected `array`, got `object`"),
        (b" \n", "is empty"),
        (b"", "is empty"),
        (b'[{"id": 1, "other": ' + b"[" * 100_000 + b"]" * 100_000 + b"}]", "nested in one another deeper"),
        (b'[{"id": ' + b"9" * 100_000 + b"}]", "not in the official format: Integer value out of range"),
        (gzip.compress(GOOD, mtime=0)[:30], "the gzip file is cut off"),
        (b"\x1f\x8b" + b"no gzip at all", "a damaged gzip file"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(tmp_path: Path, data: bytes, text: str) -> None:
    with pytest.raises(DatasetNotReady, match=text) as caught:
        items(tmp_path, data)
    assert str(caught.value).startswith(f"{tmp_path / 'a.json'}: ")


def test_a_file_that_grows_beyond_reason_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("amodal_bench.formats.json_files.LEAST_BOMB", 1 << 20)
    data = gzip.compress(b" " * (20 << 20))
    with pytest.raises(DatasetNotReady, match=r"holds more than [\d,]+ bytes once unpacked: no annotation file"):
        items(tmp_path, data)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotReady, match=r"b\.json: cannot be read"):
        read_json(tmp_path / "b.json", list[Item])


def test_an_id_has_one_spelling() -> None:
    assert [identity(value) for value in (7, 7.0, "7", " 7 ", "007", "img_a", 2**64, 1e20)] == [
        "7", "7", "7", "7", "007", "img_a", str(2**64), "1" + "0" * 20,
    ]  # fmt: skip
    for value in (7.5, float("nan"), float("inf"), "", " "):
        with pytest.raises(ValueError, match="id"):
            identity(value)


def test_optional_values_are_read_as_they_are_meant() -> None:
    rates: list[Any] = [None, 0, "0.5", "n/a", float("nan"), 10**400, []]
    assert [number(v) for v in rates] == [
        None, 0.0, 0.5, None, None, None, None,
    ]  # fmt: skip
    assert [words(name) for name in (None, " cup ", 12, "", " ", "\ud800x")] == [None, "cup", "12", None, None, "?x"]
    assert [flag(value) for value in (1, 1.0, True, "1", "True", " yes")] == [True] * 6
    assert [flag(value) for value in (None, 0, 0.0, False, "0", "", "no")] == [False] * 7
