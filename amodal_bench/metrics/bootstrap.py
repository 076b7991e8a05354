"""Percentile bootstrap intervals that draw whole groups, since instances of one image are not independent."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
BLOCKS = 5_000
_CHUNK_BYTES = 16 << 20


def blocks(groups: pd.Series) -> Codes:
    """Number (N,) of each instance's group, in the order of the groups' names: what is drawn together.

    More than `BLOCKS` groups are put together into so many blocks, each of every `BLOCKS`-th group in the order of the
    instances. Sums over blocks of independent groups have the same variance; estimated from B blocks, the width of an
    interval has a relative standard error of 1 / sqrt(2 B), here 1 %, where 2,000 draws alone leave about 3 %.
    """
    codes, names = pd.factorize(groups, sort=False)
    if len(names) > BLOCKS:
        return np.asarray(codes % BLOCKS, dtype=np.int64)
    places = np.empty(len(names), dtype=np.int64)
    places[np.argsort(np.asarray(names, dtype=object))] = np.arange(len(names))
    return np.asarray(places[codes], dtype=np.int64)


def ratio_intervals(
    numerators: Floats, denominators: Floats, draws: int = 2000, level: float = 0.95, seed: int = 0
) -> tuple[Floats, Floats]:
    """Intervals of K ratios of sums over the same G groups.

    Groups are drawn with replacement, G a draw, the same ones for all ratios; each ratio is the sum of its
    drawn numerators over that of its denominators, which covers a mean of instances (IoU over ones) and pooled
    pixels alike (Davison & Hinkley 1997, section 3.8: cluster resampling).

    Args:
        numerators: (G, K) sums within each group.
        denominators: (G, K), >= 0.
        draws: how often to resample.
        level: share of the draws inside the interval.
        seed: of the draws; equal seeds and G give equal draws.

    Returns:
        (K,) lower and (K,) upper ends. NaN where fewer than two groups define the ratio, or with no draws.
    """
    ratios = numerators.shape[1]
    defined = (denominators > 0).sum(axis=0) >= 2
    nothing = np.full(ratios, np.nan)
    if draws == 0 or not defined.any():
        return nothing, nothing.copy()
    columns = np.concatenate([numerators[:, defined], denominators[:, defined]], axis=1)
    sums = resampled_sums(columns, draws, np.random.default_rng(seed))
    top, bottom = np.split(sums, 2, axis=1)
    values = np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0)
    tail = 100 * (1 - level) / 2
    low, high = nothing, nothing.copy()
    low[defined], high[defined] = np.nanpercentile(values, [tail, 100 - tail], axis=0)
    return low, high


def resampled_sums(columns: Floats, draws: int, rng: np.random.Generator) -> Floats:
    """(draws, C) sums of the rows of `columns` (G, C), each row as often as it was drawn."""
    groups = len(columns)
    chunk = max(1, _CHUNK_BYTES // (8 * groups))
    sums = np.empty((draws, columns.shape[1]))
    for start in range(0, draws, chunk):
        stop = min(start + chunk, draws)
        times = np.empty((stop - start, groups))
        for drawn in times:
            drawn[:] = np.bincount(rng.integers(groups, size=groups), minlength=groups)
        sums[start:stop] = times @ columns
    return sums
