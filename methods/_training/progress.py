"""train_log.csv: one row every few steps and one a validated epoch; a resumed training cuts off what it repeats."""

import csv
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from amodal_bench.text.csv_text import cell

COLUMNS = ("step", "epoch", "seconds", "loss", "lr")


class Log:
    """Rows are added at once, so that a killed training has told all it knew. `scores` names more columns."""

    def __init__(self, path: Path, step: int, scores: Sequence[str] = ()) -> None:
        self._path = path
        self._columns = (*COLUMNS, *scores)
        rows = [row for row in read(path) if int(row["step"]) <= step]
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, self._columns)
            writer.writeheader()
            writer.writerows(rows)

    def add(self, **values: float | int | str) -> None:
        """One row; columns that are not named stay empty."""
        with self._path.open("a", newline="") as file:
            csv.DictWriter(file, self._columns).writerow({name: cell(value) for name, value in values.items()})


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a log, none where there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def has_any(path: Path, step: int, columns: Sequence[str]) -> bool:
    """Whether a row of the log at `step` has a value in one of the columns."""
    return any(row.get(name) for row in read(path) if int(row["step"]) == step for name in columns)


def duration(seconds: float) -> str:
    """h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


class Pace:
    """How fast a training goes, by the steps after the first of this process.

    The first one waits for data to be prepared and kernels to be built; what it takes would be foretold for every step.
    """

    def __init__(self, step: int, total: int) -> None:
        self._step, self._total = step, total
        self._first: int | None = None
        self._since = 0.0

    def stepped(self, step: int) -> None:
        """So many steps are done."""
        self._step = step
        if self._first is None:
            self._first, self._since = step, time.monotonic()

    @contextmanager
    def standing(self) -> Iterator[None]:
        """Time in this block is not that of steps."""
        start = time.monotonic()
        yield
        self._since += time.monotonic() - start

    def __str__(self) -> str:
        steps = self._step - (self._step if self._first is None else self._first)
        if not steps:
            return "time left not known yet"
        pace = (time.monotonic() - self._since) / steps
        return f"{pace * 1000:.0f} ms a step, {duration(pace * (self._total - self._step))} left"
