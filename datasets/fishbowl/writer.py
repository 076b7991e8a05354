"""FishBowl as the official generator leaves it after its post-processing: a folder a clip."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from amodal_bench.formats.writers.base import Scene, Writer, WriterCard
from amodal_bench.formats.writers.coco import rle_json
from amodal_bench.formats.writers.files import write_image
from amodal_bench.formats.writers.names import TakenNames
from amodal_bench.types import AmodalSample, Mask, parse_id

UNEQUAL = "frames of one clip differ in size"
APART = "frames of one clip do not stand together"


class FishBowlWriter(Writer):
    """SPLIT/CLIP/{objects.json, frames/%05d.png, objectNNN/objects.json}; an image of no video is a clip of one frame.

    Masks of the open clip are held as text; a clip is written when the next one begins.
    """

    card = WriterCard(
        title="FishBowlWriter",
        image_ids="names",
        annotation_ids="names",
        category=True,
        remark="image ids become CLIP:FRAME; one category an object and clip; objects by number within a frame",
    )

    def __init__(self, out: Path, split: str, ids: Sequence[str]) -> None:
        super().__init__(out, split, ids)
        self._clips = TakenNames()
        self._clip: _Clip | None = None
        self._done: set[str] = set()

    def add(self, scene: Scene) -> list[str | None]:
        size = (scene.image.shape[0], scene.image.shape[1])
        if self._clip is None or self._clip.source != scene.clip:
            self._close()
            if scene.clip in self._done:
                return self._left_out(scene, APART)
            # The generator calls the render of a single fish CLIP_objectN.
            name = self._clips[scene.clip.replace("_object", "-object").replace(" ", "_")]
            self._clip = _Clip(scene.clip, self.out / self.split / name, size)
        if size != self._clip.size:
            return self._left_out(scene, UNEQUAL)
        write_image(self._clip.folder / "frames" / f"{scene.frame:05d}.png", scene.image)
        names = [self._clip.add(scene.frame, sample) for sample in scene.samples]
        return [f"{self._clip.folder.name}:{scene.frame:05d}/{name}" for name in names]

    def finish(self) -> None:
        self._close()

    def _close(self) -> None:
        if self._clip is not None:
            self._clip.write()
            self._done.add(self._clip.source)
            self._clip = None

    def _left_out(self, scene: Scene, reason: str) -> list[str | None]:
        self.funnel.drop(reason, len(scene.samples))
        return [None] * len(scene.samples)


class _Fish:
    """One object of a clip, its masks by frame."""

    def __init__(self, category: str | None) -> None:
        self.category = category
        self.visible: dict[int, Any] = {}
        self.amodal: dict[int, Any] = {}


class _Clip:
    def __init__(self, source: str, folder: Path, size: tuple[int, int]) -> None:
        self.source, self.folder, self.size = source, folder, size
        self._fish: dict[str, _Fish] = {}
        self._names = TakenNames()
        self._frames = 0

    def add(self, frame: int, sample: AmodalSample) -> str:
        name = self._names[parse_id(sample.query.id).annotation.replace(" ", "_")]
        fish = self._fish.setdefault(name, _Fish(sample.query.category))
        fish.visible[frame], fish.amodal[frame] = rle_json(sample.visible), rle_json(sample.amodal)
        self._frames = max(self._frames, frame + 1)
        return name

    def write(self) -> None:
        """One objects.json of all, and one of each alone; an object that is not in a frame has an empty mask."""
        empty: Mask = np.zeros(self.size, dtype=np.bool_)
        nothing = rle_json(empty)

        def record(name: str, fish: _Fish, masks: Mapping[int, Any]) -> dict[str, Any]:
            number = int(name) if name.isdecimal() and str(int(name)) == name else name
            every = [masks.get(frame, nothing) for frame in range(self._frames)]
            return {"id": number, **({"type_name": fish.category} if fish.category else {}), "masks": every}

        _write(self.folder / "objects.json", [record(*item, item[1].visible) for item in self._fish.items()])
        for index, item in enumerate(self._fish.items()):
            _write(self.folder / f"object{index:03d}" / "objects.json", [record(*item, item[1].amodal)])


def _write(path: Path, records: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(orjson.dumps(records))
