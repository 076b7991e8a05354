"""Write an opened dataset in the official layout of any dataset that has a writer."""

import contextlib
import importlib
import inspect
import itertools
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from amodal_bench.errors import BadRecord, Refused, UnknownName
from amodal_bench.files.cache import write_atomic
from amodal_bench.files.package import PACKAGE
from amodal_bench.formats.writers.base import Scene, Writer, clip_and_frame
from amodal_bench.funnel import Funnel
from amodal_bench.plugin import AnyDataset
from amodal_bench.progress import Reporter, Silent
from amodal_bench.resolve.registry import Registry
from amodal_bench.text.csv_text import csv_text
from amodal_bench.types import parse_id

log = logging.getLogger(__name__)

TABLE = "export.csv"
UNREADABLE = "cannot be read"


@dataclass(frozen=True, slots=True)
class Format:
    """A layout: its writer, and the dataset that reads it."""

    name: str
    dataset: str
    cls: type[Writer]


@dataclass(frozen=True, slots=True)
class Export:
    """What an export is going to do, with everything found and nothing written."""

    source: AnyDataset
    ids: Sequence[str]
    layout: Format
    split: str
    out: Path


def format_names(registry: Registry) -> dict[str, str]:
    """Names of the formats and of the modules that write them; nothing is imported.

    datasets/NAME/writer.py writes the format NAME, datasets/NAME/writer_RELEASE.py the format NAME-RELEASE.
    """
    names = {}
    for dataset in registry.names("datasets"):
        for path in sorted((PACKAGE / "datasets" / dataset).glob("writer*.py")):
            release = path.stem.removeprefix("writer").replace("_", "-")
            names[dataset + release] = f"amodal_bench.datasets.{dataset}.{path.stem}"
    return names


def find_format(name: str, registry: Registry) -> Format:
    """The format of that name; raises `UnknownName` with suggestions."""
    names = format_names(registry)
    if name not in names:
        raise UnknownName("format", name, names)
    module = importlib.import_module(names[name])
    writers = [
        cls
        for _, cls in inspect.getmembers(module, inspect.isclass)
        if issubclass(cls, Writer) and cls.__module__ == module.__name__
    ]
    return Format(name, names[name].split(".")[2], writers[0])


def prepare(
    source: AnyDataset,
    layout: Format,
    out: Path,
    registry: Registry,
    split: str | None = None,
    limit: int | None = None,
) -> Export:
    """Check a request; raises `Refused` before anything is written.

    `split` is of the target; by default the source's own where the target has one of that name, else the
    target's default.
    """
    if limit is not None and limit < 1:
        raise Refused(f"--limit takes a whole number from 1, got {limit}")
    card = registry.dataset(layout.dataset).cls.card
    if split is not None and split not in card.splits:
        raise UnknownName(f"split of {card.title}", split, card.splits)
    ids = source.ids()[:limit]
    if not ids:
        raise Refused(f"nothing to export: {source.card.title} {source.split} is empty: {source.funnel.as_dict()}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise Refused(f"--out {out}: not an empty folder; an export never mixes with other files. Name a new folder")
    fallback = source.split if source.split in card.splits else card.default_split
    return Export(source, ids, layout, split or fallback, out)


def export(job: Export, reporter: Reporter | None = None) -> Funnel:
    """Write everything and, last, the table of ids: a folder without `export.csv` is not whole.

    Returns what was read, and what was left out and why.
    """
    job.out.mkdir(parents=True, exist_ok=True)
    writer = job.layout.cls(job.out, job.split, job.ids)
    writer.funnel.read = len(job.ids)
    with contextlib.closing(writer):
        written = list(_written(job, writer, reporter or Silent()))
        writer.finish()
    splits = writer.splits([name for _, name in written])
    rows = [(id, f"{job.layout.dataset}/{split}/{name}") for (id, name), split in zip(written, splits, strict=True)]
    write_atomic(job.out / TABLE, csv_text(["source", "exported"], rows).encode())
    return writer.funnel


def _written(job: Export, writer: Writer, reporter: Reporter) -> Iterator[tuple[str, str]]:
    """Write image after image; source id and IMAGE/ANN of what was written."""
    reporter.announce(len(job.ids), 0)
    for scene, failed in _scenes(job, writer.funnel):
        samples = scene.samples if scene else ()
        for sample, name in zip(samples, writer.add(scene) if scene else (), strict=True):
            if name is not None:
                yield sample.query.id, name
        reporter.advance(len(samples) + failed, failed)


def _scenes(job: Export, funnel: Funnel) -> Iterator[tuple[Scene | None, int]]:
    """Each image's readable instances, and how many were not."""
    for image_id, indices in itertools.groupby(range(len(job.ids)), key=lambda k: parse_id(job.ids[k]).image):
        samples, failed = [], 0
        for index in indices:
            try:
                samples.append(job.source[index])
            except BadRecord as error:
                log.warning("left out: %s", error)
                funnel.drop(UNREADABLE)
                failed += 1
        if not samples:
            yield None, failed
            continue
        clip, frame = clip_and_frame(image_id, job.source.group(samples[0].query.id))
        yield Scene(image_id, clip, frame, samples[0].query.image, samples), failed
