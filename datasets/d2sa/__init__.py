"""D2SA: amodal masks of groceries on a turntable (MVTec D2S amodal)."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from amodal_bench.formats.coco import (
    AnnotationMasks,
    CocoFile,
    VisibleAnnotation,
    annotations_by_image,
    categories_of,
    check_images,
    coco_records,
    find_file,
    read_coco,
)
from amodal_bench.formats.entries import size_of
from amodal_bench.formats.indexed import Indexed, InstanceOptions
from amodal_bench.formats.missing import missing
from amodal_bench.formats.records import Record
from amodal_bench.masks.framing import Facts, fits
from amodal_bench.plugin import DatasetCard

log = logging.getLogger(__name__)

FOLDERS = ("d2s_amodal_annotations_v1", "annotations", "")
NAMES = {
    "train": "D2S_amodal_training_rot0.json",
    "train_augmented": "D2S_amodal_augmented.json",
    "val": "D2S_amodal_validation.json",
}
MARGIN = 1 / 8  # readers of the release pad photos and masks at the right and the bottom to make them fit


class D2saOptions(InstanceOptions):
    """Which annotations are instances."""


def masks(annotation: VisibleAnnotation) -> AnnotationMasks:
    """In this dataset also what nothing hides has a visible mask."""
    return annotation.masks("no visible mask (visible_mask)")


class D2sa(Indexed[D2saOptions]):
    """`d2sa/SPLIT/IMAGE_ID/ANNOTATION_ID`. The masks' size is the frame: photos are cut or filled to it."""

    card = DatasetCard(
        title="D2SA (Follmann et al., Learning to See the Invisible, WACV 2019)",
        paper="https://arxiv.org/abs/1804.08864",
        licence="CC BY-NC-SA 4.0, as MVTec D2S: check what comes with your download",
        get="registration at mvtec.com/company/research/datasets/mvtec-d2s: the archives d2s_amodal_images_v1 and "
        "d2s_amodal_annotations_v1",
        tree="""
d2s_amodal_annotations_v1/D2S_amodal_training_rot0.json    (also in annotations/ or the root)
d2s_amodal_annotations_v1/D2S_amodal_augmented.json        split train_augmented
d2s_amodal_annotations_v1/D2S_amodal_validation.json
d2s_amodal_images_v1/images/*.jpg                          (or images/; elsewhere: --image-root)
""",
        # The three add up to the published 5,600 images and 28,720 instances. The test split has no public masks.
        splits={
            "train": {"images": 438, "annotations": 690},
            "train_augmented": {"images": 1562, "annotations": 12376},
            "val": {"images": 3600, "annotations": 15654},
        },
        default_split="val",
    )
    Options = D2saOptions
    margin = MARGIN

    def annotation_files(self) -> Sequence[Path]:
        """The split's JSON file."""
        path = find_file(self.location.root, FOLDERS, NAMES[self.split])
        if path is None:
            raise missing(self.card, self.location.root, f"{FOLDERS[0]}/{NAMES[self.split]}", [NAMES[self.split]])
        check_images(self.card, self.location, self.image_folders(), "d2s_amodal_images_v1/images/")
        return [path]

    def image_folders(self) -> Sequence[Path]:
        """As released, or --image-root itself."""
        base = self.location.images or self.location.root
        folders = [base / "d2s_amodal_images_v1" / "images", base / "images"]
        return [*folders, base] if self.location.images else folders

    def categories(self) -> Mapping[str, str]:
        """As the JSON file numbers them."""
        return categories_of(self._files)

    def records(self, files: Sequence[Path]) -> Iterator[Record]:
        """All annotations."""
        file = read_coco(files[0], VisibleAnnotation)
        _take_mask_sizes(file, files[0])
        return coco_records(files[0], file, masks)


def _take_mask_sizes(file: CocoFile[VisibleAnnotation], path: Path) -> None:
    """Have the images be as large as their run-length codes, where these are all of one other size within MARGIN."""
    differ, by_image = 0, annotations_by_image(file.annotations)
    for id, image in file.images.known.items():
        sizes = set()
        for annotation in by_image.get(id, ()):
            parts = (bytes(mask) for mask in (annotation.segmentation, annotation.visible_mask))
            sizes |= {size for size in map(size_of, parts) if size}
        if image.height is None or image.width is None:
            continue
        if len(sizes) != 1 or sizes == {(image.height, image.width)}:
            continue
        (size,) = sizes
        if fits(Facts(image.height, image.width, orientation=1, several=False), *size, MARGIN):
            image.height, image.width = size
            differ += 1
    if differ:
        log.warning(
            "%s: %d images have masks of another size than their entry says: that of the masks is taken", path, differ
        )
