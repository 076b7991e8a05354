"""The floor of every comparison: the visible mask itself as the answer, made from the counts of any run."""

import numpy as np
import pandas as pd

from amodal_bench.masks.counts import COLUMNS, GIVEN, GIVEN_COLUMNS, PREDICTED, VISIBLE
from amodal_bench.metrics.cells import cell_table


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
    return frame.assign(**{name: floor[:, column] for column, name in enumerate(names)})
