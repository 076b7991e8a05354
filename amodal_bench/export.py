"""Write an opened dataset in the official layout of any dataset that has a writer."""

import contextlib
import importlib
import inspect
import itertools
import logging
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from amodal_bench.cache import write_atomic
from amodal_bench.csv_text import csv_text
from amodal_bench.errors import BadRecord, Refused, UnknownName
from amodal_bench.funnel import Funnel
from amodal_bench.plugin import AnyDataset
from amodal_bench.predict import Reporter, Silent
from amodal_bench.registry import PACKAGE, Registry
from amodal_bench.types import AmodalSample, Image, parse_id

log = logging.getLogger(__name__)

TABLE = "export.csv"
_DIGITS = 9  # of a frame's number, which becomes a file's name
UNREADABLE = "cannot be read"
FOLDER = PACKAGE / "datasets" / "_writers"


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """One image with its instances, at least one. Outside videos `clip` is the image and `frame` is 0."""

    image_id: str
    clip: str
    frame: int
    image: Image
    samples: Sequence[AmodalSample]


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterCard:
    """What a layout carries beside images and masks. Both masks of every instance come back to the pixel.

    `ids`: as they are (`names`), or as whole numbers (`numbers`: kept where they are such, else counted).
    """

    title: str
    image_ids: Literal["names", "numbers"]
    annotation_ids: str  # in words
    category: bool
    stuff: bool = False
    remark: str = ""  # what the layout asks for that a dataset may not have


class Writer(ABC):
    """Write one layout into an empty folder. A file in datasets/_writers/ holds one subclass.

    `ids` are those of all instances that will come, in order. Images come one by one and are not kept; a file
    that can only be whole at the end is written in `finish`.
    """

    card: ClassVar[WriterCard]

    def __init__(self, out: Path, split: str, ids: Sequence[str]) -> None:
        self.out = out
        self.split = split
        self.ids = ids
        self.funnel = Funnel()

    @abstractmethod
    def add(self, scene: Scene) -> list[str | None]:
        """Write one image; IMAGE/ANN of each sample as the layout's reader spells it, None for one left out.

        What is left out is counted in `funnel`.
        """

    def finish(self) -> None:  # noqa: B027
        """Write what needed all images. Not called after an error."""

    def splits(self, names: Sequence[str]) -> Sequence[str]:
        """The split that each IMAGE/ANN is read back in, for a layout that does not leave it to the writer."""
        return [self.split] * len(names)

    def close(self) -> None:  # noqa: B027
        """Let go of open files, whatever happened."""


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
    """Names of the formats and of the files that write them; nothing is imported.

    A file DATASET_RELEASE.py writes the format DATASET-RELEASE.
    """
    datasets = sorted(registry.names("datasets"), key=len, reverse=True)
    names = {}
    for module in pkgutil.iter_modules([str(FOLDER)]):
        owner = next((name for name in datasets if f"{module.name}_".startswith(f"{name}_")), None)
        if owner:
            names[owner + module.name[len(owner) :].replace("_", "-")] = module.name
    return names


def find_format(name: str, registry: Registry) -> Format:
    """The format of that name; raises `UnknownName` with suggestions."""
    names = format_names(registry)
    if name not in names:
        raise UnknownName("format", name, names)
    module = importlib.import_module(f"amodal_bench.datasets._writers.{names[name]}")
    own = [
        cls
        for _, cls in inspect.getmembers(module, inspect.isclass)
        if issubclass(cls, Writer) and cls.__module__ == module.__name__
    ]
    return Format(name, name[: len(names[name])].partition("-")[0], own[0])


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
    own = source.split if source.split in card.splits else card.default_split
    return Export(source, ids, layout, split or own, out)


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
    for image_id, places in itertools.groupby(range(len(job.ids)), key=lambda k: parse_id(job.ids[k]).image):
        samples, failed = [], 0
        for place in places:
            try:
                samples.append(job.source[place])
            except BadRecord as error:
                log.warning("left out: %s", error)
                funnel.drop(UNREADABLE)
                failed += 1
        if not samples:
            yield None, failed
            continue
        clip, frame = clip_and_frame(image_id, job.source.group(samples[0].query.id))
        yield Scene(image_id, clip, frame, samples[0].query.image, samples), failed


def clip_and_frame(image_id: str, group: str) -> tuple[str, int]:
    """`CLIP:FRAME` of an image that belongs to a video, else the image and 0."""
    clip, colon, frame = image_id.rpartition(":")
    numbered = colon and clip == group and frame.isdecimal() and len(frame) <= _DIGITS
    return (clip, int(frame)) if numbered else (image_id, 0)
