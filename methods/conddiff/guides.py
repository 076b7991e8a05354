"""What can be told of a visible mask alone and helps to complete it: further input channels of the network."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from amodal_bench.masks.hull import hull_mask
from amodal_bench.types import Mask

Channels = NDArray[np.float32]  # (1 + G, S, S)
_FAR = 0.25  # of the frame's side: from here on, a distance is 1


def hull(visible: Mask) -> Channels:
    """1 inside the convex hull of the visible mask (S, S), else 0."""
    return hull_mask(visible).astype(np.float32)


def distance(visible: Mask) -> Channels:
    """Distance to the visible mask's edge over a quarter of the frame, in [-1, 1], negative inside."""
    outside = ndimage.distance_transform_edt(~visible)
    inside = ndimage.distance_transform_edt(visible) if not visible.all() else np.full(visible.shape, np.inf)
    return np.clip((outside - inside) / (_FAR * len(visible)), -1, 1).astype(np.float32)


_GUIDES = {"hull": hull, "distance": distance}


def with_guides(visible: Mask, names: Sequence[str]) -> Channels:
    """The visible mask (S, S) as 0 and 1, then one channel for each name; the mask is not empty."""
    return np.stack([visible.astype(np.float32), *(_GUIDES[name](visible) for name in names)])
