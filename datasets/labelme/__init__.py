"""Your own data, drawn with labelme: a JSON file an image."""

import base64
import binascii
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from pydantic import Field

from amodal_bench.errors import BadRecord, DatasetNotReady
from amodal_bench.files.cache import contents, manifest_digest, write_atomic
from amodal_bench.files.paths import id_part
from amodal_bench.formats.codes import code_text
from amodal_bench.formats.indexed import Indexed, InstanceOptions
from amodal_bench.formats.json_files import read_json
from amodal_bench.formats.missing import missing
from amodal_bench.formats.records import Record
from amodal_bench.formats.walk import files_below
from amodal_bench.plugin import DatasetCard, Location

from .shapes import LabelledShape, LabelmeFile, Words, masks_of, objects_of, part_of

log = logging.getLogger(__name__)

UNKNOWN = "shapes of several objects of one label without a group_id"


class _Probe(msgspec.Struct):
    """Whether a file has shapes at all."""

    shapes: msgspec.Raw = msgspec.Raw()


class LabelmeOptions(InstanceOptions):
    """The words that say what a shape shows of its object, at an end of its label, as its description or as a flag.

    `hidden`: the part that is not seen; what is seen is then the whole less that. Case does not matter.
    """

    amodal: tuple[str, ...] = Field(default=("amodal", "full", "whole"), min_length=1)
    visible: tuple[str, ...] = Field(default=("visible", "modal", "inmodal"), min_length=1)
    hidden: tuple[str, ...] = Field(default=("hidden", "invisible", "occluded"), min_length=1)

    def words(self) -> Words:
        """By kind, in small letters."""
        return {
            "amodal": [word.lower() for word in self.amodal],
            "visible": [word.lower() for word in self.visible],
            "hidden": [word.lower() for word in self.hidden],
        }


class Labelme(Indexed[LabelmeOptions]):
    """Ids are `labelme/SPLIT/FILE/SHAPE`: the JSON file without its suffix, the place of the object's first shape."""

    card = DatasetCard(
        title="your own data, drawn with labelme",
        licence="your own",
        get="draw it: for every object its whole outline, and where something hides it a second shape of what is seen, "
        "LABEL_visible, with the same group_id",
        tree="""
[<split>/]NAME.json        as labelme saves it, in sub-folders too
[<split>/]NAME.jpg         its image (imagePath; elsewhere: --image-root), or in the JSON file (imageData)
""",
        splits={"train": {}, "val": {}, "test": {}},
        default_split="test",
    )
    Options = LabelmeOptions

    def __init__(self, location: Location, split: str, options: LabelmeOptions) -> None:
        self._base = location.root / split if (location.root / split).is_dir() else location.root
        super().__init__(location, split, options)

    def annotation_files(self) -> Sequence[Path]:
        """All JSON files of the split that hold shapes."""
        if self._base == self.location.root and self.split != self.card.default_split:
            log.warning("%s has no folder %s: all of it is read as that split", self._base, self.split)
        files = []
        for path in files_below(self._base):
            if path.suffix.lower() != ".json":
                continue
            if bytes(read_json(path, _Probe).shapes):
                files.append(path)
            else:
                log.warning("%s: no file of labelme (it has no shapes), left out", path)
        if not files:
            raise missing(self.card, self.location.root, "a JSON file with shapes")
        return files

    def digest(self) -> str:
        """Of the names and bytes of all JSON files."""
        names = [path.relative_to(self._base).as_posix() for path in self._files]
        return manifest_digest(contents(self._base, names, self.location.cache))

    def variant(self) -> str:
        """The words, where they are not the usual ones."""
        asked = self.options.words()
        if asked == LabelmeOptions().words():
            return ""
        return f"-{manifest_digest((kind, ','.join(words)) for kind, words in asked.items())[:8]}"

    def image_folders(self) -> Sequence[Path]:
        """--image-root, or the split's folder; then images that were in the JSON files."""
        return [self.location.images or self._base, self._unpacked()]

    def _unpacked(self) -> Path:
        return self.location.cache / "labelme" / self.fingerprint()[:32]

    def records(self, files: Sequence[Path]) -> Iterator[Record]:
        """The objects of all files; raises `DatasetNotReady` where nothing says what is hidden."""
        has_visible = False
        for path in files:
            file = read_json(path, LabelmeFile)
            photo = self._photo(path, file)
            objects, unknown = objects_of([part_of(k, s, self.options.words()) for k, s in enumerate(file.shapes)])
            for parts in objects:
                record = self._record(path, file, photo, parts)
                has_visible |= record.visible is not None
                yield record
            for part in unknown:
                detail = f"{self._name(path)}, shape {part.index}: {part.shape.label}"
                yield self._dropped(path, file, photo, part, UNKNOWN, detail)
        if not has_visible:
            raise DatasetNotReady(
                f"{self._base}: no shape says what is seen or hidden of its object, so that all would count as in full "
                f"view. What it takes: {self.card.get}. Other words: --set 'dataset.visible=[WORD]'"
            )

    def _record(self, path: Path, file: LabelmeFile, photo: str, parts: Sequence[LabelledShape]) -> Record:
        where = self._name(path)
        try:
            drawn = masks_of(parts, file.height, file.width, where)
        except BadRecord as error:
            return self._dropped(path, file, photo, parts[0], "malformed shape", str(error))
        return Record(
            image=_bare(where),
            annotation=str(parts[0].index),
            file=photo,
            where=f"{where}, shape {parts[0].index}",
            height=file.height,
            width=file.width,
            amodal=code_text(drawn.amodal),
            visible=None if drawn.visible is None else code_text(drawn.visible),
            category=next((part.label for part in parts if part.label), None),
        )

    def _dropped(
        self, path: Path, file: LabelmeFile, photo: str, part: LabelledShape, reason: str, detail: str
    ) -> Record:
        where = self._name(path)
        return Record(
            image=_bare(where),
            annotation=str(part.index),
            file=photo,
            where=f"{where}, shape {part.index}",
            height=file.height,
            width=file.width,
            amodal=b"[]",
            visible=None,
            category=part.label or None,
            dropped=reason,
            detail=detail,
        )

    def _photo(self, path: Path, file: LabelmeFile) -> str:
        """The image's name below the folders; unpacked into the cache where it is in the JSON file alone."""
        named = file.path.replace("\\", "/")
        beside = os.path.normpath(Path(self._name(path)).parent / named)
        name = Path(named).name if beside.startswith("..") or Path(named).is_absolute() else Path(beside).as_posix()
        folder = self.image_folders()[0]
        here = any(os.path.isfile(folder / spelled) for spelled in (name, Path(name).name))  # noqa: PTH113  (too long a name is False)
        if not here and file.data:
            name = f"{_bare(self._name(path))}.image"
            self._unpack(path, name, file.data)
        return name

    def _unpack(self, path: Path, name: str, data: str) -> None:
        target = self._unpacked() / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            write_atomic(target, base64.b64decode(data, validate=True))
        except binascii.Error as error:
            log.warning("%s: imageData is not base64 (%s)", path, error)

    def _name(self, path: Path) -> str:
        return id_part(path.relative_to(self._base).as_posix())


def _bare(name: str) -> str:
    """A file's name without `.json`, in capitals or not."""
    return name[: -len(".json")]
