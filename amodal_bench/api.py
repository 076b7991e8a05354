"""What a notebook needs: datasets, methods, runs and metrics in a line each."""

from collections.abc import Iterable
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
from amodal_bench.results.finished import FinishedRun, open_run
from amodal_bench.results.measures.loop import measure as measure_run
from amodal_bench.results.verification.check import verify as verify_run
from amodal_bench.results.verification.means import Means
from amodal_bench.results.verification.result import Verification
from amodal_bench.running import run
from amodal_bench.store import folder as store


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


def bench(method: str, dataset: str, **request: Any) -> FinishedRun:
    """Run, or go on with, a method on a dataset; keywords as the fields of `job.Request`.

    The run lies where the command line puts it: `results`, else what ./amodal-bench.yaml says, else ./results.
    """
    results = results_root(request.pop("results", None))
    job = prepare(Request(method=method, dataset=dataset, results=results, **request))
    run.bench(job)
    return open_run(job.folder.path)


def verify(path: str | Path, **means: Any) -> Verification:
    """Whether a run's numbers follow from its folder and its dataset; nothing is predicted.

    Keywords as the fields of `Means`: `quick=True` needs no dataset, `root`, `data_root` and `image_root` say where it
    lies, `plugins` and `visible` name files that the run used. Raises `Refused` where `path` holds no run; what is
    damaged or missing is told in the result.
    """
    return verify_run(store.open_folder(Path(path)), Means(**means), Silent())


def measure(path: str | Path, names: Iterable[str], **means: Any) -> None:
    """Measure metrics of pixels (`boundary`, `eroded`) of a run, as `amodal-bench measure`; needs its dataset.

    Keywords as the fields of `Means`: `root`, `data_root` and `image_root` say where the dataset lies. Raises `Refused`
    where it is not here, `Incomplete` where instances could not be measured.
    """
    measure_run(store.open_folder(Path(path)), list(names), Means(**means), Silent())


def score(frame: pd.DataFrame, protocol: str = DEFAULT, metrics: Iterable[str] | None = None) -> pd.DataFrame:
    """Values in percent with 95 % intervals, overall and per occlusion bucket, of a frame of counts.

    Args:
        frame: what `Run.frame` gives, or any rows of it.
        protocol: an id like `pooled/1`, or a bare name.
        metrics: names of the table of metrics (docs/metrics.md); by default mIoU_full and mIoU_inv.

    Returns:
        protocol, subset, rates, metric, value, low, high, n, n_undefined, as `metrics.scores.metrics` says.

    Raises:
        UnknownName: no protocol or no metric is called so.
    """
    return scoring.metrics(frame, find_protocol(protocol), metrics=metrics)
