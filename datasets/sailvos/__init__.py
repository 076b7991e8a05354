"""SAIL-VOS: cut scenes of a video game, with every object rendered whole; every frame on its own."""

import logging
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from amodal_bench.errors import DatasetNotReady
from amodal_bench.files.cache import file_digest
from amodal_bench.formats.coco import find_file
from amodal_bench.formats.indexed import Bools, Indexed, InstanceOptions
from amodal_bench.formats.missing import missing
from amodal_bench.formats.records import Record
from amodal_bench.plugin import DatasetCard
from amodal_bench.types import parse_id

from .raw import digest, find_scenes, raw_index
from .release_json import json_records

log = logging.getLogger(__name__)

FOLDERS = ("", "annotations")
FILES = {  # of its authors, and of Diffusion-VAS
    "train": ("train.json", "diffusion_vas_sailvos_train.json"),
    "val": ("valid.json", "val.json", "diffusion_vas_sailvos_val.json"),
}


class SailVosOptions(InstanceOptions):
    """`frame_stride`: only frames whose number is a multiple of it. VRSP evaluates `rates` of `[0, 0.95]`."""

    frame_stride: int = Field(default=1, ge=1)


class SailVos(Indexed[SailVosOptions]):
    """Ids are `sailvos/SPLIT/SCENE:FRAME/OBJECT`; the group is the scene.

    The visible mask is a few pixels smaller than the amodal one even where nothing hides the object: see
    `min_hidden` of the protocols.
    """

    card = DatasetCard(
        title="SAIL-VOS (Hu et al., CVPR 2019)",
        paper="Hu et al., SAIL-VOS: Semantic Amodal Instance Level Video Object Segmentation, CVPR 2019",
        licence="research only, by the click-through licence of its site",
        get="sailvos.web.illinois.edu: accept the licence, then its download script; the list of clips: "
        "github.com/Kaihua-Chen/diffusion-vas",
        tree="""
valid.json or annotations/valid.json   (and train.json) COCO-like, or a list of clips;
diffusion_vas_sailvos_val.json         (and _train.json) in the same places
<scene>/<frame>.bmp                    its frames (elsewhere: --image-root)
or, one folder a scene:
[<split>/]<scene>/images/%06d.bmp
[<split>/]<scene>/visible/%06d.npy     which object is seen at each pixel
[<split>/]<scene>/<id>_<name>/%06d.png the whole object
""",
        splits={"train": {}, "val": {}},
        default_split="val",
    )
    Options = SailVosOptions

    def annotation_files(self) -> Sequence[Path]:
        """The split's JSON file, or the folders of its scenes."""
        root = self.location.root
        named = (find_file(root, [folder], name) for name in FILES[self.split] for folder in FOLDERS)
        # One file under two names is one file.
        files = list({file_digest(path, self.location.cache): path for path in named if path}.values())
        scenes = self._scenes()
        if len(files) + bool(scenes) > 1:
            found = [*files, *scenes[:1]]
            raise DatasetNotReady(
                f"{self.card.title}: {root} holds {' and '.join(str(path.relative_to(root)) for path in found)}: "
                "which layout is meant? Give each its own folder and name one with --root DIR."
            )
        if not files and not scenes:
            names = FILES[self.split]
            raise missing(self.card, root, f"{' or '.join(names)} or a scene with images/ and visible/", names)
        return files or scenes

    def _scenes(self) -> list[Path]:
        """Those under root/SPLIT; where it has none, those under the root itself."""
        root = self.location.root
        scenes = find_scenes(root / self.split)
        if scenes:
            return scenes
        whole = find_scenes(root)
        if whole and self.split != self.card.default_split:
            log.warning("%s has no folder %s: all of its scenes are read as that split", root, self.split)
        return whole

    @cached_property
    def _raw(self) -> bool:
        return self._files[0].is_dir()

    def digest(self) -> str:
        """Of the JSON file's bytes, or of the names and bytes of all id maps and masks."""
        return digest(self._files, self.location.cache) if self._raw else super().digest()

    def build(self) -> pa.Table:
        """From every mask file, or from the JSON file."""
        return raw_index(self._files) if self._raw else super().build()

    def image_folders(self) -> Sequence[Path]:
        """Where scenes lie; --image-root is looked at alone."""
        if self.location.images:
            return [self.location.images]
        if self._raw:
            return [self._files[0].parent]
        root = self.location.root
        return [root, root / self.split, root / "images"]

    def records(self, files: Sequence[Path]) -> Iterator[Record]:
        """Of a JSON file."""
        return json_records(files[0])

    def unwanted(self) -> Iterator[tuple[str, Bools]]:
        """What frame_stride leaves out."""
        stride = self.options.frame_stride
        if stride > 1:
            frames = pc.extract_regex(self._index["image"], r"(?P<frame>[0-9]{1,18})$")
            numbers = pc.cast(pc.struct_field(frames, "frame"), pa.int64()).to_numpy()
            yield "frame skipped by frame_stride", numbers % stride != 0

    def group(self, id: str) -> str:
        """The scene: its frames show the same objects."""
        return parse_id(id).image.rpartition(":")[0]
