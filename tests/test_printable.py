"""Text from elsewhere in a spelling that is safe to show."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amodal_bench.text.printable import indented, printable

BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("a\rb\tc\nd\0", r"a\rb\tc\nd\x00"),
        ("\x7f\x85\x9b31m", r"\x7f\x85\x9b31m"),
        ("file-\udcff", r"file-\udcff"),
        ("\ud800", r"\ud800"),
        ("exe.\u202egpj", r"exe.\u202egpj"),
        ("\u2066x\u2069\u200e\u061c", r"\u2066x\u2069\u200e\u061c"),
        ("a\u2028b\u2029c", r"a\u2028b\u2029c"),
    ],
)
def test_what_moves_or_hides_text_is_spelled_out(given: str, shown: str) -> None:
    assert printable(given) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "exp[/b]:smile:",
        "Ölkanne, 椅子, كرسي, न",
        "\U0001f469\u200d\U0001f467",
        "e\u0301",
        r"C:\new\x1b",
        "\xa0±≤",
        "a\u200cb",
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    assert printable(text) == text


def test_lines_stay_where_asked_for() -> None:
    assert printable("one\n\ttwo\x1b\r\n", keep="\n\t") == "one\n\ttwo\\x1b\\r\n"


def test_further_lines_of_a_message_are_moved_in() -> None:
    assert indented("one") == "one"
    assert indented("one\ntwo\n    three\n\tfour\x1b\r") == "one\n  two\n    three\n  four\\x1b\\r"


@given(st.text(st.characters(exclude_categories=())))
def test_nothing_unsafe_comes_through(text: str) -> None:
    """Against Unicode's own categories; twice is the same as once, and it can be encoded."""
    shown = printable(text)
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cs", "Zl", "Zp"}
    assert not set(shown) & set(BIDI)
    assert printable(shown) == shown
    assert shown.encode().decode() == shown


def test_every_code_point_is_either_kept_or_spelled_out() -> None:
    for code in range(0x110000):
        character = chr(code)
        unsafe = unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or character in BIDI
        assert (printable(character) != character) == unsafe, hex(code)
