"""The scene folders of the BOP benchmark: two masks an object and image, of the whole silhouette and of what is seen.

    SCENE/rgb/000003.png               or gray/; also .jpg and .tif
    SCENE/mask/000003_000001.png       image 3, object 1 in the list of that image: the whole silhouette
    SCENE/mask_visib/000003_000001.png what is seen of it
    SCENE/scene_gt.json                {"3": [{"obj_id": 5, ...}, ...]}
    SCENE/scene_gt_info.json           {"3": [{"px_count_all": ..., "px_count_visib": ..., "visib_fract": ...}, ...]}

    python -m amodal_bench.datasets.bop.scenes OUT.parquet TARGETS SCENE ...

reads some scenes; TARGETS is a file, or empty.
"""

import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Meta, Struct

from amodal_bench.errors import BadRecord, DatasetNotReady
from amodal_bench.formats.codes import mask_text
from amodal_bench.formats.json_files import read_json, whole
from amodal_bench.formats.records import MALFORMED, NO_FORMAT, Record, to_index, unreadable
from amodal_bench.formats.scenes import scenes_index
from amodal_bench.masks.images import read_mask
from amodal_bench.text import streams
from amodal_bench.types import Mask

GT, INFO, WHOLE, VISIBLE = "scene_gt.json", "scene_gt_info.json", "mask", "mask_visib"
PHOTOS = ("rgb", "gray")
NOT_ASKED = "not among the targets"


Count = Annotated[int, Meta(ge=0, le=2**53)]  # pixels; more is no count, and no number of 64 bits in the end


class ObjectPose(Struct):
    """One object of an image; its pose is not read."""

    obj_id: int


class Info(Struct):
    """What BOP's toolkit counted; `bbox_obj` and `px_count_all` are of the whole silhouette, beyond the frame too."""

    px_count_all: Count
    px_count_visib: Count
    visib_fract: float
    bbox_obj: tuple[float, float, float, float]

    def leaves(self, height: int, width: int) -> bool:
        """Whether the silhouette reaches beyond the frame, where its mask ends."""
        x, y, w, h = self.bbox_obj
        return x < 0 or y < 0 or x + w > width or y + h > height

    def hidden_rate(self, height: int, width: int) -> float | None:
        """Share of the silhouette that is hidden; None where the count is of another silhouette than the mask."""
        return None if self.leaves(height, width) or not self.px_count_all else 1 - self.visib_fract


class Target(Struct):
    """So many instances of an object in an image that the benchmark asks for."""

    scene_id: int
    im_id: int
    obj_id: int
    inst_count: int = 1


Targets = Mapping[tuple[int, int], Mapping[int, int]]  # (scene, image) -> object -> how many


def find_scenes(folder: Path) -> list[Path]:
    """The scenes of a split, by number."""
    found = [path for path in folder.iterdir() if path.name.isdecimal() and (path / GT).is_file()]
    return sorted(found, key=lambda path: int(path.name))


def read_targets(path: Path) -> Targets:
    """What a file of targets asks for; raises `DatasetNotReady`."""
    asked: dict[tuple[int, int], dict[int, int]] = defaultdict(dict)
    for target in read_json(path, list[Target]):
        asked[target.scene_id, target.im_id][target.obj_id] = target.inst_count
    return asked


def read_info(scene: Path) -> dict[str, list[Info]]:
    """The counts of a scene by image; empty where there is no such file."""
    path = scene / INFO
    return read_json(path, dict[str, list[Info]]) if path.is_file() else {}


def bop_index(scenes: Sequence[Path], targets: Path | None) -> pa.Table:
    """The table of `INDEX` for some scenes, on all cores where they are large: every mask is decoded once."""
    sizes = {scene: 2 * sum(1 for _ in (scene / WHOLE).iterdir()) for scene in scenes}
    asked = "" if targets is None else str(targets)
    return scenes_index(sizes, __name__, [asked], lambda some: _index(some, targets))


def _index(scenes: Sequence[Path], targets: Path | None) -> pa.Table:
    return to_index(bop_records(scenes, targets))


def bop_records(scenes: Sequence[Path], targets: Path | None) -> Iterator[Record]:
    """Every object of some scenes, or of the images that a file of targets names."""
    asked = None if targets is None else read_targets(targets)
    for scene in scenes:
        yield from _scene_records(scene, asked)


def _scene_records(scene: Path, targets: Targets | None) -> Iterator[Record]:
    poses = read_json(scene / GT, dict[str, list[ObjectPose]])
    infos = read_info(scene)
    photos = _photos(scene)
    numbers = {image: whole(image) for image in poses}
    yield from _unnumbered(scene, poses, numbers)
    for image, number in sorted(_numbered(numbers), key=lambda pair: pair[1]):
        asked = None if targets is None else targets.get((int(scene.name), number))
        if targets is not None and asked is None:
            continue
        entries = infos.get(image)
        if entries is not None and len(entries) != len(poses[image]):
            raise DatasetNotReady(
                f"{scene / INFO}: image {image} has {len(entries)} entries, {GT} has {len(poses[image])}: one an object"
            )
        chosen = None if asked is None else _most_visible(poses[image], entries, asked)
        records = []
        for index, pose in enumerate(poses[image]):
            info = entries[index] if entries else None
            dropped = None if chosen is None or index in chosen else NOT_ASKED
            records.append(_record(scene, photos, number, index, pose, info, dropped))
        yield from _sized(records)


def _numbered(numbers: Mapping[str, int | None]) -> Iterator[tuple[str, int]]:
    """Images with their numbers; of two that are of one number, neither."""
    times = Counter(numbers.values())
    return ((image, number) for image, number in numbers.items() if number is not None and times[number] == 1)


def _unnumbered(
    scene: Path, poses: Mapping[str, Sequence[ObjectPose]], numbers: Mapping[str, int | None]
) -> Iterator[Record]:
    """The objects of images that have no number of their own."""
    good = dict(_numbered(numbers))
    for image in sorted(poses.keys() - good.keys()):
        where = f"{scene.name}/{GT}: image {image[:40]!r}"
        for index in range(len(poses[image])):
            name = f"{scene.name}:{image}"
            yield unreadable(name, str(index), where, NO_FORMAT, f"{where} is no whole number, or there twice")


def _photos(scene: Path) -> dict[int, str]:
    """The photos of a scene by number, as named from the split's folder."""
    folder = next((scene / name for name in PHOTOS if (scene / name).is_dir()), scene / PHOTOS[0])
    paths = folder.iterdir() if folder.is_dir() else ()
    return {int(path.stem): f"{scene.name}/{folder.name}/{path.name}" for path in paths if path.stem.isdecimal()}


def _most_visible(poses: Sequence[ObjectPose], infos: Sequence[Info] | None, targets: Mapping[int, int]) -> set[int]:
    """Indices of the instances that are asked for: of each object those seen best, as the targets were made."""
    fractions = [info.visib_fract for info in infos] if infos else [0.0] * len(poses)
    chosen: set[int] = set()
    for number, count in targets.items():
        of_object = [index for index, pose in enumerate(poses) if pose.obj_id == number]
        chosen |= set(sorted(of_object, key=lambda index: (-fractions[index], index))[:count])
    return chosen


def _record(
    scene: Path,
    photos: Mapping[int, str],
    image: int,
    index: int,
    pose: ObjectPose,
    info: Info | None,
    dropped: str | None,
) -> Record:
    amodal, visible, detail = b"", None, None
    height, width = 1, 1
    if dropped is None:
        try:
            whole, seen = _masks(scene, f"{image:06d}_{index:06d}.png")
        except BadRecord as error:
            dropped, detail = MALFORMED, str(error)
        else:
            height, width = whole.shape
            amodal, visible = mask_text(whole), mask_text(seen)
    return Record(
        image=f"{scene.name}:{image:06d}",
        annotation=str(index),
        file=photos.get(image, f"{scene.name}/{PHOTOS[0]}/{image:06d}.png"),
        where=f"{scene.name}, image {image}, object {index}",
        height=height,
        width=width,
        amodal=amodal,
        visible=visible,
        category=str(pose.obj_id),
        declared_rate=info.hidden_rate(height, width) if info else None,
        dropped=dropped,
        detail=detail,
    )


def _sized(records: Sequence[Record]) -> Iterator[Record]:
    """The records of an image; those whose masks were not read have empty ones of the others' size.

    Where none was read that size is not known, so that nothing can be said of the photo.
    """
    known = next(((r.height, r.width) for r in records if r.visible is not None), None)
    height, width = known or (1, 1)
    nothing = mask_text(np.zeros((height, width), dtype=np.bool_))
    for r in records:
        file = r.file if known else ""
        yield replace(r, file=file, height=height, width=width, amodal=nothing) if r.visible is None else r


def _masks(scene: Path, name: str) -> tuple[Mask, Mask]:
    whole, seen = read_mask(scene / WHOLE / name), read_mask(scene / VISIBLE / name)
    if whole.shape != seen.shape:
        raise BadRecord(
            f"{scene / VISIBLE / name} is {seen.shape[1]} x {seen.shape[0]}, the one in {WHOLE}/ is "
            f"{whole.shape[1]} x {whole.shape[0]} (width x height): they must be equal"
        )
    return whole, seen


def main(out: str, targets: str, *scenes: str) -> None:
    """Write the index of some scenes."""
    pq.write_table(_index([Path(scene) for scene in scenes], Path(targets) if targets else None), out)


if __name__ == "__main__":
    streams.guard()
    main(*sys.argv[1:])
