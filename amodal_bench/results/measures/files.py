"""RUN/measures/NAME.parquet: a numerator and a denominator an instance, of the predictions that the run has now."""

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from amodal_bench.errors import Refused, RunDamaged
from amodal_bench.metrics.pixels import MEASURES, Measure
from amodal_bench.metrics.table import Metric
from amodal_bench.store.folder import RunFolder
from amodal_bench.store.rows import write_table
from amodal_bench.store.sources import file_sha256

FOLDER = "measures"
_MARK = b"amodal_bench.measure"


class MeasureFile:
    """One measure of one run on disk: its table, and the parts of one that is being made."""

    def __init__(self, run: Path, measure: Measure, predictions: str) -> None:
        """`predictions` is the sha256 of predictions.parquet: a measure of others is none of this run."""
        self.run, self.measure = run, measure
        self.path = run / FOLDER / f"{measure.name}.parquet"
        self.parts = run / FOLDER / f"{measure.name}.parts"
        self._mark = f"{measure.name}/{measure.version} {predictions}".encode()
        numbers = [pa.field(name, pa.int64(), nullable=False) for name in measure.columns]
        self._schema = pa.schema([pa.field("id", pa.string(), nullable=False), *numbers], metadata={_MARK: self._mark})

    @property
    def command(self) -> str:
        """What makes it."""
        return f"amodal-bench measure {self.run} --metric {self.measure.name}"

    def read(self) -> pa.Table:
        """id and the measure's columns; raises `Refused` where it was not made, `RunDamaged` where it is not whole."""
        if not self.path.is_file():
            raise Refused(f"{self.run} has no measure {self.measure.name}: make it with `{self.command}`")
        return self._table(self.path)

    @property
    def made(self) -> bool:
        """Whether it is there, whole and of these predictions."""
        try:
            self.read()
        except Refused:
            return False
        return True

    def has_part(self, start: int, ids: pa.ChunkedArray) -> bool:
        """Whether the part that begins with row `start` was made, for these ids; one that is damaged was not."""
        path = self._part(start)
        try:
            return path.is_file() and self._table(path)["id"].equals(ids)
        except RunDamaged:
            return False

    def write_part(self, start: int, rows: pa.Table) -> None:
        """Have a part on disk, whole or not at all."""
        self.parts.mkdir(parents=True, exist_ok=True)
        write_table(self._part(start), rows.select(self._schema.names).cast(self._schema))

    def merge(self, starts: Iterable[int]) -> None:
        """Make the table of its parts, and remove them."""
        tables = [self._table(self._part(start)) for start in starts]
        self.path.parent.mkdir(exist_ok=True)
        write_table(self.path, pa.concat_tables([self._schema.empty_table(), *tables]))
        shutil.rmtree(self.parts, ignore_errors=True)

    def _part(self, start: int) -> Path:
        return self.parts / f"{start:010d}.parquet"

    def _table(self, path: Path) -> pa.Table:
        try:
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                mark = (file.schema_arrow.metadata or {}).get(_MARK)
                table = file.read().cast(self._schema) if mark == self._mark else None
        except (pa.ArrowException, OSError, ValueError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise RunDamaged(f"{path} cannot be read ({reason}): make it again with `{self.command}`") from None
        if table is None:
            raise RunDamaged(
                f"{path} is not of the predictions that its run has now, or of another version of the measure: "
                f"make it again with `{self.command}`"
            )
        return table


def measured(folder: RunFolder, record: dict[str, Any], measure: Measure) -> MeasureFile:
    """A measure of a run's present predictions; raises `RunDamaged` where there are none."""
    known = record.get("tables", {}).get("predictions")
    path = folder.path / "predictions.parquet"
    if not path.is_file():
        raise RunDamaged(f"{folder.path} has no {path.name}: the same bench command finishes the run")
    return MeasureFile(folder.path, measure, known or file_sha256(path))


def with_measures(
    frame: pd.DataFrame, folder: RunFolder, record: dict[str, Any], metrics: Sequence[Metric]
) -> pd.DataFrame:
    """`frame`, rows of a run with `id`, with the columns of what these metrics take from measures, if anything.

    Raises `Refused` where a measure was not made, `RunDamaged` where it is damaged or of other predictions; both name
    the command that makes it.
    """
    for name in dict.fromkeys(metric.measure for metric in metrics if metric.measure):
        stored = measured(folder, record, MEASURES[name])
        table = stored.read().to_pandas().set_index("id")
        without = ~frame["id"].isin(table.index)
        if without.any() or table.index.has_duplicates:
            raise RunDamaged(
                f"{stored.path} has not just one row of each instance ({int(without.sum())} have none): make it again "
                f"with `{stored.command}`"
            )
        frame = frame.assign(**{column: table[column].loc[frame["id"]].to_numpy() for column in table.columns})
    return frame


def with_present(
    frame: pd.DataFrame, folder: RunFolder, record: dict[str, Any], metrics: Sequence[Metric]
) -> pd.DataFrame:
    """As `with_measures`, of the measures that were made and are sound."""
    if not (folder.path / FOLDER).is_dir():
        return frame
    there = [m for m in metrics if m.measure and measured(folder, record, MEASURES[m.measure]).made]
    return with_measures(frame, folder, record, there)
