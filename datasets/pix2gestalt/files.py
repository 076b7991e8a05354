"""Which objects lie in the four folders of pix2gestalt's training set, and what their files are called.

In the release a file is called after its object and its folder: occlusion/10000_occlusion.png. One name in all four
folders is read as well. The list, of 837,000 objects, is kept for both splits and for all processes of a training
while the folders' stamps are the same: a file that comes, goes or is renamed changes its folder's.
"""

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from amodal_bench.errors import DatasetNotReady
from amodal_bench.files.paths import id_part, is_hidden, name_on_disk
from amodal_bench.files.stamp import stamp_of
from amodal_bench.formats.index import cached
from amodal_bench.formats.missing import missing, some
from amodal_bench.plugin import DatasetCard

ENDINGS = {  # by folder: what the release adds to the name of an object
    "occlusion": "_occlusion",
    "whole": "_whole",
    "whole_mask": "_whole_mask",
    "visible_object_mask": "_visible_mask",
}
SUFFIX = ".png"
MOST_NAMES = 5
_COLUMNS = [("id", pa.string()), ("naming", pa.int8())]
PLAIN, ENDED, MIXED = range(3)  # one name in all folders; the release's; some of a folder's files without its ending
Folders = Mapping[str, Path]  # by the keys of ENDINGS


class Objects(NamedTuple):
    """All objects, in the order of the names in occlusion/, and how their files are named."""

    ids: pa.ChunkedArray
    naming: int

    def name(self, folder: Path, kind: str, id: str) -> str:
        """The name of an object's file in the folder of that kind."""
        stem = name_on_disk(id)
        bare, ended = f"{stem}{SUFFIX}", f"{stem}{ENDINGS[kind]}{SUFFIX}"
        if self.naming == MIXED:
            return bare if (folder / bare).exists() else ended
        return bare if self.naming == PLAIN else ended


def find_objects(card: DatasetCard, root: Path, folders: Folders, cache: Path) -> Objects:
    """The objects of both splits; raises `DatasetNotReady` where a folder lacks one or has it twice."""
    for kind, folder in folders.items():
        if not folder.is_dir():
            raise missing(card, root, f"the folder {kind}/")
    now = time.time_ns()
    stamps = {str(folder.resolve()): stamp_of(folder) for folder in folders.values()}
    schema = pa.schema(_COLUMNS, metadata={"revision": "1", "folders": json.dumps(stamps)})
    path = cache / "index" / f"pix2gestalt-{hashlib.sha256(json.dumps(list(stamps)).encode()).hexdigest()[:32]}.arrow"
    if all(stamp and stamp.settled(now) for stamp in stamps.values()):
        table = cached(path, schema, lambda: _listed(card, root, folders, schema))
    else:
        table = _listed(card, root, folders, schema)
    return Objects(table["id"], table["naming"][0].as_py())


def _listed(card: DatasetCard, root: Path, folders: Folders, schema: pa.Schema) -> pa.Table:
    names = {
        kind: [e.name for e in os.scandir(folder) if e.name.endswith(SUFFIX) and not is_hidden(e.name)]
        for kind, folder in folders.items()
    }
    if not any(names.values()):
        raise missing(card, root, f"a file *{SUFFIX} in occlusion/")
    in_order = sorted(names["occlusion"])  # by the file's name: 10000_occlusion.png comes before 1000_occlusion.png
    if all(sorted(found) == in_order for found in names.values()):
        naming, ids = PLAIN, [_bare(name) for name in in_order]
    else:
        _check_pairs(root, names)
        ended = all(name.endswith(ENDINGS[kind] + SUFFIX) for kind, found in names.items() for name in found)
        naming, ids = ENDED if ended else MIXED, [_id(name, "occlusion") for name in in_order]
    return pa.table([pa.array(map(id_part, ids), pa.string()), pa.array([naming] * len(ids), pa.int8())], schema)


def _bare(name: str) -> str:
    return name.removesuffix(SUFFIX)


def _id(name: str, kind: str) -> str:
    return _bare(name).removesuffix(ENDINGS[kind])


def _check_pairs(root: Path, names: Mapping[str, Sequence[str]]) -> None:
    """Raise `DatasetNotReady` unless every folder has a file of every object: pairing by place would misalign masks."""
    by_id = {kind: {_id(name, kind): name for name in found} for kind, found in names.items()}
    for kind, found in by_id.items():
        twice = sorted(set(names[kind]) - set(found.values()))
        if twice:
            raise DatasetNotReady(
                f"{root / kind}: {len(twice)} objects have two files, the first {twice[0]} and "
                f"{found[_id(twice[0], kind)]}: remove one of each"
            )
    every = set().union(*by_id.values())
    absent = {kind: sorted(every - found.keys()) for kind, found in by_id.items() if len(found) < len(every)}
    if not absent:
        return
    listed = "; ".join(f"{kind}/ lacks {len(n)}: {_spelled(n, kind, names[kind])}" for kind, n in absent.items())
    counts = ", ".join(f"{len(found)} in {kind}/" for kind, found in by_id.items())
    raise DatasetNotReady(
        f"{root}: the folders must hold files of the same names, but there are {counts}; {listed}. Unpack the archive "
        "again, or remove the names that are not in all of them. Names are the same but for each folder's ending "
        f"({', '.join(f'ID{ending}{SUFFIX}' for ending in ENDINGS.values())})."
    )


def _spelled(ids: Sequence[str], kind: str, names: Sequence[str]) -> str:
    """Some of the files that a folder lacks, called as the others in it are."""
    ending = ENDINGS[kind] + SUFFIX
    suffix = ending if any(name.endswith(ending) for name in names) else SUFFIX
    return some([id + suffix for id in ids], MOST_NAMES)
