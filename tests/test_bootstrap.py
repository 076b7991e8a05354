import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy import stats

from amodal_bench.metrics import resampling
from amodal_bench.metrics.resampling import blocks, ratio_intervals


def test_groups_of_one_agree_with_scipys_percentile_bootstrap(rng: np.random.Generator) -> None:
    values = rng.beta(5, 2, size=400)
    low, high = ratio_intervals(values[:, None], np.ones((400, 1)), draws=4000)
    expected = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=4000, rng=rng).confidence_interval
    width = expected.high - expected.low
    assert low[0] == pytest.approx(expected.low, abs=0.06 * width)
    assert high[0] == pytest.approx(expected.high, abs=0.06 * width)


def test_instances_that_share_a_group_widen_the_interval(rng: np.random.Generator) -> None:
    groups, size = 100, 10
    values = rng.normal(size=groups).repeat(size) + 0.1 * rng.normal(size=groups * size)
    low, high = ratio_intervals(values.reshape(groups, size).sum(1)[:, None], np.full((groups, 1), float(size)))
    alone_low, alone_high = ratio_intervals(values[:, None], np.ones((groups * size, 1)))
    assert (high - low)[0] > 2.5 * (alone_high - alone_low)[0]


def test_a_pooled_ratio_is_resampled_as_a_ratio(rng: np.random.Generator) -> None:
    union = rng.integers(50, 5000, size=300).astype(float)
    intersection = union * rng.beta(6, 2, size=300)
    low, high = ratio_intervals(intersection[:, None], union[:, None], draws=3000, seed=1)

    def pooled(i: NDArray[np.float64], u: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
        return np.asarray(i.sum(axis=axis) / u.sum(axis=axis))

    expected = stats.bootstrap(
        (intersection, union), pooled, paired=True, method="percentile", n_resamples=3000, rng=rng
    ).confidence_interval
    width = expected.high - expected.low
    assert low[0] == pytest.approx(expected.low, abs=0.08 * width)
    assert high[0] == pytest.approx(expected.high, abs=0.08 * width)


def test_equal_seeds_give_equal_intervals_and_one_group_gives_none() -> None:
    top, bottom = np.array([[1.0, 0.0], [3.0, 2.0], [2.0, 0.0]]), np.array([[2.0, 0.0], [4.0, 2.0], [2.0, 0.0]])
    first, again = ratio_intervals(top, bottom, seed=3), ratio_intervals(top, bottom, seed=3)
    assert np.array_equal(first[0], again[0], equal_nan=True)
    assert np.isnan(first[0][1])  # a single group defines the second ratio
    assert np.isnan(first[1][1])
    assert first[0][0] <= 6 / 8 <= first[1][0]


def test_no_draws_and_no_groups_give_nan() -> None:
    assert np.isnan(ratio_intervals(np.ones((5, 1)), np.ones((5, 1)), draws=0)[0]).all()
    assert np.isnan(ratio_intervals(np.ones((0, 2)), np.ones((0, 2)))[1]).all()


def test_chunks_do_not_change_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    top, bottom = np.random.default_rng(0).random((50, 3)), np.ones((50, 3))
    whole = ratio_intervals(top, bottom, draws=100)
    monkeypatch.setattr("amodal_bench.metrics.resampling._CHUNK_BYTES", 8 * 50 * 7)
    assert np.allclose(ratio_intervals(top, bottom, draws=100), whole, rtol=1e-12)


def test_blocks_are_the_groups_in_the_order_of_their_names() -> None:
    names = pd.Series(["b", "a", "b", "c", "a10", "a9"])
    assert blocks(names).tolist() == pd.factorize(names, sort=True)[0].tolist() == [3, 0, 3, 4, 1, 2]


def test_very_many_groups_are_drawn_in_blocks_with_intervals_as_wide(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Groups of one to nine instances that are alike: 4,000 of them, and 1,000 blocks of four."""
    sizes = rng.integers(1, 10, size=4000)
    values = np.repeat(rng.normal(size=4000), sizes) + 0.3 * rng.normal(size=sizes.sum())
    names = pd.Series([f"{k:04d}" for k in np.repeat(np.arange(4000), sizes)])

    def interval() -> tuple[float, float]:
        codes = blocks(names)
        sums, counts = (np.bincount(codes, each).astype(np.float64) for each in (values, np.ones(len(codes))))
        low, high = ratio_intervals(sums[:, None], counts[:, None], draws=4000)
        return float(low[0]), float(high[0])

    low, high = interval()
    monkeypatch.setattr(resampling, "BLOCKS", 1000)
    assert blocks(names).max() == 999
    assert interval() == pytest.approx((low, high), abs=0.1 * (high - low))
