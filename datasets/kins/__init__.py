"""KINS: amodal masks of traffic participants in KITTI photos, in three releases."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator

from amodal_bench.errors import Refused
from amodal_bench.formats.coco import categories_of, check_images, coco_records, find_file
from amodal_bench.formats.indexed import Indexed, InstanceOptions
from amodal_bench.formats.missing import missing
from amodal_bench.formats.records import Record
from amodal_bench.plugin import DatasetCard

from .annotations import KinsAnnotation, c2f_records, read_kins

RELEASES = ("v1", "2020", "c2f")
FOLDERS = ("", "annotations")
NAMES: dict[str, dict[str, tuple[str, ...]]] = {
    "v1": {"train": ("instances_train.json",), "test": ("instances_val.json",)},
    "2020": {"train": ("update_train_2020.json",), "test": ("update_test_2020.json",)},
    "c2f": {  # pickle, list, JSON file of the images; "upate" is the release's own spelling
        "train": ("fusion_train.pkl", "c2f_seg_train_list.txt", "instances_train.json"),
        "test": ("kins_intersection.pkl", "kins_intersection_list.txt", "instances_val_upate.json"),
    },
}
FUSION_TEST = ("fusion_test.pkl", "c2f_seg_test_list.txt", "instances_val_upate.json")


def _spelled(value: object) -> object:
    """A year on the command line is a number."""
    return str(value) if isinstance(value, int) else value


class KinsOptions(InstanceOptions):
    """`release`: auto takes the one that is there, and refuses where there are several.

    For c2f only: `objects` are those that both detectors found (the published evaluation; test only) or those of
    the fusion list; `visible`: the visible mask that a method is given. The metric keeps the true one.
    """

    release: Annotated[Literal["auto", "v1", "2020", "c2f"], BeforeValidator(_spelled)] = "auto"
    objects: Literal["intersection", "fusion"] = "intersection"
    visible: Literal["gt", "predicted"] = "gt"


class Kins(Indexed[KinsOptions]):
    """`kins/SPLIT/IMAGE_ID/ANNOTATION_ID`; in c2f also `DETECTOR.OBJECT`. An image id is not the number of its file."""

    card = DatasetCard(
        title="KINS (Qi et al., Amodal Instance Segmentation with KINS Dataset, CVPR 2019)",
        paper="https://openaccess.thecvf.com/content_CVPR_2019/html/"
        "Qi_Amodal_Instance_Segmentation_With_KINS_Dataset_CVPR_2019_paper.html",
        licence="annotations: none stated; photos: KITTI, CC BY-NC-SA 3.0",
        get="annotations: github.com/qqlu/Amodal-Instance-Segmentation-through-KINS-Dataset (2020: the Google Drive "
        "folder linked there; v1: in its history), or KINS.tar of github.com/amazon-science/c2f-seg; "
        "photos: KITTI 2D object detection, left color images (cvlibs.net/datasets/kitti)",
        tree="""
update_train_2020.json   update_test_2020.json             release 2020 (these two and v1: also in annotations/)
instances_train.json     instances_val.json                release v1
fusion_train.pkl         kins_intersection.pkl             release c2f
c2f_seg_train_list.txt   kins_intersection_list.txt
instances_train.json     instances_val_upate.json
training/image_2/%06d.png, testing/image_2/%06d.png        photos (elsewhere: --image-root)
""",
        splits={"train": {"images": 7474}, "test": {"images": 7517}},
        default_split="test",
    )
    Options = KinsOptions

    @cached_property
    def release(self) -> str:
        """The one asked for, or the only one there."""
        asked, root = self.options.release, self.location.root
        there = [release for release in RELEASES if find_file(root, FOLDERS, self._names(release)[0])]
        if asked == "auto" and len(there) > 1:
            raise Refused(
                f"{root} holds the KINS releases {', '.join(there)} of {self.split}, which are not the same objects. "
                f"Choose one, for instance --set dataset.release={there[0]}"
            )
        release = asked if asked != "auto" else (there or ["2020"])[0]
        if release != "c2f" and (self.options.visible, self.options.objects) != ("gt", "intersection"):
            raise Refused(
                f"KINS release {release} holds neither predicted masks nor lists of objects: the options "
                f"visible={self.options.visible} and objects={self.options.objects} go with release=c2f"
            )
        return release

    def _names(self, release: str) -> tuple[str, ...]:
        fusion = release == "c2f" and self.split == "test" and self.options.objects == "fusion"
        return FUSION_TEST if fusion else NAMES[release][self.split]

    def annotation_files(self) -> Sequence[Path]:
        """One JSON file; of c2f pickle, list, images and, where it is there, the 2020 file that lists may point to."""
        root, release = self.location.root, self.release
        files = {name: find_file(root, FOLDERS, name) for name in self._names(release)}
        absent = [name for name, path in files.items() if path is None]
        if absent:
            raise missing(self.card, root, " and ".join(absent), absent)
        check_images(self.card, self.location, self.image_folders(), f"{self.split}ing/image_2/")
        if release == "c2f" and self._names(release)[0].startswith("fusion"):
            (truth,) = NAMES["2020"][self.split]
            files[truth] = find_file(root, FOLDERS, truth)
        return [path for path in files.values() if path]

    def image_folders(self) -> Sequence[Path]:
        """As KITTI has them, under the root or --image-root, or --image-root itself."""
        base = self.location.images or self.location.root
        folder = base / f"{self.split}ing" / "image_2"
        return [folder, base] if self.location.images else [folder]

    def variant(self) -> str:
        """The release that was asked for, so that its file is checked, and whether predicted masks are given."""
        asked = "" if self.options.release == "auto" else f"-{self.options.release}"
        return f"{asked}-predicted" if self.options.visible == "predicted" else asked

    def categories(self) -> Mapping[str, str]:
        """As the JSON file numbers them."""
        return categories_of(self._files)

    def records(self, files: Sequence[Path]) -> Iterator[Record]:
        """All objects of the file or list."""
        if self.release == "c2f":
            return c2f_records(files, self.options.visible == "predicted")
        asked = None if self.options.release == "auto" else self.release
        return coco_records(files[0], read_kins(files[0], asked), KinsAnnotation.masks)
