"""FishBowl as the official generator writes it, before or after its post-processing.

<clip>/objects.json                       visible masks of every fish
<clip>_object<fish id>/objects.json       before: that fish rendered alone, so its amodal masks
<clip>/object<place>/objects.json         after: the same; place = its index in the clip's objects.json
"""

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amodal_bench.errors import BadRecord, DatasetNotReady
from amodal_bench.files.cache import contents, manifest_digest
from amodal_bench.files.paths import id_part, shown
from amodal_bench.files.stamp import remembered
from amodal_bench.formats.entries import spelled
from amodal_bench.formats.json_files import read_json, words
from amodal_bench.masks.images import read_image
from amodal_bench.types import Image

from .fish import Fish, FishLayout, FrameMasks
from .video import need_decoder, read_frame

log = logging.getLogger(__name__)

OBJECTS = "objects.json"
SINGLE_BESIDE = re.compile(r"(?P<clip>.+)_object(?P<fish>[^_]+)")
SINGLE_INSIDE = re.compile(r"object(?P<place>\d+)")
FISH_ID = re.compile(r"[\w.-]+")


@dataclass(frozen=True, slots=True)
class Clip:
    """A folder of the official generator; `beside` by fish id or `inside` by place, never both."""

    folder: Path
    beside: Mapping[str, Path]
    inside: Mapping[int, Path]

    def single(self, fish: str, index: int) -> Path | None:
        """The objects.json of the fish rendered alone."""
        return self.beside.get(fish) or self.inside.get(index)


class Recordings(FishLayout):
    """The generator's folders, before or after its post-processing."""

    def __init__(self, base: Path, images: Path, clips: Mapping[str, Clip], cache: Path) -> None:
        self._base = base
        self._images = images
        self._clips = clips
        self._cache = cache

    @classmethod
    def under(cls, base: Path, images: Path, cache: Path) -> "Recordings":
        """The clips in a folder, perhaps none; raises `DatasetNotReady` where a clip has both layouts."""
        folders = [path for path in (shown(base) if base.is_dir() else []) if (path / OBJECTS).is_file()]
        singles: dict[str, dict[str, Path]] = {}
        for folder in folders:
            if match := SINGLE_BESIDE.fullmatch(folder.name):
                singles.setdefault(match["clip"], {})[match["fish"]] = folder / OBJECTS
        whole = [folder for folder in folders if not SINGLE_BESIDE.fullmatch(folder.name)]
        clips = {id_part(folder.name): Clip(folder, singles.get(folder.name, {}), _inside(folder)) for folder in whole}
        for name, clip in clips.items():
            if clip.beside and clip.inside:
                raise DatasetNotReady(
                    f"{clip.folder}: single-fish renders lie both beside it ({name}_object...) and inside it "
                    "(object000/...): remove one of the two"
                )
        return cls(base, images, clips, cache)

    def lacking(self) -> str | None:
        """What is missing beside the clips, in words; raises `DatasetNotReady` where only PyAV is."""
        if not any(clip.beside or clip.inside for clip in self._clips.values()):
            return "single-fish renders, which hold the amodal masks,"
        for name, clip in self._clips.items():
            folder = self._images / clip.folder.name
            if (folder / "frames").is_dir():
                continue
            if not (folder / "video.mp4").is_file():
                return f"{name}/frames or {name}/video.mp4"
            need_decoder(folder / "video.mp4")
        return None

    def clips(self) -> list[str]:
        return sorted(self._clips)

    def fish(self, clip: str) -> Iterator[Fish]:
        for id in read_objects(self._clips[clip].folder / OBJECTS):
            yield self.one(clip, id)

    def one(self, clip: str, fish: str) -> Fish:
        file = self._clips[clip].folder / OBJECTS
        objects = read_objects(file)
        if fish not in objects:
            raise BadRecord(f"{file}: fish {fish} is no longer in it")
        record = objects[fish]
        visible = FrameMasks(file, dict(enumerate(record["masks"])))
        single = self._clips[clip].single(fish, list(objects).index(fish))
        return Fish(fish, words(record.get("type_name")), visible, _alone(single, fish, visible) if single else None)

    def image(self, clip: str, frame: int) -> Image:
        folder = self._images / self._clips[clip].folder.name
        if (folder / "frames").is_dir():
            return read_image(folder / "frames" / f"{frame:05d}.png")
        return read_frame(folder / "video.mp4", frame)

    def fingerprint(self) -> str:
        files = [file for clip in self._clips.values() for file in (*clip.beside.values(), *clip.inside.values())]
        files += [clip.folder / OBJECTS for clip in self._clips.values()]
        names = [file.relative_to(self._base).as_posix() for file in files]
        return manifest_digest(contents(self._base, names, self._cache))


def _inside(folder: Path) -> dict[int, Path]:
    matches = ((SINGLE_INSIDE.fullmatch(path.parent.name), path) for path in folder.glob(f"object*/{OBJECTS}"))
    return {int(match["place"]): path for match, path in matches if match}


def _alone(file: Path, fish: str, visible: FrameMasks) -> FrameMasks | None:
    """The amodal masks: those of the only fish in the render. None for a render in which no fish was seen."""
    objects = read_objects(file)
    if not objects:
        return None
    if list(objects) != [fish]:
        raise BadRecord(f"{file}: must hold fish {fish} alone, holds {', '.join(objects)}")
    masks = objects[fish]["masks"]
    if len(masks) != len(visible.by_frame):
        raise BadRecord(f"{file}: fish {fish} has {len(masks)} masks, but {len(visible.by_frame)} in {visible.file}")
    return FrameMasks(file, dict(enumerate(masks)))


@remembered(64)
def read_objects(file: Path) -> dict[str, dict[str, Any]]:
    """The records of an objects.json by fish id, in the file's order; raises `BadRecord` naming the file."""
    try:
        records = read_json(file, Any)
    except DatasetNotReady as error:
        raise BadRecord(str(error)) from None
    if not isinstance(records, list):
        raise BadRecord(f"{file}: must hold a list of fish, holds {type(records).__name__}")
    objects: dict[str, dict[str, Any]] = {}
    for index, record in enumerate(records):
        if not isinstance(record, dict) or "id" not in record or not isinstance(record.get("masks"), list):
            raise BadRecord(f"{file}: entry {index} must be a fish with an id and a list of masks")
        id = spelled(record["id"]) if isinstance(record["id"], (int, float, str)) else ""
        if not FISH_ID.fullmatch(id):
            raise BadRecord(f"{file}: entry {index}: fish id {str(record['id'])[:40]!r} is not a plain word or number")
        if id in objects:
            if objects[id] == record:
                log.warning("%s: fish id %s occurs twice with the same masks: it is read once", file, id)
                continue
            raise BadRecord(f"{file}: fish id {id} occurs twice, with different masks")
        objects[id] = record
    return objects
