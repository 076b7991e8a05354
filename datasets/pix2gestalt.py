"""The training set of pix2gestalt: objects of SA-1B, each pasted over by another one.

Masks are not looked at on opening: there are some 837,000 pairs. An empty or unreadable one is a `BadRecord` when
it is asked for, which a run records as an error row and training passes over.
"""

import math
import os
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from amodal_bench.cache import manifest_digest
from amodal_bench.errors import BadRecord, DatasetNotReady
from amodal_bench.images import read_image, read_mask
from amodal_bench.plugin import Dataset, DatasetCard, Location, Settings
from amodal_bench.types import AmodalQuery, AmodalSample, Mask, parse_id

from ._location import missing, some
from ._subset import smallest

IMAGES, WHOLE, VISIBLE = "occlusion", "whole_mask", "visible_object_mask"
KINDS = (IMAGES, "whole", WHOLE, VISIBLE)
SUFFIX = ".png"
MOST_NAMES = 5


class Pix2GestaltOptions(Settings):
    """`max_instances`: a subset that is the same wherever the files are the same."""

    max_instances: int | None = Field(default=None, ge=1)


class Pix2Gestalt(Dataset[Pix2GestaltOptions]):
    """Ids are `pix2gestalt/SPLIT/NAME/0`; train is the first 99 % of the sorted names, val the rest."""

    card = DatasetCard(
        title="pix2gestalt training set (Ozguroglu et al., CVPR 2024)",
        paper="https://arxiv.org/abs/2401.14398",
        licence="research only, with the terms of SA-1B; code and weights of pix2gestalt CC BY-NC 4.0",
        get="pix2gestalt_occlusions_release.tar.gz from gestalt.cs.columbia.edu, by the link in the README of "
        "github.com/cvlab-columbia/pix2gestalt",
        tree="""
occlusion/NAME.png             the image in which something hides the object
whole/NAME.png                 the object before that (only its name is read)
whole_mask/NAME.png            the whole object: grey above 127
visible_object_mask/NAME.png   what is seen of it: grey above 127
""",
        splits={"train": {}, "val": {}},
        default_split="train",
    )
    Options = Pix2GestaltOptions

    def __init__(self, location: Location, split: str, options: Pix2GestaltOptions) -> None:
        super().__init__(location, split, options)
        self._images = location.images or location.root / IMAGES
        folders = {kind: self._images if kind == IMAGES else location.root / kind for kind in KINDS}
        names = self._common_names(folders)
        self._fingerprint = _digest(folders[WHOLE], names)
        edge = math.floor(len(names) / 100.0 * 99.0)  # in floating point, as pix2gestalt splits
        own = names[:edge] if split == "train" else names[edge:]
        self._ids = [f"pix2gestalt/{split}/{name.removesuffix(SUFFIX)}/0" for name in own]
        self.funnel.read = len(self._ids)
        most = options.max_instances
        if most is not None and most < len(self._ids):
            self.funnel.drop("outside the subset of max_instances", len(self._ids) - most)
            self._ids = [self._ids[place] for place in smallest(self._ids, most)]

    def ids(self) -> Sequence[str]:
        """By name."""
        return self._ids

    def fingerprint(self) -> str:
        """Of the names that the four folders share and the sizes of the whole masks; the same for both splits."""
        return self._fingerprint

    def __getitem__(self, index: int) -> AmodalSample:
        id = self._ids[index]
        stem = parse_id(id).image
        image = read_image(self._images / (stem + SUFFIX))
        visible, amodal = (self._mask(kind, stem, image.shape[:2]) for kind in (VISIBLE, WHOLE))
        return AmodalSample(AmodalQuery(id, stem, image, visible), amodal)

    def _mask(self, kind: str, stem: str, size: tuple[int, ...]) -> Mask:
        path = self.location.root / kind / (stem + SUFFIX)
        mask = read_mask(path, threshold=127)
        if mask.shape != size:
            raise BadRecord(
                f"{path} is {mask.shape[1]} x {mask.shape[0]}, its image in {IMAGES}/ is "
                f"{size[1]} x {size[0]} (width x height): they must be equal"
            )
        if not mask.any():
            raise BadRecord(f"{path}: mask is empty, nothing is above 127")
        return mask

    def _common_names(self, folders: dict[str, Path]) -> list[str]:
        """The sorted names, of which the four folders must hold the same: pairing by place would misalign masks."""
        found: dict[str, set[str]] = {}
        for kind, folder in folders.items():
            if not folder.is_dir():
                raise missing(self.card, self.location.root, f"the folder {kind}/")
            found[kind] = {entry.name for entry in os.scandir(folder) if entry.name.endswith(SUFFIX)}
        every = set().union(*found.values())
        if not every:
            raise missing(self.card, self.location.root, f"a file *{SUFFIX} in {IMAGES}/")
        lacking = {kind: sorted(every - names) for kind, names in found.items() if len(names) < len(every)}
        if lacking:
            told = "; ".join(f"{kind}/ lacks {len(n)}: {some(n, MOST_NAMES)}" for kind, n in lacking.items())
            counts = ", ".join(f"{len(names)} in {kind}/" for kind, names in found.items())
            raise DatasetNotReady(
                f"{self.location.root}: the folders must hold files of the same names, but there are {counts}; "
                f"{told}. Unpack the archive again, or remove the names that are not in all of them."
            )
        return sorted(every)


def _digest(folder: Path, names: Sequence[str]) -> str:
    sizes = {entry.name: entry.stat().st_size for entry in os.scandir(folder)}
    return manifest_digest((f"{WHOLE}/{name}", str(sizes[name])) for name in names)
