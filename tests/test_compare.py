"""Paired statistics against scipy, on simulated clustered data, and on frames that must be refused."""

import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy import stats
from typer.testing import CliRunner, Result

from amodal_bench.cli import application
from amodal_bench.errors import Refused
from amodal_bench.masks.counts import COLUMNS
from amodal_bench.metrics.compare import compare, compare_all, holm
from amodal_bench.metrics.protocol import find_protocol
from amodal_bench.metrics.resampling import difference_intervals, ratio_intervals, sign_flip_p
from amodal_bench.metrics.scores import by_instance, metrics
from amodal_bench.store import folder as store

app = application()

RUNS = Path(__file__).parent / "data" / "runs"
Floats = NDArray[np.float64]
MEAN, POOLED = find_protocol("instance-mean/1"), find_protocol("pooled/1")


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def sums_of(a: Floats, b: Floats) -> Floats:
    """Groups of one instance each, as means: (G, 4, 1)."""
    ones = np.ones_like(a)
    return np.stack([a, ones, b, ones], axis=1)[:, :, None]


def frames(rng: np.random.Generator, n: int = 300, group: int = 3) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two runs on the same invented truth; A finds more."""
    truth = rng.integers(5, 200, size=(n, 4))  # neither, amodal only, visible only (a fault), both
    truth[:, 2] = 0
    truth[::4, 1] = 0
    runs = []
    for skill in (0.8, 0.6):
        share = np.clip(rng.normal([0.1, skill, 0.5, 0.9], 0.1, size=(n, 4)), 0, 1)
        found = (truth * share).astype(int)
        cells = np.zeros((n, 8), dtype=np.int64)
        for column, bits in enumerate((0, 2, 4, 6)):
            cells[:, bits], cells[:, bits + 1] = truth[:, column] - found[:, column], found[:, column]
        runs.append(
            pd.DataFrame(cells, columns=list(COLUMNS)).assign(
                id=[f"x/test/{k // group:04d}/{k}" for k in range(n)],
                group_id=[f"{k // group:04d}" for k in range(n)],
                category=np.array(["cat", "dog", None], dtype=object)[np.arange(n) % 3],
            )
        )
    return runs[0], runs[1]


def test_single_instances_agree_with_scipys_exact_sign_flips(rng: np.random.Generator) -> None:
    a, b = rng.random(9), rng.random(9)
    expected = stats.permutation_test(
        (a - b,), np.mean, permutation_type="samples", n_resamples=2**9, alternative="two-sided"
    )
    assert sign_flip_p(sums_of(a, b))[0] == pytest.approx(expected.pvalue, abs=1e-12)


def test_many_instances_agree_with_scipys_random_sign_flips(rng: np.random.Generator) -> None:
    a = rng.random(200)
    b = a + rng.normal(0.02, 0.15, 200)
    expected = stats.permutation_test(
        (a - b,), np.mean, permutation_type="samples", n_resamples=9999, alternative="two-sided", rng=rng
    )
    assert sign_flip_p(sums_of(a, b), draws=9999)[0] == pytest.approx(expected.pvalue, abs=0.02)


def test_single_instances_agree_with_scipys_bootstrap_of_differences(rng: np.random.Generator) -> None:
    a = rng.beta(5, 2, 400)
    b = np.clip(a + rng.normal(-0.05, 0.1, 400), 0, 1)
    low, high = difference_intervals(sums_of(a, b), draws=4000)
    expected = stats.bootstrap((a - b,), np.mean, method="percentile", n_resamples=4000, rng=rng).confidence_interval
    width = expected.high - expected.low
    assert low[0] == pytest.approx(expected.low, abs=0.06 * width)
    assert high[0] == pytest.approx(expected.high, abs=0.06 * width)


def clustered(rng: np.random.Generator, groups: int, pooled: bool) -> tuple[Floats, Floats, Floats]:
    """(group, numerator, denominator) of instances whose quality and size are shared within their image."""
    size = rng.integers(2, 12, groups)
    group = np.repeat(np.arange(groups), size)
    quality = np.clip(rng.beta(6, 3, groups)[group] + rng.normal(0, 0.05, len(group)), 0, 1)
    area = rng.integers(50, 1500, groups)[group] * rng.uniform(0.8, 1.2, len(group)) if pooled else np.ones(len(group))
    return group.astype(np.float64), quality * area, area


def covers(rng: np.random.Generator, pooled: bool, by_group: bool, groups: int = 200, draws: int = 400) -> bool:
    group, top, bottom = clustered(rng, groups, pooled)
    keys = group.astype(np.int64) if by_group else np.arange(len(group))
    sums = [np.bincount(keys, part)[:, None].astype(np.float64) for part in (top, bottom)]
    low, high = ratio_intervals(sums[0], sums[1], draws=draws, seed=int(rng.integers(1 << 30)))
    # Sizes and qualities are independent, so both aggregates estimate the mean quality (clipping moves it by < 1e-3).
    return bool(low[0] <= true_quality() <= high[0])


@cache
def true_quality() -> float:
    rng = np.random.default_rng(1)
    return float(np.clip(rng.beta(6, 3, 2_000_000) + rng.normal(0, 0.05, 2_000_000), 0, 1).mean())


@pytest.mark.parametrize("pooled", [False, True])
def test_the_clustered_interval_covers_in_500_trials_and_the_iid_one_does_not(pooled: bool) -> None:
    rng = np.random.default_rng(11)
    clusters = np.mean([covers(rng, pooled, by_group=True) for _ in range(500)])
    assert 0.92 <= clusters <= 0.97
    alone = np.mean([covers(rng, pooled, by_group=False, draws=150) for _ in range(150)])
    assert alone < 0.75


@pytest.mark.parametrize("pooled", [False, True])
def test_the_paired_test_has_its_nominal_level_and_finds_a_difference(pooled: bool) -> None:
    rng = np.random.default_rng(5)
    found = {0.0: [], 0.06: []}  # type: dict[float, list[bool]]
    for effect, hits in found.items():
        for _ in range(1000 if effect == 0 else 100):
            group, top, bottom = clustered(rng, 40, pooled)
            keys = group.astype(np.int64)
            shift = rng.normal(effect, 0.1, 40)[keys] + rng.normal(0, 0.05, len(keys))
            other = top + shift * bottom
            sums = np.stack([np.bincount(keys, x).astype(np.float64) for x in (other, bottom, top, bottom)], axis=1)
            hits.append(bool(sign_flip_p(sums[:, :, None], draws=300, seed=int(rng.integers(1 << 30)))[0] <= 0.05))
    assert 0.035 <= np.mean(found[0.0]) <= 0.065
    assert np.mean(found[0.06]) > 0.6


@pytest.mark.parametrize("protocol", ["instance-mean/1", "pooled/1", "sdamodal/1", "c2f/1"])
def test_a_comparison_is_the_difference_of_two_scores_with_wins_counted_by_hand(
    protocol: str, rng: np.random.Generator
) -> None:
    a, b = frames(rng)
    rules = find_protocol(protocol)
    found = compare(a, b.sample(frac=1, random_state=1), rules, draws=200)
    for row in found.metrics.to_dict("records"):
        tables = [metrics(f, rules, draws=0) for f in (a, b)]
        values = [t[(t["subset"] == "all") & (t["metric"] == row["metric"])]["value"].item() for t in tables]
        assert [row["a"], row["b"]] == pytest.approx(values)
        assert row["difference"] == pytest.approx(values[0] - values[1])
        assert row["low"] < row["difference"] < row["high"]
        name = {"mIoU_full": "iou_full", "mIoU_inv": "iou_inv"}[row["metric"]]
        x, y = (by_instance(f, rules)[name] for f in (a, b))
        assert (row["wins"], row["losses"]) == (int((x > y).sum()), int((x < y).sum()))
        assert row["ties"] == int((x == y).sum())
    assert len(found.buckets) == len(rules.buckets) * 2
    assert sorted(set(found.categories["category"])) == ["cat", "dog"]
    full = found.categories[found.categories["metric"] == "mIoU_full"]
    assert full["n"].tolist() == [100, 100]


def test_the_ten_largest_differences_are_sorted(rng: np.random.Generator) -> None:
    a, b = frames(rng)
    flips = compare(a, b, MEAN, draws=10).flips
    gaps = (by_instance(a, MEAN)["iou_full"] - by_instance(b, MEAN)["iou_full"]).abs().sort_values(ascending=False)
    assert flips["difference"].abs().tolist() == pytest.approx((100 * gaps.head(10)).tolist())
    assert set(flips) == {"id", "category", "rate", "a", "b", "difference"}


def test_a_run_against_itself_differs_in_nothing(rng: np.random.Generator) -> None:
    a, _ = frames(rng)
    found = compare(a, a, POOLED, draws=50)
    assert found.metrics[["difference", "low", "high", "wins", "losses"]].to_numpy().tolist() == [[0.0] * 5] * 2
    assert found.metrics["p"].tolist() == [1.0, 1.0]
    assert found.flips.empty


def test_swapping_the_runs_turns_the_sign(rng: np.random.Generator) -> None:
    a, b = frames(rng)
    one, two = compare(a, b, MEAN, draws=300).metrics, compare(b, a, MEAN, draws=300).metrics
    assert one["difference"].tolist() == pytest.approx((-two["difference"]).tolist())
    assert one["low"].tolist() == pytest.approx((-two["high"]).tolist())
    assert one["p"].tolist() == pytest.approx(two["p"].tolist())


def test_instances_of_one_run_only_are_left_out_and_counted(rng: np.random.Generator) -> None:
    a, b = frames(rng)
    found = compare(a.iloc[10:], b.iloc[:-5], MEAN, draws=10)
    assert (found.n, found.only_a, found.only_b) == (285, 5, 10)


def test_no_common_instance_other_truths_and_doubled_rows_are_refused(rng: np.random.Generator) -> None:
    a, b = frames(rng)
    with pytest.raises(
        Refused, match=r"share no instance \(A has x/test/0000/0, B has y/0\): compare runs on the same"
    ):
        compare(a, b.assign(id=[f"y/{k}" for k in range(len(b))]), MEAN)
    with pytest.raises(Refused, match="B has no instance"):
        compare(a, b.iloc[:0], MEAN)
    moved = b.copy()
    moved.loc[7, ["v0", "v2"]] += [-1, 1]
    with pytest.raises(
        Refused, match="1 of 300 instances have other true masks in A than in B, the first is x/test/0002/7"
    ):
        compare(a, moved, MEAN)
    with pytest.raises(Refused, match="run B has x/test/0000/0 twice"):
        compare(a, pd.concat([b, b.iloc[:1]], ignore_index=True), MEAN)


def test_a_bucket_without_instances_is_nan_everywhere(rng: np.random.Generator) -> None:
    a, b = frames(rng)
    seen = by_instance(a, MEAN)["rate"] == 0
    found = compare(a[seen], b[seen], MEAN, draws=20)
    hidden = found.metrics[found.metrics["metric"] == "mIoU_inv"].iloc[0]
    assert np.isnan([hidden["a"], hidden["difference"], hidden["low"], hidden["p"]]).all()
    assert (hidden["n"], hidden["wins"]) == (0, 0)


def test_holm_steps_down_and_stays_monotone() -> None:
    # Holm (1979), worked: 4 * .01, 3 * .02, then max(2 * .03, .06), then 1 * .04 raised to .06.
    assert holm([0.03, 0.01, 0.04, 0.02]).tolist() == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.6, 0.7]).tolist() == [1.0, 1.0]
    corrected = holm([0.01, float("nan"), 0.02])
    assert corrected[[0, 2]].tolist() == pytest.approx([0.02, 0.02])
    assert np.isnan(corrected[1])


def test_every_pair_of_three_runs_is_corrected(rng: np.random.Generator) -> None:
    a, b = frames(rng)
    table = compare_all({"a": a, "b": b, "again": b}, MEAN, draws=100)
    assert table[["first", "second"]].drop_duplicates().to_numpy().tolist() == [
        ["a", "b"],
        ["a", "again"],
        ["b", "again"],
    ]
    full = table[table["metric"] == "mIoU_full"]
    assert full["p_holm"].tolist() == pytest.approx(holm(full["p"].tolist()).tolist())
    with pytest.raises(Refused, match="at least two runs, got 1"):
        compare_all({"a": a}, MEAN)


def test_the_command_finds_runs_by_name_and_by_folder() -> None:
    done = call("compare", "convex_hull", "visible", "-d", "squares", "--results", RUNS)
    assert done.exit_code == 0, done.output
    assert "A = convex_hull, B = visible on squares/test, protocol instance-mean/1, 24 instances" in done.output
    assert "+15.00 [+6.25, +24.58]" in done.output
    folders = [next((RUNS / "squares" / "test" / name).iterdir()) for name in ("convex_hull", "visible", "dilate")]
    three = call("compare", *folders, "--protocol", "pooled/1")
    assert three.exit_code == 0, three.output
    assert "p (Holm)" in three.output


def test_the_command_refuses_what_cannot_be_compared(tmp_path: Path) -> None:
    results = tmp_path / "results"
    shutil.copytree(RUNS, results)
    for arguments, message in (
        (["visible"], "at least two runs, got 1"),
        (["visible", "visibel", "-d", "squares"], "Did you mean 'visible'?"),
        (["visible", "convex_hull"], "2 runs are called visible: say which with --dataset"),
        (
            ["visible", "dilate", "-d", "synthetic"],
            "no finished run of dilate on what was asked for; there are: squares",
        ),
        (["visible", "visible", "-d", "squares"], "a run was named twice"),
        ([next((results / d / "test" / "visible").iterdir()) for d in ("squares", "synthetic")], "differ in dataset"),
    ):
        done = call("compare", *arguments, "--results", results)
        assert isinstance(done.exception, Refused), done.output
        assert message in str(done.exception)


def test_large_runs_take_seconds(rng: np.random.Generator) -> None:
    a, b = frames(rng, n=20_000)
    assert len(compare(a, b, MEAN, draws=500).metrics) == 2


def test_golden_runs_are_compared_exactly() -> None:
    """Eight images: all 256 swaps are taken, and the p of the largest difference is 2 over 2^(images that differ)."""
    runs = {f.record()["preset"]: f.instances() for f in store.find_runs(RUNS) if f.spec().dataset == "squares"}
    found = compare(runs["convex_hull"], runs["visible"], MEAN).metrics.set_index("metric")
    assert found["p"]["mIoU_full"] == 2 / 2**7
    assert (found["wins"]["mIoU_full"], found["ties"]["mIoU_full"]) == (10, 14)


def test_two_runs_of_one_name_are_told_apart_by_their_keys(tmp_path: Path) -> None:
    (run,) = (RUNS / "squares" / "test" / "dilate").iterdir()
    for key in ("a" * 12, "b" * 12):
        shutil.copytree(run, tmp_path / key)
    done = call("compare", tmp_path / ("a" * 12), tmp_path / ("b" * 12))
    assert done.exit_code == 0, done.output
    assert f"A = dilate [{'a' * 12}], B = dilate [{'b' * 12}]" in done.output
