"""Id maps: an image file of whole numbers, which say whose each pixel is."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amodal_bench.errors import BadRecord
from amodal_bench.files.stamp import remembered
from amodal_bench.masks.images import opened

MODES = ("1", "L", "P", "I", "I;16", "I;16L", "I;16B")
Ids = NDArray[np.integer[Any]]


@remembered(4)
def read_id_map(path: Path) -> Ids:
    """(H, W) whole numbers, of a palette its places; raises `BadRecord` naming file and mode."""
    with opened(path) as image:
        if image.mode not in MODES:
            raise BadRecord(f"{path}: an id map has one whole number a pixel, this is an image of mode {image.mode}")
        ids: Ids = np.asarray(image).astype(np.int32)
    ids.setflags(write=False)
    return ids
