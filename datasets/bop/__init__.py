"""BOP: photos of objects in known 6D poses, so that amodal masks are exact; one adapter for all of its datasets."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from amodal_bench.errors import DatasetNotReady
from amodal_bench.files.cache import contents, file_digest, manifest_digest
from amodal_bench.files.paths import shown
from amodal_bench.formats.indexed import Indexed, InstanceOptions
from amodal_bench.formats.missing import missing, some
from amodal_bench.formats.records import Record
from amodal_bench.plugin import DatasetCard, Fault
from amodal_bench.types import parse_id

from .scenes import GT, INFO, NOT_ASKED, VISIBLE, WHOLE, Info, bop_index, bop_records, find_scenes, read_info

TARGETS = "test_targets_bop19.json"
# Images and instances among the targets of the challenges from 2019 on (Hodan et al., ECCV Workshops 2020, table 1).
PUBLISHED = {
    "lmo": (200, 1445), "tless": (1000, 6423), "tudl": (600, 600), "icbin": (150, 1786), "hb": (300, 1630),
    "ycbv": (900, 4123),
}  # fmt: skip


class BopOptions(InstanceOptions):
    """Which images and objects take part.

    `targets`: all that are on disk, or those that the BOP challenges since 2019 evaluate (test_targets_bop19.json):
    of each image and object the stated number of instances, those that are seen best. `split_type`: what follows
    SPLIT_ in the folder's name (primesense, realsense, pbr), where there are several.
    """

    targets: Literal["all", "bop19"] = "all"
    split_type: str | None = None


class Bop(Indexed[BopOptions]):
    """Ids are `bop/SPLIT/SCENE:IMAGE/PLACE`, the place in the image's list in scene_gt.json; the group is the scene."""

    card = DatasetCard(
        title="BOP: LM-O, T-LESS, TUD-L, IC-BIN, HB, YCB-V, HOPE (Hodan et al., ECCV 2018 and later)",
        paper="https://arxiv.org/abs/2009.07378",
        licence="of each dataset its own: LM-O CC BY-SA 4.0, T-LESS CC BY 4.0; the others on their pages there",
        get="huggingface.co/datasets/bop-benchmark, bop.felk.cvut.cz/datasets: NAME_base.zip, and NAME_test_bop19.zip "
        "or NAME_test_all.zip, which hold mask/ and mask_visib/, unpacked into one folder, which is --root. HB and "
        "HOPE: the ground truth of test is not public, take val",
        tree="""
test/000002/rgb/000003.png                 (or gray/, .jpg, .tif; test_primesense/ and the like; and train, val)
test/000002/mask/000003_000000.png         the whole silhouette of object 0 of image 3
test/000002/mask_visib/000003_000000.png   what is seen of it
test/000002/scene_gt.json                  which object that is
test/000002/scene_gt_info.json             counts of pixels, by which the masks are checked
test_targets_bop19.json                    for --set dataset.targets=bop19
""",
        splits={"train": {}, "val": {}, "test": {}},
        default_split="test",
    )
    Options = BopOptions

    def annotation_files(self) -> Sequence[Path]:
        """The scenes' folders."""
        folder = self._split_folder()
        scenes = find_scenes(folder)
        if not scenes:
            raise missing(self.card, self.location.root, f"{folder.name}/SCENE/{GT}")
        lacking = [
            f"{scene.name}/{kind}/" for scene in scenes for kind in (WHOLE, VISIBLE) if not (scene / kind).is_dir()
        ]
        if lacking:
            raise missing(self.card, self.location.root, f"{folder.name}/{some(lacking, 4)} with the masks")
        asked = self._asked()
        if asked and not asked.is_file():
            raise missing(self.card, self.location.root, f"{TARGETS} (dataset.targets={self.options.targets})")
        return scenes

    def _split_folder(self) -> Path:
        """root/SPLIT or root/SPLIT_TYPE, of which there must be one."""
        root, split, kind = self.location.root, self.split, self.options.split_type
        if kind is not None:
            chosen = root / f"{split}_{kind}"
            if not chosen.is_dir():
                raise missing(self.card, root, f"{chosen.name}/ (dataset.split_type={kind})")
            return chosen
        entries = sorted(root.iterdir()) if root.is_dir() else []
        found = [path for path in entries if path.is_dir() and path.name.partition("_")[0] == split]
        if not found:
            raise missing(self.card, root, f"{split}/")
        if len(found) > 1:
            names = [path.name for path in found]
            raise DatasetNotReady(
                f"{self.card.title}: {root} holds {' and '.join(names)}: which is meant? "
                f"--set dataset.split_type={names[-1].partition('_')[2]} takes {names[-1]}"
            )
        return found[0]

    def _asked(self) -> Path | None:
        """The file of targets, where not all is asked for."""
        return self.location.root / TARGETS if self.options.targets == "bop19" else None

    def digest(self) -> str:
        """Of the names and bytes of all masks and of the JSON files, and of the targets where they are asked for."""
        base, cache = self._files[0].parent, self.location.cache
        names = [f"{scene.name}/{name}" for scene in self._files for name in _names(scene)]
        entries = list(contents(base, names, cache))
        asked = self._asked()
        if asked:
            entries.append((TARGETS, file_digest(asked, cache)))
        return manifest_digest(entries)

    def build(self) -> pa.Table:
        """From every mask file."""
        return bop_index(self._files, self._asked())

    def image_folders(self) -> Sequence[Path]:
        """The split's folder, or --image-root in its place."""
        return [self.location.images or self._files[0].parent]

    def records(self, files: Sequence[Path]) -> Iterator[Record]:
        """All objects, or the targets and what else is in their images."""
        return bop_records(files, self._asked())

    def group(self, id: str) -> str:
        """The scene: its images show the same objects."""
        return parse_id(id).image.rpartition(":")[0]

    def remarks(self) -> Iterator[str]:
        """The published counts of the targets, and how many silhouettes the frame cuts off."""
        name = self.location.root.resolve().name
        if self.options.targets == "bop19" and name in PUBLISHED and self.split == "test":
            images, instances = PUBLISHED[name]
            yield f"published targets of {name}: {images:,} images, {instances:,} instances"
        counts = self._counts()
        leaving = sum(info.leaves(*size) for info, size in counts.values())
        if leaving:
            yield (
                f"{leaving:,} of {len(counts):,} silhouettes reach beyond the frame, where their masks end: "
                "visib_fract is of the whole one, and is not compared"
            )

    def faults(self) -> Iterator[Fault]:
        """Also masks whose area is not the one that scene_gt_info.json states, by more than 1 %."""
        yield from (fault for fault in super().faults() if fault.kind != NOT_ASKED)
        counts = self._counts()
        areas = {"px_count_all": self.column("amodal_area"), "px_count_visib": self.column("visible_area")}
        for row, (info, size) in counts.items():
            for name, values in areas.items():
                stated = getattr(info, name)
                if name == "px_count_all" and info.leaves(*size):
                    continue
                if abs(values[row] - stated) > 0.01 * max(stated, 1):
                    id = self._spelled(np.array([row]))[0]
                    yield Fault(id, f"{name} differs from the mask by more than 1 %", f"{stated}, {values[row]:g}")

    def _counts(self) -> dict[int, tuple[Info, tuple[int, int]]]:
        """Row of the index -> what scene_gt_info.json says, and height and width, where masks were read."""
        infos = {scene.name: read_info(scene) for scene in self._files}
        table = self._index.select(["image", "annotation", "height", "width", "visible"]).to_pydict()
        found = {}
        for row, (image, annotation, height, width, visible) in enumerate(zip(*table.values(), strict=True)):
            if visible is None:  # not read, or of an image without a number
                continue
            scene, _, number = image.rpartition(":")
            entries = infos[scene].get(str(int(number)))
            if entries:
                found[row] = entries[int(annotation)], (height, width)
        return found


def _names(scene: Path) -> Iterator[str]:
    """The files of a scene that make its instances."""
    yield from (name for name in (GT, INFO) if (scene / name).is_file())
    for kind in (WHOLE, VISIBLE):
        yield from (f"{kind}/{path.name}" for path in shown(scene / kind) if path.suffix == ".png")
