"""Best and second best: the one rule, for every table, page and terminal."""

import math
from collections.abc import Hashable, Sequence
from typing import Literal

Rank = Literal["", "best", "second"]
_RANKS: tuple[Rank, ...] = ("best", "second", "")


def ranks(values: Sequence[tuple[Hashable, float]], digits: int) -> list[Rank]:
    """Best and second of each class, at the printed precision, ties alike.

    Args:
        values: (class, value) a cell, higher being better; the class None is never ranked, nor is NaN, nor a class of
            one value.
        digits: after the point.
    """
    rounded = [round(value, digits) if not math.isnan(value) else math.nan for _, value in values]
    known: dict[Hashable, list[float]] = {}
    for (kind, _), value in zip(values, rounded, strict=True):
        if kind is not None and not math.isnan(value):
            known.setdefault(kind, []).append(value)
    found: list[Rank] = []
    for (kind, _), value in zip(values, rounded, strict=True):
        rivals = known.get(kind, []) if kind is not None else []
        steps = sorted(set(rivals), reverse=True)[:2]
        step = steps.index(value) if len(rivals) > 1 and value in steps else 2
        found.append(_RANKS[step])
    return found
