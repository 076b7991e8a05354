"""Your own data as COCO instances: one JSON file with a second mask for every object."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from amodal_bench.errors import DatasetNotReady
from amodal_bench.files.paths import shown
from amodal_bench.formats.areas import HIDDEN_APART
from amodal_bench.formats.coco import categories_of
from amodal_bench.formats.indexed import Indexed, InstanceOptions
from amodal_bench.formats.missing import missing, some
from amodal_bench.formats.records import Record
from amodal_bench.plugin import DatasetCard

from .own_json import AMODAL, INVISIBLE, SEGMENTATION, VISIBLE, Keys, OwnFile, key_counts

ENDINGS = (".json", ".json.gz")


class CocoOptions(InstanceOptions):
    """Which key of an annotation holds which mask.

    `segmentation` is the amodal mask unless the file has a key for that, or `modal` is asked for: then it is what is
    seen. `amodal`, `visible`, `invisible`: a key of your own, looked at before the known ones.
    """

    segmentation: Literal["auto", "amodal", "modal"] = "auto"
    amodal: str | None = None
    visible: str | None = None
    invisible: str | None = None


class Coco(Indexed[CocoOptions]):
    """`coco/SPLIT/IMAGE_ID/ANNOTATION_ID`."""

    card = DatasetCard(
        title="your own data as COCO instances",
        licence="your own",
        get="write it yourself: COCO instances whose segmentation is the amodal mask, with visible_mask (or "
        "inmodal_seg, visible_segmentation), invisible_mask, or a depth order (order, 1 in front)",
        tree="""
FILE.json                              named by --root FILE.json (.json.gz as well), or
[annotations/]SPLIT.json               the one file of a folder, or that with the split in its name
[images/|SPLIT/]NAME.jpg               its images, beside the file, in these folders or in --image-root
""",
        splits={"train": {}, "val": {}, "test": {}},
        default_split="test",
    )
    Options = CocoOptions

    def annotation_files(self) -> Sequence[Path]:
        """The file that --root names, or the one of the split in that folder or its annotations/."""
        root = self.location.root
        if root.is_file():
            return [root]
        folders = [folder for folder in (root, root / "annotations") if folder.is_dir()]
        found = [path for folder in folders for path in shown(folder) if _is_json(path)]
        chosen = [path for path in found if self.split in _splits_in(path)] or [p for p in found if not _splits_in(p)]
        if not chosen:
            raise missing(self.card, root, f"a JSON file for the split {self.split}")
        if len(chosen) > 1:
            names = [str(path.relative_to(root)) for path in chosen]
            raise DatasetNotReady(
                f"{self.card.title}: {root} holds {some(names)}: which is meant? Name the file: --root {chosen[0]}"
            )
        return chosen

    def image_folders(self) -> Sequence[Path]:
        """--image-root, or where images lie beside such files."""
        if self.location.images:
            return [self.location.images]
        folder = self._files[0].parent
        bases = [folder, folder.parent] if folder.name == "annotations" else [folder]
        names = ("", "images", self.split, f"images/{self.split}", f"{self.split}2014", f"{self.split}2017")
        return [base / name for base in bases for name in names if (base / name).is_dir()]

    def variant(self) -> str:
        """Which keys were asked for, as these change what is read."""
        options = self.options
        asked = {"amodal": options.amodal, "visible": options.visible, "invisible": options.invisible}
        names = [f"-{kind}={re.sub(r'[^A-Za-z0-9_.-]', '~', key)}" for kind, key in asked.items() if key]
        return "".join(["" if options.segmentation == "auto" else f"-{options.segmentation}", *names])

    def records(self, files: Sequence[Path]) -> Iterator[Record]:
        """All annotations; raises `DatasetNotReady` where nothing tells what is hidden."""
        (path,) = files
        counts = key_counts(path)
        keys = self._keys(counts)
        names = [*keys.amodal, *keys.invisible] if keys.modal else [*keys.visible, *keys.invisible, "order"]
        if counts and not any(counts[key] for key in names):
            raise DatasetNotReady(
                f"{path}: nothing tells what of an object is hidden: no annotation has {', '.join(names)}. They have "
                f"{some(sorted(counts), 20)}. Where one of these is such a mask: --set dataset.visible=KEY "
                "(or amodal, invisible). Ordinary instances, as COCO's own, hold no amodal masks"
            )
        yield from OwnFile(path, keys).records()

    def _keys(self, counts: Counter[str]) -> Keys:
        options = self.options
        keys_by_kind = {
            kind: [*([asked] if asked else []), *known]
            for kind, asked, known in (
                ("amodal", options.amodal, AMODAL),
                ("visible", options.visible, VISIBLE),
                ("invisible", options.invisible, INVISIBLE),
            )
        }
        has_whole = counts[SEGMENTATION] and any(counts[key] for key in keys_by_kind["amodal"])
        modal = bool(has_whole) if options.segmentation == "auto" else options.segmentation == "modal"
        return Keys(modal, keys_by_kind["amodal"], keys_by_kind["visible"], keys_by_kind["invisible"])

    def categories(self) -> Mapping[str, str]:
        """As the file numbers them."""
        return categories_of(self._files)

    def remarks(self) -> Iterator[str]:
        """Which keys were read as what, and which kind of mask `segmentation` looks like."""
        counts, keys = self._counts, self._keys(self._counts)
        keys_by_kind = {"amodal": keys.amodal, "visible": keys.visible, "invisible": keys.invisible}
        first = "visible" if keys.modal else "amodal"
        keys_by_kind[first] = [SEGMENTATION, *keys_by_kind[first]]
        for what, names in keys_by_kind.items():
            used = ", ".join(f"{key} ({counts[key]:,})" for key in names if counts[key])
            if used:
                rest = ", where there is no visible one" if what == "invisible" and not keys.modal else ""
                yield f"{what} masks are read from {used}{rest}"
        if counts["order"]:
            yield f"depth order (order, 1 in front) of {counts['order']:,} annotations"
        yield self._looks(keys.modal)

    @cached_property
    def _counts(self) -> Counter[str]:
        return key_counts(self._files[0])

    def _looks(self, modal: bool) -> str:
        """What the masks themselves say of `segmentation`."""
        reasons = self._masks["reason"].to_pylist()
        hidden, outside = self.column("hidden_area"), self.column("outside_area")
        apart, usable = reasons.count(HIDDEN_APART), [index for index, reason in enumerate(reasons) if reason is None]
        some_hidden = int((hidden[usable] > 0).sum())
        out = int((outside[usable] > 0.05 * np.maximum(self.column("visible_area")[usable], 1)).sum())
        read, other = ("modal", "amodal") if modal else ("amodal", "modal")
        way = f"if it is {other}: --set dataset.segmentation={other}"
        if apart > len(usable):
            return f"segmentation is read as amodal, but looks modal: {apart:,} invisible masks lie outside it; {way}"
        if not some_hidden:
            return f"segmentation is read as {read}, but no instance has a hidden pixel; {way}"
        if 2 * out > len(usable):
            return f"segmentation is read as {read}, but in {out:,} of {len(usable):,} what is seen sticks out; {way}"
        return (
            f"segmentation is read as {read} and looks like it: of {len(usable):,} instances {some_hidden:,} are "
            f"partly hidden, and in {len(usable) - out:,} the amodal mask holds what is seen"
        )


def _is_json(path: Path) -> bool:
    return path.is_file() and path.name.lower().endswith(ENDINGS)


def _splits_in(path: Path) -> set[str]:
    """The splits that a file's name has as a word: `val` of `instances_val2017.json`."""
    words = re.findall(r"[a-z]+", path.name.lower())
    return {split for split in ("train", "val", "test") if split in words or (split == "val" and "valid" in words)}
