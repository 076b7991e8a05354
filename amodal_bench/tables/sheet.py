"""A table before it is written: cells with their rank, notes, and one record per value for CSV."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from amodal_bench.results.rank import Rank
from amodal_bench.tables.values import Measured

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
    records: tuple[Record, ...] = ()
    problems: tuple[str, ...] = ()  # of the notes, those on cells for which not all that was run is shown


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
