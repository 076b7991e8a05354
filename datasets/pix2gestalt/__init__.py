"""The training set of pix2gestalt: objects of SA-1B, each pasted over by another one.

Masks are not looked at on opening: there are some 837,000 pairs. One that is empty, unreadable or wholly outside
the other is a `BadRecord` when it is asked for, which a run records as an error row and training passes over.
"""

import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from pydantic import Field

from amodal_bench.errors import BadRecord
from amodal_bench.files.cache import contents, manifest_digest
from amodal_bench.formats.areas import APART
from amodal_bench.formats.subset import smallest
from amodal_bench.masks.images import read_image, read_mask
from amodal_bench.plugin import Dataset, DatasetCard, Location, Settings
from amodal_bench.types import AmodalQuery, AmodalSample, Mask, parse_id

from .files import ENDINGS, find_objects

IMAGES, WHOLE, VISIBLE = "occlusion", "whole_mask", "visible_object_mask"


class Pix2GestaltOptions(Settings):
    """`max_instances`: a subset that is the same wherever the files are the same."""

    max_instances: int | None = Field(default=None, ge=1)


class Pix2Gestalt(Dataset[Pix2GestaltOptions]):
    """Ids are `pix2gestalt/SPLIT/OBJECT/0`; train is the first 99 % of the sorted names in occlusion/, val the rest."""

    card = DatasetCard(
        title="pix2gestalt training set (Ozguroglu et al., CVPR 2024)",
        paper="https://arxiv.org/abs/2401.14398",
        licence="research only, with the terms of SA-1B; code and weights of pix2gestalt CC BY-NC 4.0",
        get="pix2gestalt_occlusions_release.tar.gz from gestalt.cs.columbia.edu, by the link in the README of "
        "github.com/cvlab-columbia/pix2gestalt",
        tree="""
occlusion/ID_occlusion.png               the image in which something hides the object
whole/ID_whole.png                       the object before that (only its name is read)
whole_mask/ID_whole_mask.png             the whole object: grey above 127
visible_object_mask/ID_visible_mask.png  what is seen of it: grey above 127
or the same ID.png in all four
""",
        splits={"train": {}, "val": {}},
        default_split="train",
    )
    Options = Pix2GestaltOptions

    def __init__(self, location: Location, split: str, options: Pix2GestaltOptions) -> None:
        super().__init__(location, split, options)
        self._folders = {kind: location.root / kind for kind in ENDINGS}
        if location.images:
            self._folders[IMAGES] = location.images
        self._objects = find_objects(self.card, location.root, self._folders, location.cache)
        total = len(self._objects.ids)
        edge = math.floor(total / 100.0 * 99.0)  # in floating point, as pix2gestalt splits
        start, stop = (0, edge) if split == "train" else (edge, total)
        self._ids = [self.id_of(id, 0) for id in self._objects.ids[start:stop].to_pylist()]
        self.funnel.read = len(self._ids)
        most = options.max_instances
        if most is not None and most < len(self._ids):
            self.funnel.drop("outside the subset of max_instances", len(self._ids) - most)
            self._ids = [self._ids[index] for index in smallest(self._ids, most)]

    def ids(self) -> Sequence[str]:
        """By the names in occlusion/."""
        return self._ids

    def fingerprint(self) -> str:
        """Of the objects in use and the bytes of all that is read of them: images and both masks."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        ids = [parse_id(id).image for id in self._ids]
        entries: list[tuple[str, str]] = []
        for kind in (IMAGES, WHOLE, VISIBLE):
            folder = self._folders[kind]
            names = [self._objects.name(folder, kind, id) for id in ids]
            found = contents(folder, names, self.location.cache)
            entries += [(f"{kind}/{id}", digest) for id, (_, digest) in zip(ids, found, strict=True)]
        return manifest_digest(entries)

    def __getitem__(self, index: int) -> AmodalSample:
        id = self._ids[index]
        object = parse_id(id).image
        image = read_image(self._path(IMAGES, object))
        visible, amodal = (self._mask(self._path(kind, object), image.shape[:2]) for kind in (VISIBLE, WHOLE))
        if not (visible & amodal).any():
            raise BadRecord(f"{self._path(VISIBLE, object)}: {APART} ({self._path(WHOLE, object)})")
        return AmodalSample(AmodalQuery(id, object, image, visible), amodal)

    def _path(self, kind: str, id: str) -> Path:
        folder = self._folders[kind]
        return folder / self._objects.name(folder, kind, id)

    def _mask(self, path: Path, size: tuple[int, ...]) -> Mask:
        mask = read_mask(path, threshold=127)
        if mask.shape != size:
            raise BadRecord(
                f"{path} is {mask.shape[1]} x {mask.shape[0]}, its image in {IMAGES}/ is "
                f"{size[1]} x {size[0]} (width x height): they must be equal"
            )
        if not mask.any():
            raise BadRecord(f"{path}: mask is empty, nothing is above 127")
        return mask
