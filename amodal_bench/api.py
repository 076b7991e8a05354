"""What a notebook needs: datasets, methods, runs and metrics in a line each."""

from pathlib import Path
from typing import Any

import pandas as pd

from amodal_bench.metrics import scores as scoring
from amodal_bench.metrics.protocol import DEFAULT, find_protocol
from amodal_bench.plugin import AnyDataset, AnyMethod, Runtime
from amodal_bench.progress import Silent
from amodal_bench.resolve import provenance
from amodal_bench.resolve.job import Request, open_dataset, prepare
from amodal_bench.resolve.locate import DataFlags, find_checkpoint, results_root, weights_root
from amodal_bench.resolve.presets import find_preset
from amodal_bench.resolve.registry import Registry
from amodal_bench.results.reading import finished_rows
from amodal_bench.results.verification.check import verify as verify_run
from amodal_bench.results.verification.means import Means
from amodal_bench.results.verification.result import Verification
from amodal_bench.running import run
from amodal_bench.store import folder as store


class Run:
    """A finished or partial run on disk."""

    def __init__(self, path: str | Path) -> None:
        self.folder = store.open_folder(Path(path))

    @property
    def path(self) -> Path:
        """results/DATASET/SPLIT/METHOD/KEY."""
        return self.folder.path

    def record(self) -> dict[str, Any]:
        """run.json: spec, funnel, counts, versions, hardware."""
        return self.folder.record()

    def frame(self, protocol: str = DEFAULT) -> pd.DataFrame:
        """One row an instance without errors: ids, counts, `rate`, `occluded`, `iou_full`, `iou_inv` (fractions)."""
        rows = finished_rows(self.folder, self.folder.record())
        good = rows[rows["status"] == "ok"].reset_index(drop=True)
        return scoring.by_instance(good, find_protocol(protocol))


def load_dataset(
    name: str,
    root: str | Path | None = None,
    split: str | None = None,
    image_root: str | Path | None = None,
    **options: Any,
) -> AnyDataset:
    """A split as a sequence of `AmodalSample`; `root` is this dataset's own folder, `options` its Options."""
    flags = DataFlags(root=Path(root) if root else None, image_root=Path(image_root) if image_root else None)
    dataset, _, _ = open_dataset(name, Registry(), split, options, flags)
    return dataset


def load_method(
    name: str,
    *,
    checkpoint: str | Path | None = None,
    trained_on: str = "synthetic",
    device: str = "auto",
    **params: Any,
) -> AnyMethod:
    """A method or preset with its weights loaded, ready for `predict`.

    `trained_on` names the dataset whose weights a trained method takes where `checkpoint` does not say it.
    """
    preset = find_preset(name, Registry(), params)
    weights = weights_root(None)
    found = find_checkpoint(preset, trained_on, Path(checkpoint) if checkpoint else None, weights)
    method = preset.make()
    card = preset.plugin.cls.card
    method.load(
        Runtime(
            device=provenance.choose_device(device, card.needs),
            batch_size=card.batch_size,
            checkpoint=found.path if found else None,
            weights=weights,
        )
    )
    return method


def bench(method: str, dataset: str, **request: Any) -> Run:
    """Run, or go on with, a method on a dataset; keywords as the fields of `job.Request`.

    The run lies where the command line puts it: `results`, else what ./amodal-bench.yaml says, else ./results.
    """
    results = results_root(request.pop("results", None))
    job = prepare(Request(method=method, dataset=dataset, results=results, **request))
    run.bench(job)
    return Run(job.folder.path)


def open_run(path: str | Path) -> Run:
    """The run in a folder results/DATASET/SPLIT/METHOD/KEY."""
    return Run(path)


def verify(path: str | Path, **means: Any) -> Verification:
    """Whether a run's numbers follow from its folder and its dataset; nothing is predicted.

    Keywords as the fields of `Means`: `quick=True` needs no dataset, `root`, `data_root` and `image_root` say where it
    lies, `plugins` and `visible` name files that the run used. Raises `Refused` where `path` holds no run; what is
    damaged or missing is told in the result.
    """
    return verify_run(store.open_folder(Path(path)), Means(**means), Silent())


def metrics(frame: pd.DataFrame, protocol: str = DEFAULT) -> pd.DataFrame:
    """Values in percent with 95 % intervals, overall and per occlusion bucket, of a frame of counts."""
    return scoring.metrics(frame, find_protocol(protocol))
