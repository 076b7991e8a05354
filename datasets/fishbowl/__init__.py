"""FishBowl (Tangemann et al.): fish in a rendered aquarium; every frame of a clip on its own.

The visible masks come from the render of the whole clip, the amodal ones from a render of each fish alone.
"""

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from amodal_bench.errors import BadRecord, DatasetNotReady
from amodal_bench.formats.areas import APART
from amodal_bench.formats.subset import smallest
from amodal_bench.masks import rle
from amodal_bench.metrics.protocol import Range
from amodal_bench.plugin import Dataset, DatasetCard, Location, Settings
from amodal_bench.types import AmodalQuery, AmodalSample, parse_id

from .index import Ids, Rows, read_index
from .layouts import find_layout
from .savos import SavosPickle

CARD = DatasetCard(
    title="FishBowl (Tangemann et al. 2023)",
    paper="Tangemann et al., Unsupervised Object Learning via Common Fate, CLeaR 2023 (arXiv 2110.06562)",
    licence="generator Apache-2.0, WebGL aquarium BSD-3-Clause; none stated for the packed files of SaVos",
    get=(
        "render it with https://github.com/amazon-science/common-fate-fishbowl, or take "
        "FISHBOWL_test_data.zip by the link in "
        "https://github.com/amazon-science/self-supervised-amodal-video-object-segmentation"
    ),
    tree="""
[<split>/]<clip>/objects.json                      visible masks of all fish
[<split>/]<clip>/video.mp4 or frames/00000.png ...
[<split>/]<clip>_object<fish id>/objects.json      each fish alone, before post-processing
  or <clip>/object<NNN>/objects.json               the same, after post-processing
or, as SaVos and C2F-Seg pack it:
<split>_data/<split>_data.pkl
<split>_data/<split>_frames/<clip>/00000.png ...
""",
    splits={"train": {}, "val": {}, "test": {"groups": 1000, "images": 128000}},
    default_split="test",
)


class FishBowlOptions(Settings):
    """Which object-frames take part. The tuning-free paper's 128,000 frames hold some millions of them.

    `rates` is an interval of SaVos' rate 1 - |visible| / |amodal|; its list test_subtest.csv is of `(0.1, 0.7)`.
    `max_instances` keeps a subset that is the same wherever the files are the same.
    """

    frame_stride: int = Field(default=1, ge=1)
    max_instances: int | None = Field(default=None, ge=1)
    rates: Range | None = None


class FishBowl(Dataset[FishBowlOptions]):
    """Ids are `fishbowl/SPLIT/CLIP:FRAME/FISH`; the group is the clip."""

    card = CARD
    Options = FishBowlOptions

    def __init__(self, location: Location, split: str, options: FishBowlOptions) -> None:
        super().__init__(location, split, options)
        self._layout = find_layout(CARD, location, split)
        self._fingerprint = self._layout.fingerprint()
        path = location.cache / "index" / f"fishbowl-{self._fingerprint}.arrow"
        try:
            self._index = read_index(self._layout, path, self._fingerprint)
        except BadRecord as error:
            raise DatasetNotReady(f"{CARD.title}: {error}") from error
        self._ids = Ids(self.id_of, self._index, self._choose())

    def ids(self) -> Sequence[str]:
        """By clip, frame and fish; spelled when asked for, as there may be millions."""
        return self._ids

    def group(self, id: str) -> str:
        """The clip: its frames show the same fish."""
        return parse_id(id).image.rpartition(":")[0]

    def fingerprint(self) -> str:
        """Of the names and bytes of all objects.json, or of the pickle's bytes."""
        return self._fingerprint

    def __getitem__(self, index: int) -> AmodalSample:
        id = self._ids[index]
        parts = parse_id(id)
        clip, _, number = parts.image.rpartition(":")
        frame = int(number)
        fish = self._layout.one(clip, parts.annotation)
        visible = fish.code(fish.visible, frame)
        amodal = fish.code(fish.amodal, frame) if fish.amodal else None
        if visible is None or amodal is None:
            raise BadRecord(f"{id}: its masks are no longer in {fish.visible.file}")
        image = self._layout.image(clip, frame)
        if image.shape[:2] != fish.size():
            raise BadRecord(f"{id}: the frame is {image.shape[:2]}, its masks are {fish.size()} (height, width)")
        query = AmodalQuery(id, parts.image, image, rle.decode(visible), fish.category)
        return AmodalSample(query, rle.decode(amodal), is_stuff=False, declared_rate=fish.rates.get(frame))

    def _choose(self) -> Rows:
        """The rows that take part; fills the funnel, each row under the first reason that applies."""
        index, options = self._index, self.options
        rates = 1 - index.visible / np.maximum(index.amodal, 1)
        inside = options.rates.contains(rates) if options.rates else np.ones(len(rates), dtype=np.bool_)
        reasons = {
            "frame skipped by frame_stride": index.frame % options.frame_stride != 0,
            "malformed mask": index.malformed,
            "no render of the fish alone": index.amodal < 0,
            "not in the frame": (index.amodal == 0) & (index.visible == 0),
            "visible pixels but no amodal one": index.amodal == 0,
            "no visible pixel": index.visible == 0,
            APART: index.outside == index.visible,
            f"occlusion rate outside {options.rates}": ~inside,
        }
        self.funnel.read = len(rates)
        left = np.ones(len(rates), dtype=np.bool_)
        for reason, holds in reasons.items():
            self.funnel.drop(reason, int((left & holds).sum()))
            left &= ~holds
        rows = self._subset(np.flatnonzero(left))
        self.funnel.note("visible mask sticks out of the amodal mask", int((index.outside[rows] > 0).sum()))
        if isinstance(self._layout, SavosPickle):
            self.funnel.note("visible mask from a tracker (SaVos), not from the render", len(rows))
        return rows

    def _subset(self, rows: Rows) -> Rows:
        most = self.options.max_instances
        if most is None or most >= len(rows):
            return rows
        self.funnel.drop("outside the subset of max_instances", len(rows) - most)
        return rows[smallest(Ids(self.id_of, self._index, rows), most)]
