"""BSDS-A: amodal regions of BSDS500 photos, in depth order, by several annotators."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import pyarrow.compute as pc

from amodal_bench.formats.coco import check_images, find_file
from amodal_bench.formats.indexed import Bools, Indexed, InstanceOptions
from amodal_bench.formats.missing import missing
from amodal_bench.formats.records import Record
from amodal_bench.formats.regions import region_records
from amodal_bench.plugin import DatasetCard


class BsdsAOptions(InstanceOptions):
    """`annotator`: the first of each image in the order of the file, as the amodalAPI evaluates, or all.

    `include_stuff`: background regions are instances too, as in COCO-A.
    """

    annotator: Literal["first", "all"] = "first"
    include_stuff: bool = True


class BsdsA(Indexed[BsdsAOptions]):
    """Every region is an instance: `bsds_a/SPLIT/IMAGE_ID/ANNOTATOR.ORDER`, annotators of an image from 0."""

    card = DatasetCard(
        title="BSDS-A (Zhu et al., Semantic Amodal Segmentation, CVPR 2017)",
        paper="https://arxiv.org/abs/1509.01329",
        licence="annotations: see the amodalAPI project; photos: BSDS500, non-commercial research and education",
        get="annotations: the Google Drive folder linked from github.com/Wakeupbuddy/amodalAPI (archive of COCO-A); "
        "photos: BSDS500, Berkeley Computer Vision Group",
        tree="""
annotations/BSDS_amodal_train.json           (and val, test)
BSR/BSDS500/data/images/train/*.jpg          (and val, test; elsewhere: --image-root)
""",
        splits={"train": {"images": 200}, "val": {"images": 100}, "test": {"images": 200}},
        default_split="test",
    )
    Options = BsdsAOptions

    def annotation_files(self) -> Sequence[Path]:
        """The split's JSON file."""
        name = f"BSDS_amodal_{self.split}.json"
        path = find_file(self.location.root, ("annotations", ""), name)
        if path is None:
            raise missing(self.card, self.location.root, f"annotations/{name}", [name])
        check_images(self.card, self.location, self.image_folders(), f"BSR/BSDS500/data/images/{self.split}/")
        return [path]

    def image_folders(self) -> Sequence[Path]:
        """The split's folder of BSDS500; of --image-root also without the folders above it, or itself."""
        base, inside = self.location.images or self.location.root, Path("BSR/BSDS500/data/images") / self.split
        return [base / inside, base / self.split, base] if self.location.images else [base / inside]

    def records(self, files: Sequence[Path]) -> Iterator[Record]:
        """All regions of all annotators."""
        return region_records(files[0])

    def unwanted(self) -> Iterator[tuple[str, Bools]]:
        """Other annotators and stuff, where they were not wanted."""
        if self.options.annotator == "first":
            yield "another annotator", pc.invert(pc.starts_with(self._index["annotation"], "0.")).to_numpy()
        if not self.options.include_stuff:
            yield "stuff", self.flags("is_stuff")
