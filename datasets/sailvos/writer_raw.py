"""SAIL-VOS as its authors pack it: a folder a scene, an id map a frame, a mask file an object and frame."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from amodal_bench.formats.writers.base import Scene, Writer, WriterCard
from amodal_bench.formats.writers.coco import NO_CATEGORY
from amodal_bench.formats.writers.files import write_image, write_mask
from amodal_bench.formats.writers.names import TakenNames
from amodal_bench.types import AmodalSample, parse_id

from .writing import ObjectNumbers

OVERLAP = "visible masks overlap: an id map holds one object a pixel"


class SailVosRaw(Writer):
    """[SPLIT/]SCENE/{images/%06d.bmp, visible/%06d.npy, ID_NAME/%06d.png}."""

    card = WriterCard(
        title="SAIL-VOS, raw",
        image_ids="names",
        annotation_ids="whole numbers",
        category=True,
        remark="image ids become SCENE:FRAME; visible masks of one image must not overlap",
    )

    def __init__(self, out: Path, split: str, ids: Sequence[str]) -> None:
        super().__init__(out, split, ids)
        self._scenes = TakenNames()
        self._objects = ObjectNumbers(ids)
        self._categories = TakenNames()
        self._folders: dict[tuple[str, int], str] = {}
        # What is nobody's: 0, but where an object of the source has that number.
        self._nobody = -1 if any(parse_id(id).annotation == "0" for id in ids) else 0

    def add(self, scene: Scene) -> list[str | None]:
        name = self._scenes[scene.clip]
        stem = f"{scene.frame:06d}"
        folder = self.out / self.split / name
        write_image(folder / "images" / f"{stem}.bmp", scene.image)
        seen = np.full(scene.image.shape[:2], self._nobody, dtype=np.int32)
        taken = np.zeros(scene.image.shape[:2], dtype=np.bool_)
        names: list[str | None] = []
        for sample in scene.samples:
            if (taken & sample.visible).any():
                self.funnel.drop(OVERLAP)
                names.append(None)
                continue
            number = self._objects.number(scene.clip, parse_id(sample.query.id).annotation)
            taken |= sample.visible
            seen[sample.visible] = number
            write_mask(folder / self._folder(scene, number, sample) / f"{stem}.png", sample.amodal)
            names.append(f"{name}:{stem}/{number}")
        (folder / "visible").mkdir(exist_ok=True)
        np.save(folder / "visible" / f"{stem}.npy", seen)
        return names

    def _folder(self, scene: Scene, number: int, sample: AmodalSample) -> str:
        """ID_NAME, the same in all frames of a scene."""
        category = self._categories[sample.query.category or NO_CATEGORY]
        return self._folders.setdefault((scene.clip, number), f"{number}_{category}")
