"""From a run back to its pictures: the dataset opened as the run's record says, the predictions decoded."""

from collections.abc import Collection, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from amodal_bench import rle
from amodal_bench.errors import BadRecord, DatasetNotReady, Refused
from amodal_bench.figures.runs import LoadedRun
from amodal_bench.job import Request, open_dataset
from amodal_bench.locate import DataFlags
from amodal_bench.plugin import AnyDataset
from amodal_bench.registry import Registry
from amodal_bench.types import AmodalSample, Mask
from amodal_bench.visible_source import with_visible


class Source:
    """The samples of a data block by id."""

    def __init__(self, dataset: AnyDataset) -> None:
        self._dataset = dataset
        self._places = {id: place for place, id in enumerate(dataset.ids())}

    def sample(self, id: str) -> AmodalSample:
        """The instance of that id; raises `DatasetNotReady` where it or its files cannot be read."""
        if id not in self._places:
            raise DatasetNotReady(f"{self._dataset.card.title} {self._dataset.split} has no instance {id} here")
        try:
            return self._dataset[self._places[id]]
        except BadRecord as error:
            raise DatasetNotReady(str(error)) from None


def open_source(run: LoadedRun, here: DataFlags, plugins: Sequence[Path] = ()) -> Source:
    """Open a run's dataset, with the folders given here before those in its record.

    Raises `Refused` (`DatasetNotReady` where files are missing, as they are on a laptop that only holds
    results) or where the files are not those that the run was made on.
    """
    request = Request.model_validate(run.record["request"])
    known = [path for path in request.plugins if path.is_file() and path.name not in {p.name for p in plugins}]
    flags = DataFlags(
        data_root=here.data_root or (None if here.root else request.data_root),
        root=here.root or (None if here.data_root else request.root),
        image_root=here.image_root or request.image_root,
    )
    registry = Registry([*plugins, *known])
    dataset, _, _ = open_dataset(request.dataset, registry, run.split, request.options, flags)
    found, expected = dataset.fingerprint(), run.record["spec"]["fingerprint"]
    if found != expected:
        raise DatasetNotReady(
            f"the files of {run.data} here are not those of {run.folder.path} "
            f"(fingerprint {found[:8]}, the run has {expected[:8]}): name the right ones with --root or --data-root"
        )
    return Source(with_visible(dataset, request.visible))


def predicted_masks(run: LoadedRun, ids: Collection[str]) -> dict[str, Mask]:
    """Masks (H, W) of some instances of a run; raises `Refused` where one is missing."""
    table = run.folder.predictions()
    rows = table.filter(pc.is_in(table["id"], value_set=pa.array(sorted(ids), type=pa.string()))).to_pylist()
    masks = {row["id"]: rle.decode({"size": row["size"], "counts": row["counts"]}) for row in rows if row["counts"]}
    for id in ids:
        if id not in masks:
            raise Refused(f"{run.folder.path} holds no prediction for {id}: give its bench command again")
    return masks
