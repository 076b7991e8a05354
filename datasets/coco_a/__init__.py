"""COCO-A: amodal regions of COCO 2014 photos, in depth order."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from amodal_bench.formats.coco import check_images, find_file
from amodal_bench.formats.coco_photos import name_of_2017, photo_folders
from amodal_bench.formats.indexed import Bools, Indexed, InstanceOptions
from amodal_bench.formats.missing import missing
from amodal_bench.formats.records import Record
from amodal_bench.formats.regions import region_records
from amodal_bench.plugin import DatasetCard

FOLDERS = ("annotations", "amodal_annotations", "")


class CocoAOptions(InstanceOptions):
    """`include_stuff`: background regions (walls, tables) are instances too, as in most published evaluations."""

    include_stuff: bool = True


class CocoA(Indexed[CocoAOptions]):
    """Every region of every image is an instance: `coco_a/SPLIT/IMAGE_ID/ANNOTATOR.ORDER`."""

    card = DatasetCard(
        title="COCO-A (Zhu et al., Semantic Amodal Segmentation, CVPR 2017)",
        paper="https://arxiv.org/abs/1509.01329",
        licence="annotations: see the amodalAPI project; photos: Flickr terms, as COCO 2014",
        get="annotations: the Google Drive folder linked from github.com/Wakeupbuddy/amodalAPI; "
        "photos: COCO 2014 train, val and test (cocodataset.org)",
        tree="""
annotations/COCO_amodal_train2014.json   (and val2014, test2014; also in amodal_annotations/ or the root; or .json.gz)
train2014/COCO_train2014_%012d.jpg       (and val2014, test2014; also in images/; elsewhere: --image-root)
  or train2017/%012d.jpg, val2017/%012d.jpg: COCO 2017, for train and val
""",
        splits={
            "train": {"images": 2500, "annotations": 22163},
            "val": {"images": 1323, "annotations": 12753},
            "test": {"images": 1250},
        },
        default_split="val",
        releases={
            "c46aaf2b": "COCO_amodal_train2014.json as released",
            "d5373603": "COCO_amodal_val2014.json as released",
            "0d064856": "COCO_amodal_test2014.json as released",
        },
    )
    Options = CocoAOptions

    def annotation_files(self) -> Sequence[Path]:
        """The split's JSON file."""
        name = f"COCO_amodal_{self.split}2014.json"
        path = find_file(self.location.root, FOLDERS, name)
        if path is None:
            raise missing(self.card, self.location.root, f"annotations/{name}", [name])
        check_images(self.card, self.location, self.image_folders(), f"{self.split}2014/")
        return [path]

    def image_folders(self) -> Sequence[Path]:
        """Those of COCO 2014 or 2017."""
        return photo_folders(self.location, self.split)

    def renamed(self, name: str) -> str:
        """In COCO 2017."""
        return name_of_2017(name)

    def records(self, files: Sequence[Path]) -> Iterator[Record]:
        """All regions."""
        return region_records(files[0])

    def unwanted(self) -> Iterator[tuple[str, Bools]]:
        """Stuff, if it was not wanted."""
        if not self.options.include_stuff:
            yield "stuff", self.flags("is_stuff")
