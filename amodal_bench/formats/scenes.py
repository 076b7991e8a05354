"""Layouts with a file for every mask and a folder a scene: the index is made of all of them, on all cores.

A layout's module reads some scenes when it is run as `python -m MODULE OUT.parquet [ARGUMENT ...] SCENE ...`, so that
a large set is shared out to processes that need no main guard.
"""

import logging
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from amodal_bench.files import processes
from amodal_bench.files.paths import id_part

log = logging.getLogger(__name__)

_SHARE = 2_000  # masks that are worth a process


def scenes_index(
    sizes: Mapping[Path, int], module: str, arguments: Sequence[str], read: Callable[[Sequence[Path]], pa.Table]
) -> pa.Table:
    """The table of `INDEX` for scenes with so many masks each, in their order.

    `read` makes that of some scenes; where there are many masks `module` is run with `arguments` instead. The image
    part of an id must be `SCENE:FRAME`.
    """
    scenes, total = list(sizes), sum(sizes.values())
    log.info("%d masks of %d scenes are decoded, once", total, len(scenes))
    parts = min(os.cpu_count() or 1, total // _SHARE, len(scenes))
    if parts < 2:
        return read(scenes)
    with tempfile.TemporaryDirectory() as folder:
        outs = [Path(folder) / f"{k}.parquet" for k in range(parts)]
        groups = zip(outs, shared_out(sizes, parts), strict=True)
        commands = [[str(out), *arguments, *map(str, group)] for out, group in groups]
        if any(processes.run(module, commands)):
            return read(scenes)
        table = pa.concat_tables([pq.read_table(out) for out in outs])
    # Scenes come back in the order of the shares; a stable sort by scene restores that of the folder.
    rank = {id_part(scene.name): k for k, scene in enumerate(scenes)}
    order = np.argsort([rank[name.rpartition(":")[0]] for name in table["image"].to_pylist()], kind="stable")
    return table.take(order)


def shared_out(sizes: Mapping[Path, int], parts: int) -> list[list[Path]]:
    """Scenes in lists of about equal numbers of masks: each, the largest first, to the list with the fewest."""
    groups: list[list[Path]] = [[] for _ in range(parts)]
    loads = [0] * parts
    for scene in sorted(sizes, key=lambda scene: (-sizes[scene], scene)):
        lightest = loads.index(min(loads))
        groups[lightest].append(scene)
        loads[lightest] += sizes[scene]
    return groups
