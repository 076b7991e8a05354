"""The training set of pix2gestalt: four folders with one file an object in each, called as in the release."""

import math
from collections.abc import Sequence
from pathlib import Path

from amodal_bench.formats.writers.base import Scene, Writer, WriterCard
from amodal_bench.formats.writers.files import link, write_image, write_mask
from amodal_bench.formats.writers.names import object_names

from .files import ENDINGS, SUFFIX


class Pix2GestaltWriter(Writer):
    """occlusion/NAME_occlusion.png, whole/NAME_whole.png, and so on: see `ENDINGS`.

    `whole/` is the object's image with nothing in front of it, which no other dataset has: it is the same image.
    """

    card = WriterCard(
        title="pix2gestalt",
        image_ids="names",
        annotation_ids="0; where an image has several objects or another id, its name is IMAGE-ANN",
        category=False,
        remark="99 % by file name are train, the rest val; whole/ repeats occlusion/; official size 256 x 256",
    )

    def __init__(self, out: Path, split: str, ids: Sequence[str]) -> None:
        super().__init__(out, split, ids)
        self._names = object_names(ids)

    def add(self, scene: Scene) -> list[str | None]:
        names = [self._names[sample.query.id] for sample in scene.samples]
        first = self._path("occlusion", names[0])
        write_image(first, scene.image)
        for name, sample in zip(names, scene.samples, strict=True):
            for folder in ("occlusion", "whole"):
                link(first, self._path(folder, name))
            write_mask(self._path("whole_mask", name), sample.amodal)
            write_mask(self._path("visible_object_mask", name), sample.visible)
        return [f"{name}/0" for name in names]

    def _path(self, folder: str, name: str) -> Path:
        return self.out / folder / f"{name}{ENDINGS[folder]}{SUFFIX}"

    def splits(self, names: Sequence[str]) -> Sequence[str]:
        by_file = sorted(names, key=lambda name: self._path("occlusion", name.removesuffix("/0")).name)
        rank = {name: index for index, name in enumerate(by_file)}
        train = math.floor(len(names) / 100 * 99)
        return ["train" if rank[name] < train else "val" for name in names]
