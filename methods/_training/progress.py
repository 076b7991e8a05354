"""train_log.csv: one row every few steps and one a validated epoch; a resumed training cuts off what it repeats."""

import csv
from collections.abc import Sequence
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


def duration(seconds: float) -> str:
    """h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
