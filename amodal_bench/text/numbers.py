"""Numbers as people read them: rounded, with their interval; what is undefined is told by `undefined`."""

import math

DIGITS = 2
_SMALLEST_P = 0.001


def number(value: float, digits: int = DIGITS, *, undefined: str = "-", signed: bool = False) -> str:
    """`81.20`, or with its sign `+81.20`; what is rounded to 0 has none."""
    if math.isnan(value):
        return undefined
    text = f"{value:.{digits}f}"
    if not text.strip("-0."):
        return text.removeprefix("-")
    return f"+{text}" if signed and value > 0 else text


def interval(low: float, high: float, digits: int = DIGITS, *, signed: bool = False) -> str:
    """`[80.10, 82.30]`; nothing where it is undefined."""
    if math.isnan(low):
        return ""
    return f"[{number(low, digits, signed=signed)}, {number(high, digits, signed=signed)}]"


def with_interval(value: float, low: float, high: float, digits: int = DIGITS, *, signed: bool = False) -> str:
    """`81.20 [80.10, 82.30]`, the value alone where it has no interval."""
    return " ".join(filter(None, [number(value, digits, signed=signed), interval(low, high, digits, signed=signed)]))


def p_value(p: float, *, undefined: str = "-") -> str:
    """`0.034`; a small one as `< 0.001`."""
    return f"< {_SMALLEST_P}" if p < _SMALLEST_P else number(p, 3, undefined=undefined)
