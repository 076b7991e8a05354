"""A table before it is written: cells with their rank, notes, and one record per value for CSV."""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from amodal_bench.tables.runs import Measured

Rank = Literal["", "best", "second"]
_RANKS: tuple[Rank, ...] = ("best", "second", "")
TIMINGS = ("s/instance", "peak MB")
Record = Mapping[str, str | int | float | None]


@dataclass(frozen=True, slots=True)
class Cell:
    """A value in percent with what is printed beside it; `mark` refers to a note, `flag` says why it is unranked."""

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    spread: float = math.nan
    mark: str = ""
    flag: str = ""
    rank: Rank = ""
    digits: int | None = None

    @classmethod
    def of(cls, measured: Measured, rank: Rank = "") -> "Cell":
        """A measured value."""
        return cls(
            measured.value, measured.low, measured.high, measured.spread, flag=measured.flag, rank=rank
        )  # fmt: skip


EMPTY = Cell()


@dataclass(frozen=True, slots=True)
class Heading:
    """The two lines above a column; neighbours with the same `group` share it."""

    group: str
    name: str
    higher_is_better: bool = True


@dataclass(frozen=True, slots=True)
class Sheet:
    """A finished table. `labels` head the text columns on the left; a row is its labels and one cell a column."""

    name: str
    title: str
    labels: tuple[str, ...]
    columns: tuple[Heading, ...]
    rows: tuple[tuple[tuple[str, ...], tuple[Cell, ...]], ...]
    notes: tuple[str, ...] = ()
    digits: int = 1
    records: tuple[Record, ...] = field(default=())


def ranks(values: Sequence[tuple[Hashable, float]], digits: int) -> list[Rank]:
    """Best and second of each class, at the printed precision, ties alike.

    Args:
        values: (class, value) a cell; the class None is never ranked, nor is NaN, nor a class of one value.
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
        place = steps.index(value) if len(rivals) > 1 and value in steps else 2
        found.append(_RANKS[place])
    return found


def measured_record(m: Measured | None) -> dict[str, str | int | float | None]:
    """The measured half of a CSV record; empty where nothing was run."""
    if m is None:
        return dict.fromkeys(
            ("measured", "low", "high", "n", "protocol", "seeds", "sd", "flag", "run", "seconds_per_instance",
             "peak_memory_mb")
        )  # fmt: skip
    return {
        "measured": m.value, "low": m.low, "high": m.high, "n": m.n, "protocol": m.protocol, "seeds": len(m.runs),
        "sd": m.spread, "flag": m.flag, "run": " ".join(m.runs), "seconds_per_instance": m.seconds,
        "peak_memory_mb": m.memory,
    }  # fmt: skip


def timing_cells(m: Measured | None) -> tuple[Cell, Cell]:
    """Seconds an instance and peak memory, of this machine: never ranked."""
    return (Cell(m.seconds, digits=4), Cell(m.memory, digits=0)) if m else (EMPTY, EMPTY)
