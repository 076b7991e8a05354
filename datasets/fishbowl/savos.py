"""FishBowl as SaVos and C2F-Seg pack it: frames as images, all masks of a split in one pickle.

    <split>_data/<split>_data.pkl                   {"<clip>_<fish>": {frame: record}}
    <split>_data/<split>_frames/<clip>/<frame>.png

A record is {"VM": [RLE], "FM": [RLE], "OCC_R": 1 - |VM| / |FM|, "fish_type": name, and more}.

FM is the amodal mask. VM is the visible one, in the published files as a tracker (PointTrack) predicts it.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from amodal_bench.errors import BadRecord
from amodal_bench.files.cache import file_digest
from amodal_bench.files.stamp import remembered
from amodal_bench.formats.json_files import number, whole, words
from amodal_bench.formats.pickles import load
from amodal_bench.masks.images import read_image
from amodal_bench.types import Image

from .fish import Fish, FishLayout, FrameMasks

Records = dict[int, dict[str, Any]]  # by frame
MOST_FRAME = 2**31 - 1
KEY = re.compile(r"(?P<clip>[\w.-]+)_(?P<fish>[\w.-]+)")


class SavosPickle(FishLayout):
    """The whole pickle is in memory while masks are read; an index that is cached does without it."""

    def __init__(self, file: Path, frames: Path, cache: Path) -> None:
        self._file = file
        self._frames = frames
        self._cache = cache

    def clips(self) -> list[str]:
        return sorted(read_pickle(self._file))

    def fish(self, clip: str) -> Iterator[Fish]:
        for id in read_pickle(self._file)[clip]:
            yield self.one(clip, id)

    def one(self, clip: str, fish: str) -> Fish:
        records = read_pickle(self._file).get(clip, {}).get(fish)
        if records is None:
            raise BadRecord(f"{self._file}: fish {fish} of clip {clip} is no longer in it")
        where = f"{self._file}: {clip}_{fish}"
        category = next((words(record["fish_type"]) for record in records.values() if record.get("fish_type")), None)
        stated = {frame: number(record.get("OCC_R")) for frame, record in records.items()}
        rates = {frame: rate for frame, rate in stated.items() if rate is not None}
        return Fish(fish, category, self._masks(records, "VM", where), self._masks(records, "FM", where), rates)

    def _masks(self, records: Records, key: str, where: str) -> FrameMasks:
        only = {frame: _only(record.get(key), f"{where}, frame {frame}, {key}") for frame, record in records.items()}
        return FrameMasks(self._file, only)

    def image(self, clip: str, frame: int) -> Image:
        return read_image(self._frames / clip / f"{frame:05d}.png")

    def fingerprint(self) -> str:
        return file_digest(self._file, self._cache)


def _only(value: Any, where: str) -> Any:
    """The RLE in a list of one; None where the frame has no such mask."""
    if isinstance(value, list) and len(value) == 1:
        return value[0]
    if value is None or isinstance(value, dict):
        return value
    raise BadRecord(f"{where}: must be a list of one RLE")


@remembered(1)
def read_pickle(file: Path) -> dict[str, dict[str, Records]]:
    """Records by clip and fish; raises `DatasetNotReady` or `BadRecord` naming the file."""
    data = load(file)
    if not isinstance(data, dict):
        raise BadRecord(f"{file}: must hold a dict, holds {type(data).__name__}")
    clips: dict[str, dict[str, Records]] = {}
    for key, records in data.items():
        match = KEY.fullmatch(str(key))
        if not match:
            raise BadRecord(f"{file}: key {key!r} is not of the form CLIP_FISH")
        clip, fish = match["clip"], match["fish"]
        fishes = clips.setdefault(clip.zfill(5), {})  # the frames' folders are named with five digits
        if fish in fishes:
            raise BadRecord(f"{file}: fish {fish} of clip {clip} occurs twice")
        fishes[fish] = _records(records, f"{file}: {key}")
    return clips


def _records(value: Any, where: str) -> Records:
    if not isinstance(value, dict) or not all(isinstance(record, dict) for record in value.values()):
        raise BadRecord(f"{where}: must map frames to records")
    records: Records = {}
    for key, record in value.items():
        frame = whole(str(key))
        if frame is None or frame > MOST_FRAME:
            raise BadRecord(f"{where}: its frames must be whole numbers, one is {str(key)[:40]!r}")
        records[frame] = record
    return records
