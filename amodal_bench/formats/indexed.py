"""Datasets whose masks stand in annotation files: one pass makes an index, and the index is all that is kept.

An adapter says which files it reads and yields a `Record` for each annotation. What all of them share is here:
the cached index, the funnel, the filters, decoding.
"""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field

from amodal_bench.errors import DatasetNotReady
from amodal_bench.files.cache import file_digest, manifest_digest
from amodal_bench.formats.areas import MASKS
from amodal_bench.formats.index import cached, equal_to, unchanged, values_of
from amodal_bench.formats.instance_masks import masks_of
from amodal_bench.formats.photo_faults import framed_photos, photo_faults
from amodal_bench.formats.photos import Photos
from amodal_bench.formats.records import INDEX, Record, to_index
from amodal_bench.formats.subset import smallest
from amodal_bench.masks import rle
from amodal_bench.masks.images import read_image
from amodal_bench.metrics.protocol import Range
from amodal_bench.plugin import Dataset, Fault, Location, Settings
from amodal_bench.types import AmodalQuery, AmodalSample, Mask, Seen, beside

Bools = NDArray[np.bool_]
CODES = ["amodal_counts", "visible_counts", "given_counts"]


class InstanceOptions(Settings):
    """Which annotations are instances; a dataset may add its own.

    `min_area`: amodal pixels. `rates`: an interval of occlusion rates like `(0.1, 0.7)`. `max_instances`: a
    subset that is the same wherever the files are the same.
    """

    include_unoccluded: bool = True
    min_area: int = Field(default=0, ge=0)
    rates: Range | None = None
    max_instances: int | None = Field(default=None, ge=1)


O = TypeVar("O", bound=InstanceOptions)  # noqa: E741


class Indexed(Dataset[O]):
    """A dataset with annotation files; the funnel counts annotations.

    Every mask is looked at on the first opening (the result is cached), so that one that can not be an instance's is
    left out and counted whatever is asked, and the funnel tells of masks that disagree with each other or with what
    is declared.

    `margin`: the share of a side by which a photo may be larger or smaller than its annotation says; it is cut or
    filled at the right and the bottom, and counted in the funnel.
    """

    Options: ClassVar[type[Settings]] = InstanceOptions
    margin: ClassVar[float] = 0

    def __init__(self, location: Location, split: str, options: O) -> None:
        super().__init__(location, split, options)
        self._files = list(self.annotation_files())
        self._fingerprint = self.digest()
        self._path = location.cache / "index" / f"{self.name}-{split}-{self._fingerprint[:32]}{self.variant()}.arrow"
        self._index = cached(self._path, INDEX, unchanged(self.build, self.digest, self._fingerprint))
        self._rows = self._choose()
        self._ids = self._spelled(self._rows)

    @abstractmethod
    def annotation_files(self) -> Sequence[Path]:
        """The files of this split; raises `DatasetNotReady` where one is missing."""

    @abstractmethod
    def image_folders(self) -> Sequence[Path]:
        """Where images are looked for, in this order."""

    @abstractmethod
    def records(self, files: Sequence[Path]) -> Iterator[Record]:
        """All annotations, those of one image together; raises `DatasetNotReady` for a file that is broken."""

    def build(self) -> pa.Table:
        """The table of `INDEX`; where masks are files of their own, reading them is shared out to processes."""
        table = to_index(self.records(self._files))
        if len(table) and not pc.any(pc.not_equal(table["file"], "")).as_py():
            reason, detail = table["dropped"][0].as_py(), table["detail"][0].as_py()
            raise DatasetNotReady(
                f"{self._files[0]}: none of the {len(table)} annotations can be read. The first: {reason} ({detail})"
            )
        return table

    def variant(self) -> str:
        """Part of the cached index's name, where an option changes what `records` yields."""
        return ""

    def unwanted(self) -> Iterator[tuple[str, Bools]]:
        """(reason, which rows of the index) of what this dataset's own options leave out."""
        yield from ()

    def ids(self) -> Sequence[str]:
        """In the order of the file."""
        return self._ids

    def fingerprint(self) -> str:
        """What `digest` was on opening."""
        return self._fingerprint

    def digest(self) -> str:
        """sha256 of the annotation file as it is now, or of the names and sha256 of several."""
        digests = [(path.name, file_digest(path, self.location.cache)) for path in self._files]
        return digests[0][1] if len(digests) == 1 else manifest_digest(digests)

    def __getitem__(self, index: int) -> AmodalSample:
        row = self._index.slice(int(self._rows[index]), 1).to_pylist()[0]
        height, width = row["height"], row["width"]
        image = read_image(self._photos.find(row["file"], row["where"]), height, width, self.margin)
        masks = self._masks.select(CODES).slice(int(self._rows[index]), 1).to_pylist()[0]
        amodal, visible, *given = (
            rle.decode({"size": [height, width], "counts": counts}) for counts in masks.values() if counts is not None
        )
        query = AmodalQuery(self._ids[index], row["image"], image, (given or [visible])[0], row["category"])
        return AmodalSample(query, amodal, row["is_stuff"], row["declared_rate"], visible if given else None)

    def seen(self, index: int) -> Seen:
        """As declared; one photo is read."""
        own, rows = self[index], self._rows[list(beside(self._ids, index))]
        codes = self._masks["visible_counts"].take(rows[~self.flags("is_stuff")[rows]]).to_pylist()
        return Seen(own.query, _united(codes, *own.visible.shape))

    def codes(self) -> Iterator[tuple[str, rle.Code, rle.Code]]:
        """(id, amodal, visible) of every instance as run-length codes, without images; cached."""
        names = ("height", "width")
        sizes = self._index.select(names).take(self._rows).to_pylist()
        masks = self._masks.select(CODES[:2]).take(self._rows)
        for id, size, amodal, visible in zip(self._ids, sizes, *(c.to_pylist() for c in masks.columns), strict=True):
            shape = [size["height"], size["width"]]
            if amodal is not None:  # else malformed
                yield id, {"size": shape, "counts": amodal}, {"size": shape, "counts": visible}

    def category_of(self, index: int) -> str | None:
        """From the index: no image is read."""
        name: str | None = self._index["category"][int(self._rows[index])].as_py()
        return name

    def renamed(self, name: str) -> str:
        """What another release of the photos calls the file that an annotation calls `name`; ids are not changed."""
        return name

    @cached_property
    def _photos(self) -> Photos:
        return Photos(self.image_folders(), lambda: pc.unique(self._index["file"]).to_pylist(), self.renamed)

    @cached_property
    def _masks(self) -> pa.Table:
        path = self._path.with_name(f"{self._path.stem}-masks.arrow")
        return cached(path, MASKS, lambda: masks_of(self._index, self._path))

    def column(self, name: str) -> NDArray[Any]:
        """A column of the index or of the masks as an array; null is NaN."""
        table = self._index if name in self._index.column_names else self._masks
        values: NDArray[Any] = table[name].to_numpy()
        return values

    def flags(self, name: str) -> Bools:
        """A boolean column of the index, null as False."""
        values: Bools = pc.fill_null(self._index[name], False).to_numpy()
        return values

    def _spelled(self, rows: NDArray[np.int64]) -> list[str]:
        images, annotations = (self._index[c].take(rows).to_pylist() for c in ("image", "annotation"))
        return [self.id_of(i, a) for i, a in zip(images, annotations, strict=True)]

    def _choose(self) -> NDArray[np.int64]:
        """Rows of the instances; everything else is counted, each annotation under its first reason."""
        self.funnel.read = len(self._index)
        kept = np.ones(len(self._index), dtype=np.bool_)
        for reason, rows in self._reasons():
            self.funnel.drop(reason, int((kept & rows).sum()))
            kept &= ~rows
        chosen = np.flatnonzero(kept)
        most = self.options.max_instances
        if most is not None and most < len(chosen):
            self.funnel.drop("outside the subset of max_instances", len(chosen) - most)
            chosen = chosen[smallest(self._spelled(chosen), most)]
        self._note(chosen)
        if self.margin:
            framed = framed_photos(self._photos, self._index.take(chosen), self.margin)
            self.funnel.note("image is cut or filled at the right and the bottom", framed)
        return chosen

    def _reasons(self) -> Iterator[tuple[str, Bools]]:
        yield from values_of(self._index["dropped"])
        yield from self.unwanted()
        yield from values_of(self._masks["reason"])
        options = self.options
        amodal, hidden = self.column("amodal_area"), self.column("hidden_area")
        yield "smaller than min_area", amodal < options.min_area
        yield "unoccluded", (hidden == 0) & (not options.include_unoccluded)
        if options.rates:
            yield f"occlusion rate outside {options.rates}", ~options.rates.contains(hidden / np.maximum(amodal, 1))

    def _note(self, chosen: NDArray[np.int64]) -> None:
        for what, rows in self.oddities().items():
            self.funnel.note(what, int(rows[chosen].sum()))

    def oddities(self) -> dict[str, Bools]:
        """What holds of usable annotations that should not, or should be known, as rows of the index."""
        rate = self.column("hidden_area") / np.maximum(self.column("amodal_area"), 1)
        declared = self.column("declared_rate").astype(np.float64)
        derived = self._masks["derived"]
        return {
            "visible mask sticks out of the amodal mask": self.column("outside_area") > 0,
            "declared occlusion rate differs by more than .01 from the masks": np.abs(rate - declared) > 0.01,
            "visible mask is not the amodal one less what lies in front": self.column("order_area") > 0,
            "no visible mask: it is the amodal one less the invisible one": equal_to(derived, "invisible"),
            "no visible mask: it is the amodal one less what lies in front": equal_to(derived, "order"),
            "a part of a polygon that is none was left out": self.column("left_out") > 0,
        }

    def faults(self) -> Iterator[Fault]:
        """What is wrong with single annotations, oddities with their numbers, images missing or of another size."""
        reasons, details = self._masks["reason"], self._masks["detail"]
        for row in np.flatnonzero(details.is_valid().to_numpy()):
            reason, detail = reasons[int(row)].as_py(), details[int(row)].as_py()
            if reason is not None:
                yield Fault(self._spelled(np.array([row]))[0], reason, detail)
        names = ("outside_area", "order_area", "hidden_area", "amodal_area", "declared_rate", "left_out")
        numbers = {name: self.column(name) for name in names}
        usable = reasons.is_null().to_numpy()
        for kind, rows in self.oddities().items():
            for row in np.flatnonzero(rows & usable):
                facts = ", ".join(f"{name} {values[row]:g}" for name, values in numbers.items())
                yield Fault(self._spelled(np.array([row]))[0], kind, facts)
        yield from photo_faults(self._photos, self._index, f"{self.name}/{self.split}", self.margin)


def _united(counts: Sequence[bytes], height: int, width: int) -> Mask:
    return rle.decode(rle.union([{"size": [height, width], "counts": one} for one in counts], height, width))
