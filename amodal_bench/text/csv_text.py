"""CSV that a spreadsheet shows and does not run, and that comes back as it was."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import TypeVar

from amodal_bench.text.printable import printable

T = TypeVar("T")
# What spreadsheets take for a formula: Excel and LibreOffice, full-width signs and leading blanks included.
_FORMULA = re.compile(r"'*\s*[=+\-@＝＋－＠]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*([eE][+-]?\d+)?|inf|nan)")


def cell(value: T) -> T | str:
    """A value for a CSV writer. Text loses its control characters (`printable`) and can be no formula; the rest stays.

    Text that begins with = + - @ gets an apostrophe before it, unless it is a number; so does text that begins with
    apostrophes and then one of these, so that `from_cell` finds back what it was.
    """
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def from_cell(text: str) -> str:
    """The text that `cell` was given, but for its control characters."""
    return text[1:] if text.startswith("'") and cell(text[1:]) == text else text


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A header and rows, each cell by `cell`, lines ended by a line feed."""
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(map(cell, header))
    writer.writerows(map(cell, row) for row in rows)
    return sink.getvalue()
