"""KINS annotations: the keys of its releases, and the objects that the lists of C2F-Seg name."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from msgspec import Raw

from amodal_bench.errors import DatasetNotReady
from amodal_bench.formats.c2f import AnnotationFile, ListedPickle, Reference
from amodal_bench.formats.coco import Annotation, AnnotationMasks, CocoFile, ImagesOnly, masks_of, read_coco
from amodal_bench.formats.entries import images_by_id
from amodal_bench.formats.json_files import read_json
from amodal_bench.formats.records import Record

CATEGORIES = {1: "cyclist", 2: "pedestrian", 3: "rider", 4: "car", 5: "tram", 6: "truck", 7: "van", 8: "misc"}


class KinsAnnotation(Annotation, gc=False, kw_only=True):
    """One object: `segmentation` and `inmodal_seg` in v1, `a_segm` and `i_segm` since 2020."""

    segmentation: Raw = Raw()
    inmodal_seg: Raw = Raw()
    a_segm: Raw = Raw()
    i_segm: Raw = Raw()

    @property
    def release(self) -> str:
        """By its keys: v1, 2020, both or neither."""
        if len(self.a_segm) or len(self.i_segm):
            return "both" if len(self.inmodal_seg) else "2020"
        return "v1" if len(self.inmodal_seg) else "neither"

    def masks(self) -> AnnotationMasks:
        """Of a release that has been checked."""
        if self.release == "2020":
            return masks_of(self.a_segm, self.i_segm, "no visible mask (i_segm)")
        return masks_of(self.segmentation, self.inmodal_seg, "no visible mask (inmodal_seg)")


def check_release(path: Path, annotations: Sequence[KinsAnnotation], asked: str | None) -> None:
    """Raise `DatasetNotReady` unless all annotations are of one release, the one asked for if any."""
    seen: dict[str, KinsAnnotation] = {}
    for annotation in annotations:
        seen.setdefault(annotation.release, annotation)
    kinds = seen.keys() - {"neither"}
    keys = "v1 has segmentation and inmodal_seg, 2020 has a_segm and i_segm"
    if len(kinds) > 1 or "both" in kinds:
        examples = ", ".join(f"annotation {seen[kind].id} has the keys of {kind}" for kind in sorted(kinds))
        raise DatasetNotReady(f"{path} mixes releases of KINS: {examples} ({keys}). Each needs a file of its own.")
    if annotations and not kinds:
        raise DatasetNotReady(f"{path}: no annotation has the keys of a release of KINS ({keys})")
    if asked and kinds and kinds != {asked}:
        raise DatasetNotReady(f"{path} is of release {', '.join(kinds)} by its keys, asked for was {asked} ({keys})")


def read_kins(path: Path, asked: str | None = None) -> CocoFile[KinsAnnotation]:
    """A file of one release, with the paper's category names where it has none; raises `DatasetNotReady`."""
    file = read_coco(path, KinsAnnotation)
    check_release(path, file.annotations, asked)
    for id, name in CATEGORIES.items():
        file.categories.setdefault(str(id), name)
    return file


def c2f_records(files: Sequence[Path], predicted: bool) -> Iterator[Record]:
    """From pickle, list, JSON file of the images and, where it is there, the 2020 file that lists may point to."""
    pickle, listing, images, *official = files
    known = images_by_id(read_json(images, ImagesOnly).images).known
    names = {id: image.file_name for id, image in known.items()}
    truth = AnnotationFile(listing, official, lambda path: read_kins(path, "2020"), KinsAnnotation.masks)

    def annotation(reference: Reference, where: str) -> Record:
        record = truth.record(reference, where)
        same = names.get(record.image, record.file) == record.file
        # Two files number the images: what a method keeps for an image must not serve another one.
        return record if same else replace(record, image=f"2020.{record.image}")

    return ListedPickle(pickle, listing, predicted, lambda image: names.get(str(image)), annotation).records()
