"""MP3D-Amodal: occluded objects in Matterport3D views, with amodal masks from the 3D scans."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from amodal_bench.errors import DatasetNotReady
from amodal_bench.plugin import DatasetCard

from ._coco_like import Side, check_images, find_file
from ._indexed import Indexed, InstanceOptions
from ._location import missing
from ._plain import read_pickle, text
from ._records import Record, repeated

AGAIN = "Get the official file again."


class View(Struct):
    """One photo."""

    id: int | str
    file_name: str
    height: Side
    width: Side


class Region(Struct):
    """One object. The released files call the rate `occlusion_rate`; COCO-A's name for it is read too."""

    segmentation: Any  # an RLE, never a polygon: the whole object
    visible_mask: Any  # always there: every object is occluded
    category_id: int | None = None
    isStuff: int | None = None  # the format's own key
    occlusion_rate: float | None = None
    occlude_rate: float | None = None

    @property
    def rate(self) -> float | None:
        """The declared occlusion rate under either name."""
        return self.occlude_rate if self.occlusion_rate is None else self.occlusion_rate


class Regions(Struct):
    """The objects of the image at the same place in `images`."""

    regions: list[Region]
    image_id: int | str | None = None


class Mp3dFile(Struct):
    """The whole pickle: two lists that belong together place by place."""

    images: list[View]
    annotations: list[Regions]


class Mp3d(Indexed[InstanceOptions]):
    """Ids are `mp3d/SPLIT/IMAGE_ID/REGION`, with regions counted from 0 in the order of the file."""

    name = "mp3d"
    card = DatasetCard(
        title="MP3D-Amodal (Zhan et al., Amodal Ground Truth and Completion in the Wild, CVPR 2024)",
        paper="https://arxiv.org/abs/2312.17247",
        licence="Matterport3D terms of use",
        get="the links in the README of github.com/Championchess/Amodal-Completion-in-the-Wild: "
        "mp3d_eval.zip, mp3d_train.zip (unpack both) and the two pickles, whose name is spelled like that",
        tree="""
MP3D_seleted_eval_10.29.pkl   (and MP3D_seleted_train_10.29.pkl; also in annotations/)
mp3d_eval/                    the images of mp3d_eval.zip (and mp3d_train/; elsewhere: --image-root)
""",
        splits={"train": {}, "eval": {}},
        default_split="eval",
    )
    Options = InstanceOptions
    checks_masks = True

    def annotation_files(self) -> Sequence[Path]:
        """The split's pickle."""
        name = f"MP3D_seleted_{self.split}_10.29.pkl"
        path = find_file(self.location.root, ("", "annotations"), name)
        if path is None:
            raise missing(self.card, self.location.root, name, [name])
        check_images(self.card, self.location, self.image_folders()[:1], f"mp3d_{self.split}/")
        return [path]

    def image_folders(self) -> Sequence[Path]:
        """The unpacked archive; --image-root may hold it or be it."""
        own = f"mp3d_{self.split}"
        base = self.location.images or self.location.root
        if self.location.images and not (base / own).is_dir():
            return [base]
        return [base / own, base]

    def records(self, files: Sequence[Path]) -> Iterator[Record]:
        """All regions."""
        path = files[0]
        file = read_pickle(path, Mp3dFile)
        _check_pairs(path, file)
        for place, (view, annotation) in enumerate(zip(file.images, file.annotations, strict=True)):
            for number, region in enumerate(annotation.regions):
                yield _record(path, place, view, number, region)


def _check_pairs(path: Path, file: Mp3dFile) -> None:
    """Raise `DatasetNotReady` where pairing by place would give masks to the wrong images."""
    if len(file.images) != len(file.annotations):
        raise DatasetNotReady(
            f"{path}: {len(file.images)} images and {len(file.annotations)} annotations: the lists belong "
            f"together place by place, so they must be of one length. {AGAIN}"
        )
    twice = repeated([str(view.id) for view in file.images])
    if twice:
        raise DatasetNotReady(f"{path}: {len(twice)} image ids stand for several images, the first is {min(twice)}")
    for place, (view, annotation) in enumerate(zip(file.images, file.annotations, strict=True)):
        if annotation.image_id is not None and str(annotation.image_id) != str(view.id):
            raise DatasetNotReady(
                f"{path}: annotations[{place}] is of image {annotation.image_id}, but images[{place}] has the id "
                f"{view.id}: the lists are out of step. {AGAIN}"
            )


def _record(path: Path, place: int, view: View, number: int, region: Region) -> Record:
    for key, mask in (("segmentation", region.segmentation), ("visible_mask", region.visible_mask)):
        size = mask.get("size") if isinstance(mask, dict) else None
        if size != [view.height, view.width]:
            raise DatasetNotReady(
                f"{path}: $.annotations[{place}].regions[{number}].{key} must be an RLE of size "
                f"{[view.height, view.width]} (height, width), as images[{place}] states, got size {size}. "
                f"Perhaps images and annotations are out of step. {AGAIN}"
            )
    return Record(
        image=str(view.id),
        annotation=str(number),
        file=view.file_name,
        where=f"{path.name}: image {view.id}, region {number}",
        height=view.height,
        width=view.width,
        amodal=text(region.segmentation),
        visible=text(region.visible_mask),
        category=None if region.category_id is None else str(region.category_id),
        is_stuff=None if region.isStuff is None else bool(region.isStuff),
        declared_rate=region.rate,
    )
