"""Three folders with equal names: one file an object in each."""

from collections.abc import Sequence
from pathlib import Path

from amodal_bench.formats.writers.base import Scene, Writer, WriterCard
from amodal_bench.formats.writers.files import link, write_image, write_mask
from amodal_bench.formats.writers.names import object_names


class FolderWriter(Writer):
    """SPLIT/{image,visible,amodal}/NAME.png."""

    card = WriterCard(
        title="your own data in folders",
        image_ids="names",
        annotation_ids="0; where an image has several objects or another id, its name is IMAGE-ANN",
        category=False,
        remark="the order is that of the names",
    )

    def __init__(self, out: Path, split: str, ids: Sequence[str]) -> None:
        super().__init__(out, split, ids)
        self._names = object_names(ids)

    def add(self, scene: Scene) -> list[str | None]:
        base = self.out / self.split
        names = [self._names[sample.query.id] for sample in scene.samples]
        first = base / "image" / f"{names[0]}.png"
        write_image(first, scene.image)
        for name, sample in zip(names, scene.samples, strict=True):
            link(first, base / "image" / f"{name}.png")
            write_mask(base / "visible" / f"{name}.png", sample.visible)
            write_mask(base / "amodal" / f"{name}.png", sample.amodal)
        return [f"{name}/0" for name in names]
