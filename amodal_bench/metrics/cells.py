"""The counts of many instances as one table, as they are stored and as a protocol sees them."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from amodal_bench.masks.counts import AMODAL, COLUMNS, GIVEN, GIVEN_COLUMNS, PREDICTED, VISIBLE
from amodal_bench.metrics.protocol import Protocol

Bools = NDArray[np.bool_]
Cells = NDArray[np.int64]


def cell_table(frame: pd.DataFrame) -> Cells:
    """Counts (N, 8), or (N, 16) where the method was given other visible masks."""
    names = [*COLUMNS, *GIVEN_COLUMNS] if _is_wide(frame) else list(COLUMNS)
    return frame[names].to_numpy(dtype=np.int64)


def _is_wide(frame: pd.DataFrame) -> bool:
    columns = [c for c in GIVEN_COLUMNS if c in frame]
    return len(frame) > 0 and len(columns) == len(GIVEN_COLUMNS) and all(frame[c].notna().all() for c in columns)


def effective_counts(table: Cells, protocol: Protocol) -> Cells:
    """Counts (N, 8) as a protocol sees them, of counts (N, 8) or (N, 16): pasted, and the visible mask clipped.

    What is pasted is the mask that the method was given, which is the true visible one where there are eight counts.
    """
    width = table.shape[1]
    pasted = GIVEN if width == 16 else VISIBLE
    folded = np.zeros((8, len(table)), dtype=np.int64)  # each kind in one piece: they are summed kind by kind
    for k in range(width):
        predicted = k & PREDICTED or (protocol.paste and k & pasted)
        visible = k & VISIBLE and (k & AMODAL or not protocol.clip_visible)
        folded[(PREDICTED if predicted else 0) | k & AMODAL | (VISIBLE if visible else 0)] += table[:, k]
    return folded.T


def unmatched(frame: pd.DataFrame) -> Bools:
    """Rows to which no visible mask from elsewhere was given: the mask that the method was given is empty."""
    return ungiven(cell_table(frame)) if _is_wide(frame) else np.zeros(len(frame), dtype=np.bool_)


def ungiven(table: Cells) -> Bools:
    """Which instances of counts (N, 8) or (N, 16) were given an empty mask; none where there are eight counts."""
    if table.shape[1] == GIVEN:
        return np.zeros(len(table), dtype=np.bool_)
    return np.asarray(table[:, GIVEN:].sum(axis=1) == 0, dtype=np.bool_)
