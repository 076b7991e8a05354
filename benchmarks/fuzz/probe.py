"""What a user does with a dataset, and whether all that goes wrong is told by one of the project's own errors."""

import inspect
import warnings
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import PIL.Image

from amodal_bench import errors
from amodal_bench.formats.doctor import inspect_dataset
from amodal_bench.masks import rle
from amodal_bench.plugin import AnyDataset
from amodal_bench.running.guard import Failure, guarded
from amodal_bench.types import check_id
from benchmarks.fuzz.sets import Sample

T = TypeVar("T")
REFUSALS = {name for name, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, errors.Refused)} | {
    "OtherFormat"
}
FIRST = 8  # samples that are decoded


def probe(sample: Sample, root: Path) -> Iterator[str]:
    """Open a dataset, go through all that it offers, and yield what should not have happened.

    Fine is a refusal on opening, and a `BadRecord` for a single sample, whose text names a file.
    """
    warnings.simplefilter("error", RuntimeWarning)
    warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)
    names = {path.name for path in root.rglob("*")} | {str(root)}

    dataset = guarded(lambda: sample.open(root))
    if isinstance(dataset, Failure):
        yield from _untold(dataset, REFUSALS, names, "opening")
        return
    yield from _whole(dataset)
    for index in [*range(min(len(dataset), FIRST)), *range(max(len(dataset) - 1, FIRST), len(dataset))]:
        yield from _one(dataset, index, names)


def _whole(dataset: AnyDataset) -> Iterator[str]:
    """What may not fail, whatever the files hold."""
    steps: dict[str, Callable[[], object]] = {
        "ids": lambda: _check_ids(list(dataset.ids())),
        "fingerprint": dataset.fingerprint,
        "groups": lambda: [dataset.group(id) for id in dataset.ids()],
        "codes": lambda: [rle.decode(code) for _, *codes in dataset.codes() for code in codes],
        "remarks": lambda: list(dataset.remarks()),
        "faults": lambda: [fault.detail.encode() for fault in islice(dataset.faults(), 1000)],
        "categories": lambda: [name.encode() for name in dataset.categories().values()],
        "inspection": lambda: [finding.text.encode() for finding in inspect_dataset(dataset)],
    }
    for what, step in steps.items():
        done = guarded(step)
        if isinstance(done, Failure):
            yield _spoken(done, what)
    if dataset.funnel.kept != len(dataset):
        yield f"funnel: {dataset.funnel.as_dict()}, {len(dataset)} instances"


def _check_ids(ids: Sequence[str]) -> None:
    for id in ids:
        check_id(id)
    if len(set(ids)) != len(ids):
        raise ValueError(f"{len(ids) - len(set(ids))} ids occur twice")


def _one(dataset: AnyDataset, index: int, names: set[str]) -> Iterator[str]:
    def category() -> Any:
        return dataset.category_of(index)

    for what, step in (("sample", lambda: dataset[index]), ("category_of", category)):
        done = guarded(step)
        if isinstance(done, Failure):
            yield from _untold(done, {"BadRecord"}, {*names, dataset.ids()[index]}, what)


def _untold(failure: Failure, fine: set[str], names: set[str], what: str) -> Iterator[str]:
    kind, _, text = failure.message.partition(": ")
    if kind not in fine:
        yield _spoken(failure, what)
    elif not any(name in text for name in names):
        yield f"{what}: names no file: {failure.message}"


def _spoken(failure: Failure, what: str) -> str:
    return f"{what}: {failure.message[:300]} [{failure.line}]\n{failure.trace}"
