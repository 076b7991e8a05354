"""From a run back to its pictures: its dataset opened as this machine allows, its predictions decoded."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from amodal_bench.errors import BadRecord, DatasetNotReady, Refused, RunDamaged
from amodal_bench.masks import rle
from amodal_bench.plugin import AnyDataset
from amodal_bench.resolve.locate import DataFlags
from amodal_bench.results.finished import FinishedRun
from amodal_bench.results.recorded import Recorded
from amodal_bench.results.select import nothing_left, readable
from amodal_bench.types import MOST_PIXELS, AmodalSample, Mask


class SampleSource:
    """The samples of a data block by id."""

    def __init__(self, dataset: AnyDataset) -> None:
        self._dataset = dataset
        self._indices = {id: index for index, id in enumerate(dataset.ids())}

    def sample(self, id: str) -> AmodalSample:
        """The instance of that id; raises `DatasetNotReady` where it or its files cannot be read."""
        if id not in self._indices:
            raise DatasetNotReady(f"{self._dataset.card.title} {self._dataset.split} has no instance {id} here")
        try:
            return self._dataset[self._indices[id]]
        except BadRecord as error:
            raise DatasetNotReady(str(error)) from None


def open_first(runs: Sequence[FinishedRun], here: DataFlags, plugins: Sequence[Path] = ()) -> SampleSource:
    """Open the dataset of runs on the same instances as the first says for which that goes (`open_source`)."""
    faults = []
    for run in runs:
        try:
            return open_source(run, here, plugins)
        except Refused as error:
            faults.append(error)
    raise faults[0]


def open_source(run: FinishedRun, here: DataFlags, plugins: Sequence[Path] = ()) -> SampleSource:
    """Open a run's dataset: from the folders given here, else from where it lay when it was used on this machine.

    Raises `Refused` (`DatasetNotReady` where files are missing, as they are on a laptop that only holds results) where
    it takes a plugin that was not given, or where plugin, options or files are not those that the run was made with.
    """
    recorded = Recorded(run.folder.path, run.record, plugins)
    if fault := recorded.source_fault():
        raise Refused(fault)
    opened = recorded.open(here)
    if fault := recorded.fingerprint_fault(opened):
        raise DatasetNotReady(fault)
    return SampleSource(opened.dataset)


def predicted_masks(run: FinishedRun, ids: Collection[str]) -> dict[str, Mask]:
    """Masks (H, W) of some instances of a run; raises `RunDamaged` where one is missing, or no mask of its size."""
    table = run.folder.predictions()
    rows = table.filter(pc.is_in(table["id"], value_set=pa.array(sorted(ids), type=pa.string()))).to_pylist()
    codes = {row["id"]: {"size": row["size"], "counts": row["counts"]} for row in rows if row["counts"]}
    sizes = run.instances.set_index("id")[["height", "width"]]
    for id in ids:
        if id not in codes or id not in sizes.index:
            raise RunDamaged(f"{run.folder.path} holds no prediction for {id}: give its bench command again")
    return {id: _decoded(run, id, codes[id], *sizes.loc[id]) for id in ids}


def _decoded(run: FinishedRun, id: str, code: dict[str, Any], height: float, width: float) -> Mask:
    """A mask (H, W). Its code is checked first: what decodes it writes wherever the runs lead."""
    where = f"{run.folder.path}: the prediction for {id}"
    if not 0 < height * width <= MOST_PIXELS:  # NaN too
        raise RunDamaged(f"{where}: an image of {width:g} x {height:g} pixels cannot be")
    try:
        return rle.decode(rle.from_annotation(code, int(height), int(width), where))
    except BadRecord as error:
        raise RunDamaged(str(error)) from None


def readable_masks(runs: Sequence[FinishedRun], ids: Collection[str]) -> tuple[dict[str, dict[str, Mask]], list[str]]:
    """`predicted_masks` by label of the runs that have them, and a line for each that has not."""
    found, left_out = readable(runs, lambda run: (run.label, predicted_masks(run, ids)))
    if not found:
        raise nothing_left("no run has the predictions that are to be shown", left_out)
    return dict(found), left_out
