"""Answer the bounding box of the visible mask."""

from collections.abc import Sequence

import numpy as np

from amodal_bench.plugin import Method, MethodCard, Settings
from amodal_bench.types import AmodalQuery, Mask


class BoundingBox(Method[Settings]):
    """Every pixel between the outermost visible rows and columns."""

    card = MethodCard(title="Bounding box of the visible mask", paper="baseline", licence="Apache-2.0", batch_size=8)

    def predict(self, queries: Sequence[AmodalQuery], seeds: Sequence[int]) -> list[Mask]:
        """One box a query."""
        return [box(query.visible) for query in queries]


def box(mask: Mask) -> Mask:
    """The filled bounding box (H, W) of a mask that is not empty."""
    rows, columns = np.nonzero(mask)
    filled = np.zeros_like(mask)
    filled[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = True
    return filled
