"""CSV that a spreadsheet shows and does not run."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amodal_bench.text.csv_text import cell, csv_text, from_cell
from amodal_bench.text.printable import printable

TEXTS = st.text() | st.text("'=+-@ ab1\t\r\n＝", max_size=6)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ('=HYPERLINK("http://x","y")', '\'=HYPERLINK("http://x","y")'),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", r"\t=1"),
        ("\r=1", r"\r=1"),
        ("  =1", "'  =1"),
        ("＝1", "'＝1"),
        ("'=1", "''=1"),
        ("-", "'-"),
    ],
)
def test_formulas_become_text(text: str, written: str) -> None:
    assert cell(text) == written


@pytest.mark.parametrize("value", ["person", "a=b", "'quoted'", "", "-12", "+1.5e-3", "-inf", -12, 0.5, None, True])
def test_what_is_no_formula_stays(value: object) -> None:
    assert cell(value) is value or cell(value) == value


@given(TEXTS)
def test_no_text_is_a_formula_and_every_text_comes_back(text: str) -> None:
    written = str(cell(text))
    assert written.lstrip()[:1] not in set("=+-@＝＋－＠") or written[1:].isdecimal()
    assert from_cell(written) == printable(text)


@given(st.lists(st.tuples(TEXTS, st.floats(allow_nan=False)), max_size=4))
def test_a_table_is_read_back_by_any_reader(rows: list[tuple[str, float]]) -> None:
    read = list(csv.reader(io.StringIO(csv_text(["name", "value"], rows))))
    assert read[0] == ["name", "value"]
    assert [(from_cell(name), float(value)) for name, value in read[1:]] == [(printable(n), v) for n, v in rows]
