"""What is wrong with the photos of an index: each file is looked at once, on all cores."""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pyarrow as pa

from amodal_bench.errors import BadRecord
from amodal_bench.formats.photos import Photos
from amodal_bench.masks.framing import Facts, fits, misfit
from amodal_bench.masks.images import examine, image_size, remarks
from amodal_bench.plugin import Fault

_AT_ONCE = 64  # photos in flight


class AnnotatedPhoto(NamedTuple):
    """A photo as an annotation names it."""

    file: str
    image: str
    height: int
    width: int


def photo_faults(photos: Photos, index: pa.Table, prefix: str, margin: float) -> Iterator[Fault]:
    """Photos that are missing, damaged or of another size, and what is odd about others; every one is decoded."""
    listed = list(_listed(index))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(listed), _AT_ONCE):
            part = listed[start : start + _AT_ONCE]
            for faults in pool.map(lambda photo: list(_faults_of(photos, photo, prefix, margin)), part):
                yield from faults


def framed_photos(photos: Photos, index: pa.Table, margin: float) -> int:
    """Instances whose photo is of another size than its annotation says, within the margin, by the headers."""
    framed = {photo.file for photo in _listed(index) if _differs(photos, photo, margin)}
    return sum(file in framed for file in index["file"].to_pylist()) if framed else 0


def _listed(index: pa.Table) -> Iterator[AnnotatedPhoto]:
    table = index.select(["file", "image", "height", "width"]).to_pydict()
    seen: set[str] = set()
    for photo in zip(*table.values(), strict=True):
        if photo[0] and photo[0] not in seen:
            seen.add(photo[0])
            yield AnnotatedPhoto(*photo)


def _differs(photos: Photos, photo: AnnotatedPhoto, margin: float) -> bool:
    try:
        size = image_size(photos.find(photo.file, ""))
    except BadRecord:  # told when it is read
        return False
    return size != (photo.height, photo.width) and fits(Facts(*size, 1, False), photo.height, photo.width, margin)


def _faults_of(photos: Photos, photo: AnnotatedPhoto, prefix: str, margin: float) -> Iterable[Fault]:
    id = f"{prefix}/{photo.image}"
    try:
        path = photos.find(photo.file, id)
        facts = examine(path)
    except BadRecord as error:
        yield Fault(id, "image is missing or unreadable", str(error))
        return
    for remark in remarks(facts):
        yield Fault(id, remark, f"{path}, EXIF orientation {facts.orientation}")
    if (facts.height, facts.width) == (photo.height, photo.width):
        return
    text = f"{facts.width} x {facts.height}, annotated as {photo.width} x {photo.height}"
    if fits(facts, photo.height, photo.width, margin):
        yield Fault(id, "image is cut or filled at the right and the bottom", text)
    else:
        yield Fault(id, "image is of another size", f"{text}: {misfit(facts, photo.height, photo.width)}")
