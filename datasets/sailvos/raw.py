"""SAIL-VOS as its authors pack it: a folder a scene, with a file for every mask.

    SCENE/images/000123.bmp         the frame
    SCENE/visible/000123.npy        (H, W) integers: which object is seen at each pixel
    SCENE/17_car/000123.png         the whole of object 17, where it is in the frame: not black

    python -m amodal_bench.datasets.sailvos.raw OUT.parquet SCENE ...

reads some scenes, so that a large set is shared out to processes that need no main guard.
"""

import logging
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tokenize import TokenError
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.lib.format import read_array_header_1_0, read_array_header_2_0, read_magic
from numpy.typing import NDArray

from amodal_bench.errors import BadRecord
from amodal_bench.files.cache import contents, manifest_digest
from amodal_bench.files.paths import id_part, is_hidden, shown
from amodal_bench.formats.areas import NO_AMODAL, NO_VISIBLE
from amodal_bench.formats.codes import mask_text
from amodal_bench.formats.records import MALFORMED, Record, to_index
from amodal_bench.formats.scenes import scenes_index
from amodal_bench.masks.file_kind import not_there, unlike
from amodal_bench.masks.images import check_size, read_mask
from amodal_bench.text import streams
from amodal_bench.types import Mask

log = logging.getLogger(__name__)

OBJECT = re.compile(r"(?P<id>\d+)_(?P<name>.+)")
MESH = "_mesh"  # ends the name of folders that SAIL-VOS 3D adds
HEADERS = {(1, 0): read_array_header_1_0, (2, 0): read_array_header_2_0}  # 3.0 is for names in other scripts
HEADER_DAMAGE = (  # what NumPy raises on damaged headers, which are Python text
    ValueError, OSError, EOFError, SyntaxError, TokenError, TypeError, LookupError, ArithmeticError, MemoryError,
    RecursionError,
)  # fmt: skip
Ids = NDArray[np.integer[Any]]


def find_scenes(folder: Path) -> list[Path]:
    """The scenes in a folder, sorted."""
    if not folder.is_dir():
        return []
    return [path for path in shown(folder) if (path / "visible").is_dir() and (path / "images").is_dir()]


def digest(scenes: Sequence[Path], cache: Path) -> str:
    """sha256 (hex) of the names and bytes of all id maps and masks of scenes that lie in one folder."""
    names = [
        f"{scene.name}/{folder.name}/{entry.name}"
        for scene in scenes
        for folder in [scene / "visible", *_objects(scene)]
        for entry in os.scandir(folder)
        if entry.name.endswith((".npy", ".png")) and not is_hidden(entry.name)
    ]
    return manifest_digest(contents(scenes[0].parent, names, cache))


def raw_index(scenes: Sequence[Path]) -> pa.Table:
    """The table of `INDEX` for some scenes, on all cores where they are large: every mask is decoded once."""
    sizes = {scene: sum(1 for folder in _objects(scene) for _ in os.scandir(folder)) for scene in scenes}
    return scenes_index(sizes, __name__, [], _index)


def _index(scenes: Sequence[Path]) -> pa.Table:
    return to_index(record for scene in scenes for record in _scene_records(scene))


def _objects(scene: Path) -> list[Path]:
    """The folders of the objects, by number."""
    folders = [path for path in shown(scene) if OBJECT.fullmatch(path.name) and not path.name.endswith(MESH)]
    return sorted((path for path in folders if path.is_dir()), key=lambda path: (int(path.name.split("_")[0]), path))


def _scene_records(scene: Path) -> Iterator[Record]:
    frames: dict[str, list[Path]] = {}
    for folder in _objects(scene):
        for path in shown(folder):
            if path.suffix == ".png" and path.stem.isdecimal():
                frames.setdefault(path.stem, []).append(path)
    for done, stem in enumerate(sorted(frames, key=lambda stem: (int(stem), stem))):
        if done % 100 == 0:
            log.info("%s: %d of %d frames", scene.name, done, len(frames))
        seen = _read_ids(scene / "visible" / f"{stem}.npy")
        for path in frames[stem]:
            yield _record(scene, path, seen)


def _read_ids(path: Path) -> Ids | BadRecord:
    """The id map in the layout of run-length codes, or what is wrong with it: the objects of its frame are counted."""
    try:
        with path.open("rb") as file:
            shape, fortran, dtype = HEADERS[read_magic(file)](file)
            start = file.tell()
        if len(shape) != 2 or min(shape) < 1 or dtype.kind not in "iu":
            raise ValueError(f"expected whole numbers (H, W), got {dtype} of shape {shape}")
        check_size(*shape, str(path))
        order: Literal["F", "C"] = "F" if fortran else "C"
        return np.asfortranarray(np.memmap(path, dtype, "r", start, shape, order))
    except FileNotFoundError:
        return BadRecord(f"id map {not_there(path)}")
    except BadRecord as error:
        return error
    except HEADER_DAMAGE as error:
        return BadRecord(f"{path}: not a readable id map{unlike(path, 'a NumPy array')} ({error})")


def _record(scene: Path, path: Path, seen: Ids | BadRecord) -> Record:
    match = OBJECT.fullmatch(path.parent.name)
    number, name = match.groups() if match else ("", "")
    clip = id_part(scene.name)
    where = f"{clip}/{id_part(path.parent.name)}/{path.name}"
    amodal, visible, dropped, detail = b"[]", None, None, None
    height, width = (1, 1) if isinstance(seen, BadRecord) else seen.shape
    try:
        whole, part = _masks(path, seen, int(number))
    except BadRecord as error:
        log.warning("left out: %s", error)
        dropped, detail = MALFORMED, str(error)
    else:
        amodal = mask_text(whole)
        visible = None if np.array_equal(whole, part) else mask_text(part)
        dropped = NO_AMODAL if not whole.any() else NO_VISIBLE if not part.any() else None
    return Record(
        image=f"{clip}:{path.stem}",
        annotation=number,
        file="" if isinstance(seen, BadRecord) else f"{clip}/images/{path.stem}.bmp",  # no photo of an unknown size
        where=where,
        height=height,
        width=width,
        amodal=amodal,
        visible=visible,
        category=id_part(name),
        dropped=dropped,
        detail=detail,
    )


def _masks(path: Path, seen: Ids | BadRecord, number: int) -> tuple[Mask, Mask]:
    if isinstance(seen, BadRecord):
        raise seen
    whole = read_mask(path, threshold=0)
    if whole.shape != seen.shape:
        raise BadRecord(
            f"{path} is {whole.shape[1]} x {whole.shape[0]}, the id map of its frame is "
            f"{seen.shape[1]} x {seen.shape[0]} (width x height): they must be equal"
        )
    return whole, seen == number


def main(out: str, *scenes: str) -> None:
    """Write the index of some scenes."""
    pq.write_table(_index([Path(scene) for scene in scenes]), out)


if __name__ == "__main__":
    streams.guard()
    main(*sys.argv[1:])
