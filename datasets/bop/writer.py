"""BOP: a folder a scene, with two mask files an object and image."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from amodal_bench.formats.writers.base import Scene, Writer, WriterCard
from amodal_bench.formats.writers.coco import Categories, box
from amodal_bench.formats.writers.files import write_image, write_mask
from amodal_bench.formats.writers.names import whole_numbers
from amodal_bench.types import AmodalSample, parse_id


class BopWriter(Writer):
    """SPLIT/SCENE/{rgb,mask,mask_visib}/ and scene_gt.json without poses, which no other dataset has."""

    card = WriterCard(
        title="BOP",
        image_ids="numbers",
        annotation_ids="counted from 0 in each image",
        category=False,
        remark="categories become numbers (obj_id); there are no poses, no depth and no models",
    )

    def __init__(self, out: Path, split: str, ids: Sequence[str]) -> None:
        super().__init__(out, split, ids)
        clips = list(dict.fromkeys(_clip(parse_id(id).image) for id in ids))
        self._numbers = dict(zip(clips, whole_numbers(clips), strict=True))
        self._categories = Categories({})
        self._poses: dict[int, dict[str, Any]] = defaultdict(dict)
        self._infos: dict[int, dict[str, Any]] = defaultdict(dict)

    def add(self, scene: Scene) -> list[str | None]:
        number = self._numbers.setdefault(scene.clip, 1 + max(self._numbers.values()))
        folder, image = self._folder(number), f"{scene.frame:06d}"
        write_image(folder / "rgb" / f"{image}.png", scene.image)
        for index, sample in enumerate(scene.samples):
            write_mask(folder / "mask" / f"{image}_{index:06d}.png", sample.amodal)
            write_mask(folder / "mask_visib" / f"{image}_{index:06d}.png", sample.visible)
        self._poses[number][str(scene.frame)] = [{"obj_id": self._object(sample)} for sample in scene.samples]
        self._infos[number][str(scene.frame)] = [_info(sample) for sample in scene.samples]
        return [f"{number:06d}:{image}/{index}" for index in range(len(scene.samples))]

    def finish(self) -> None:
        for number, poses in self._poses.items():
            folder = self._folder(number)
            (folder / "scene_gt_info.json").write_bytes(orjson.dumps(self._infos[number], option=orjson.OPT_INDENT_2))
            (folder / "scene_gt.json").write_bytes(orjson.dumps(poses, option=orjson.OPT_INDENT_2))

    def _folder(self, number: int) -> Path:
        return self.out / self.split / f"{number:06d}"

    def _object(self, sample: AmodalSample) -> int:
        category = sample.query.category
        number = int(category) if category and category.isdecimal() else None
        return self._categories.number(category) if number is None else number


def _clip(image: str) -> str:
    """What is before the number of a frame, which may be a clip."""
    clip, colon, frame = image.rpartition(":")
    return clip if colon and frame.isdecimal() else image


def _info(sample: AmodalSample) -> dict[str, Any]:
    """All within the frame: what reaches beyond it is not known."""
    whole, seen = int(sample.amodal.sum()), int(sample.visible.sum())
    return {
        "bbox_obj": [int(value) for value in box(sample.amodal)],
        "bbox_visib": [int(value) for value in box(sample.visible)],
        "px_count_all": whole,
        "px_count_visib": seen,
        "visib_fract": int((sample.amodal & sample.visible).sum()) / whole,
    }
