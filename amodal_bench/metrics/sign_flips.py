"""Statistics of a difference between two ratios over the same groups: bootstrap interval and sign-flip test."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from amodal_bench.metrics.bootstrap import Floats, resampled_sums

_CHUNK_BYTES = 64 << 20
_CLOSE = 1e-12  # sums of the same numbers in another order differ by less


def difference_intervals(sums: Floats, draws: int = 2000, level: float = 0.95, seed: int = 0) -> tuple[Floats, Floats]:
    """Percentile intervals of K differences of ratios, both ratios on the same drawn groups.

    Args:
        sums: (G, 4, K) within each group: numerator and denominator of A, numerator and denominator of B.
        draws: how often G groups are drawn with replacement; 0 gives NaN.
        level: share of the draws inside the interval.
        seed: of the draws.

    Returns:
        (K,) lower and (K,) upper ends; NaN where fewer than two groups define the difference.
    """
    groups, _, width = sums.shape
    low, high = np.full(width, np.nan), np.full(width, np.nan)
    defined = _defined(sums)
    if draws == 0 or not defined.any():
        return low, high
    chosen = np.ascontiguousarray(sums[:, :, defined])
    drawn = resampled_sums(chosen.reshape(groups, -1), draws, np.random.default_rng(seed))
    values = _difference(drawn.reshape(draws, 4, -1))
    tail = 100 * (1 - level) / 2
    low[defined], high[defined] = np.nanpercentile(values, [tail, 100 - tail], axis=0)
    return low, high


def sign_flip_p(sums: Floats, draws: int = 2000, seed: int = 0) -> Floats:
    """Two-sided p-values (K,) of "A and B are exchangeable within a group".

    Every draw swaps A and B in a random half of the groups, which for means is to flip the sign of a group's
    difference (Good 2005, section 3.2). All 2^G swaps are taken where there are no more than `draws`, and p is
    exact; else p = (1 + k) / (1 + draws), with k draws at least as far from 0 as what was seen (Phipson & Smyth
    2010). Groups without a difference do not matter and are not counted in G.

    Args:
        sums: (G, 4, K), as in `difference_intervals`.
        draws: how many swaps; 0 gives NaN.
        seed: of the draws.
    """
    p = np.full(sums.shape[2], np.nan)
    defined = _defined(sums)
    if draws == 0 or not defined.any():
        return p
    chosen = sums[:, :, defined]
    moving = (chosen[:, :2] != chosen[:, 2:]).any(axis=(1, 2))
    total = chosen.sum(axis=0)
    seen = np.abs(_difference(total[None]))[0]
    shift = (chosen[moving, 2:] - chosen[moving, :2]).reshape(int(moving.sum()), 2 * chosen.shape[2])
    beyond, count = np.zeros(len(seen), dtype=np.int64), 0
    exact = 2 ** min(len(shift), 62) <= draws
    for swaps in _swaps(len(shift), None if exact else draws, np.random.default_rng(seed)):
        moved = (swaps @ shift).reshape(len(swaps), 2, -1)
        swapped = np.concatenate([total[None, :2] + moved, total[None, 2:] - moved], axis=1)
        beyond += (np.abs(_difference(swapped)) >= seen - _CLOSE).sum(axis=0)
        count += len(swaps)
    p[defined] = beyond / count if exact else (1 + beyond) / (1 + count)
    return p


def _swaps(groups: int, draws: int | None, rng: np.random.Generator) -> Iterator[Floats]:
    """Matrices of 0 and 1, (rows, groups): all 2^groups rows where `draws` is None, else so many random ones."""
    if draws is None:
        yield ((np.arange(2**groups)[:, None] >> np.arange(groups)) & 1).astype(np.float64)
        return
    chunk = max(1, _CHUNK_BYTES // (8 * max(1, groups)))
    for start in range(0, draws, chunk):
        yield rng.integers(2, size=(min(chunk, draws - start), groups)).astype(np.float64)


def _difference(sums: Floats) -> Floats:
    """(D, K) difference of the two ratios of sums (D, 4, K); NaN where a denominator is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        difference: Floats = sums[:, 0] / sums[:, 1] - sums[:, 2] / sums[:, 3]
    return difference


def _defined(sums: Floats) -> NDArray[np.bool_]:
    """(K,) whether at least two groups define both ratios."""
    return np.asarray(((sums[:, 1] > 0).sum(axis=0) >= 2) & ((sums[:, 3] > 0).sum(axis=0) >= 2))
