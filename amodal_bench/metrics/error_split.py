"""Where a method's error lies: what it misses of the visible and of the hidden part, and what it adds."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from amodal_bench.masks.counts import AMODAL, COLUMNS, GIVEN, GIVEN_COLUMNS, PREDICTED, VISIBLE
from amodal_bench.metrics.protocol import Protocol
from amodal_bench.metrics.scores import Floats, cell_table, score

SHARES = ("visible_missed", "hidden_missed", "spill", "found")


def error_split(frame: pd.DataFrame, protocol: Protocol) -> pd.DataFrame:
    """Shares of the union of prediction and amodal mask, overall and per bucket of the protocol.

    `found` is |P & A|, `visible_missed` |A & V - P|, `hidden_missed` |A - V - P| and `spill` |P - A|, each over
    |P | A|: fractions that add to 1, so that `found` is the protocol's full IoU and the others say where the rest
    went. They are put together like the protocol's full score: a mean over instances, or pooled pixels.

    Args:
        frame: rows of instances.parquet without errors.
        protocol: whose aggregate, pasting and buckets are taken.

    Returns:
        One row for `all` and one per bucket: subset, visible_missed, hidden_missed, spill, found, n. NaN where
        n = 0.
    """
    scores = score(frame, protocol)
    table = cell_table(frame)
    amodal, hidden = _area(table, AMODAL, AMODAL), _area(table, AMODAL | VISIBLE, AMODAL)
    hidden_found = _hidden_found(table, protocol)
    parts = {
        "visible_missed": np.maximum(amodal - scores.intersection - (hidden - hidden_found), 0.0),
        "hidden_missed": hidden - hidden_found,
        "spill": scores.union - np.maximum(amodal, scores.intersection),
        "found": scores.intersection,
    }
    subsets = {"all": np.ones(len(frame), dtype=np.bool_)}
    subsets |= {str(bucket): bucket.contains(scores.rate) for bucket in protocol.buckets}
    rows = []
    for name, inside in subsets.items():
        counted = inside & scores.counted & (scores.union > 0)
        values = {
            k: _share(v[counted], scores.union[counted], protocol.aggregate == "pooled") for k, v in parts.items()
        }
        rows.append({"subset": name, **values, "n": int(counted.sum())})
    return pd.DataFrame(rows)


def floor_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """The counts of the method that answers with the visible mask it was given: the floor of every comparison.

    Made from the counts of any run on the same data, so it needs no run of its own.
    """
    table = cell_table(frame)
    width = table.shape[1]
    bit = GIVEN if width == 16 else VISIBLE
    floor = np.zeros_like(table)
    for k in range(width):
        floor[:, (k | PREDICTED) if k & bit else k & ~PREDICTED] += table[:, k]
    names = [*COLUMNS, *GIVEN_COLUMNS][:width]
    return frame.assign(**{name: floor[:, place] for place, name in enumerate(names)})


def _area(table: NDArray[np.int64], mask: int, bits: int) -> Floats:
    """(N,) pixels whose bits under `mask` are `bits`."""
    chosen = (np.arange(table.shape[1]) & mask) == bits
    return np.asarray(table[:, chosen].sum(axis=1), dtype=np.float64)


def _hidden_found(table: NDArray[np.int64], protocol: Protocol) -> Floats:
    """(N,) hidden pixels that are predicted, or pasted with the mask that was given."""
    found = _area(table, PREDICTED | AMODAL | VISIBLE, PREDICTED | AMODAL)
    if protocol.paste and table.shape[1] == 16:
        found += _area(table, PREDICTED | AMODAL | VISIBLE | GIVEN, AMODAL | GIVEN)
    return found


def _share(part: Floats, union: Floats, pooled: bool) -> float:
    if not len(union):
        return float("nan")
    return float(part.sum() / union.sum()) if pooled else float((part / union).mean())
