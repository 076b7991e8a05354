"""COCOA-cls: amodal objects of COCO 2014 photos with COCO's classes, one annotation an object."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from amodal_bench.errors import Refused
from amodal_bench.formats.c2f import AnnotationFile, ListedPickle
from amodal_bench.formats.coco import (
    AnnotationMasks,
    CocoFile,
    VisibleAnnotation,
    categories_of,
    check_images,
    coco_records,
    find_file,
    read_coco,
)
from amodal_bench.formats.coco_photos import name_of_2017, photo_folders
from amodal_bench.formats.indexed import Indexed, InstanceOptions
from amodal_bench.formats.missing import missing
from amodal_bench.formats.records import Record
from amodal_bench.plugin import DatasetCard

FOLDERS = ("annotations", "COCOA_annotations_detectron", "")
LACKING = "no visible mask (visible_mask), but an occlusion rate above 0"
C2F = {"train": "train", "val": "test"}  # C2F-Seg calls val2014 its test


class CocoaClsOptions(InstanceOptions):
    """`release`: with_classes has COCO's classes, no_stuff calls all an object, c2f are objects that detectors found.

    `visible`, for c2f only: the visible mask that a method is given. The metric keeps the true one.
    """

    release: Literal["with_classes", "no_stuff", "c2f"] = "with_classes"
    visible: Literal["gt", "predicted"] = "gt"


def masks(annotation: VisibleAnnotation) -> AnnotationMasks:
    """An object without `visible_mask` and `invisible_mask` is whole, unless its rate says otherwise."""
    return annotation.masks(LACKING if annotation.rate else None)


def read(path: Path) -> CocoFile[VisibleAnnotation]:
    """The JSON file; raises `DatasetNotReady`."""
    return read_coco(path, VisibleAnnotation)


class CocoaCls(Indexed[CocoaClsOptions]):
    """`cocoa_cls/SPLIT/IMAGE_ID/ANNOTATION_ID`; in c2f also `DETECTOR.OBJECT`."""

    card = DatasetCard(
        title="COCOA-cls (Follmann et al., Learning to See the Invisible, WACV 2019)",
        paper="https://arxiv.org/abs/1804.08864",
        licence="annotations: none stated (those of COCO-A with classes); photos: Flickr terms, as COCO 2014",
        get="annotations: COCOA_annotations_detectron.tar.xz (the first server is gone; COCO.zip of "
        "github.com/YihongSun/Bayesian-Amodal holds it) or COCOA.tar of github.com/amazon-science/c2f-seg; "
        "photos: COCO 2014 train, val and test (cocodataset.org)",
        tree="""
annotations/COCO_amodal_val2014_with_classes.json          (and train2014, test2014; also in
annotations/COCO_amodal_val2014_detectron_no_stuff.json     COCOA_annotations_detectron/ or the root)
fusion_train.pkl, c2f_seg_train_list.txt                   release c2f, train
fusion_test.pkl, c2f_seg_test_list.txt                     release c2f, val
val2014/COCO_val2014_%012d.jpg       (and train2014, test2014; also in images/; elsewhere: --image-root)
  or train2017/%012d.jpg, val2017/%012d.jpg                COCO 2017, for train and val
""",
        splits={"train": {"images": 2276}, "val": {"images": 1223}, "test": {}},
        default_split="val",
    )
    Options = CocoaClsOptions

    def annotation_files(self) -> Sequence[Path]:
        """One JSON file; of c2f pickle, list and, where it is there, the JSON file that lists may point to."""
        root, split, release = self.location.root, self.split, self.options.release
        if release != "c2f" and self.options.visible != "gt":
            raise Refused(
                f"COCOA-cls release {release} holds no predicted masks: visible=predicted goes with release=c2f"
            )
        if release == "c2f" and split not in C2F:
            raise Refused(f"COCOA-cls release c2f has the splits {' and '.join(C2F)}, asked for was {split}")
        official = f"COCO_amodal_{split}2014_{'detectron_no_stuff' if release == 'no_stuff' else 'with_classes'}.json"
        names = (f"fusion_{C2F[split]}.pkl", f"c2f_seg_{C2F[split]}_list.txt") if release == "c2f" else (official,)
        files = {name: find_file(root, FOLDERS, name) for name in names}
        absent = [name for name, path in files.items() if path is None]
        if absent:
            raise missing(self.card, root, f"{' and '.join(absent)} (dataset.release={release})", absent)
        check_images(self.card, self.location, self.image_folders(), f"{split}2014/")
        files[official] = find_file(root, FOLDERS, official)
        return [path for path in files.values() if path]

    def image_folders(self) -> Sequence[Path]:
        """Those of COCO 2014 or 2017."""
        return photo_folders(self.location, self.split)

    def renamed(self, name: str) -> str:
        """In COCO 2017."""
        return name_of_2017(name)

    def variant(self) -> str:
        """Whether predicted masks are given."""
        return "-predicted" if self.options.visible == "predicted" else ""

    def categories(self) -> Mapping[str, str]:
        """As the JSON file numbers them."""
        return categories_of(self._files)

    def records(self, files: Sequence[Path]) -> Iterator[Record]:
        """All objects of the file or list."""
        if self.options.release != "c2f":
            return coco_records(files[0], read(files[0]), masks)
        pickle, listing, *official = files
        truth = AnnotationFile(listing, official, read, masks)
        file_of = f"COCO_{self.split}2014_{{:012d}}.jpg".format
        return ListedPickle(pickle, listing, self.options.visible == "predicted", file_of, truth.record).records()
