"""Which pieces of a mask lie next to an object. No torch here."""

import numpy as np
from scipy import ndimage

from amodal_bench.types import Mask

_NEAR = 3  # pixels of the network's square: its outlines are that sure
_EIGHT = np.ones((3, 3), dtype=np.bool_)


def adjoining(others: Mask, seen: Mask) -> Mask:
    """The 8-connected pieces of `others` (S, S) with a pixel at most 3 rows and columns from one of `seen` (S, S)."""
    near = ndimage.binary_dilation(seen, _EIGHT, iterations=_NEAR)
    pieces, count = ndimage.label(others, _EIGHT)
    touching = np.zeros(count + 1, dtype=np.bool_)
    touching[np.unique(pieces[near & others])] = True
    touching[0] = False
    return np.asarray(touching[pieces])
