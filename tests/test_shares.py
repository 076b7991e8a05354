"""The error split against masks, and the floor that the counts give."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amodal_bench.masks.counts import COLUMNS, GIVEN_COLUMNS, venn
from amodal_bench.metrics.error_split import SHARES, error_split, floor_frame
from amodal_bench.metrics.protocol import find_protocol, protocols
from amodal_bench.metrics.scores import metrics
from amodal_bench.types import Mask

Four = tuple[Mask, Mask, Mask, Mask]  # predicted, amodal, visible, given


def scene(rng: np.random.Generator) -> Four:
    amodal = rng.random((9, 11)) < 0.5
    visible = amodal & (rng.random((9, 11)) < 0.6)
    visible[0, 0] = rng.random() < 0.5  # may lie outside the amodal mask
    return rng.random((9, 11)) < 0.5, amodal, visible, rng.random((9, 11)) < 0.4


def frame_of(scenes: Sequence[Four], wide: bool) -> pd.DataFrame:
    names = [*COLUMNS, *(GIVEN_COLUMNS if wide else ())]
    rows = [venn(*masks[: 4 if wide else 3]) for masks in scenes]
    return pd.DataFrame(np.array(rows), columns=names).assign(group_id=[str(k) for k in range(len(rows))])


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("protocol", sorted(protocols()))
def test_shares_are_those_of_the_masks(protocol: str, wide: bool, rng: np.random.Generator) -> None:
    rules = find_protocol(protocol)
    scenes = [scene(rng) for _ in range(40)]
    parts = []
    for predicted, amodal, visible, given_mask in scenes:
        p = predicted | (given_mask if wide else visible) if rules.paste else predicted
        sizes = [(amodal & visible & ~p).sum(), (amodal & ~visible & ~p).sum(), (p & ~amodal).sum(), (p & amodal).sum()]
        parts.append([*sizes, (p | amodal).sum()])
    table = np.array(parts, dtype=float)
    pooled = rules.aggregate == "pooled"
    wanted = table[:, :4].sum(0) / table[:, 4].sum() if pooled else (table[:, :4] / table[:, 4:]).mean(0)
    row = error_split(frame_of(scenes, wide), rules).iloc[0]
    assert row[list(SHARES)].tolist() == pytest.approx(wanted.tolist(), abs=1e-12)
    assert row["n"] == 40


@given(seed=st.integers(0, 10_000), protocol=st.sampled_from(sorted(protocols())))
def test_shares_add_to_one_and_found_is_the_score(seed: int, protocol: str) -> None:
    rng = np.random.default_rng(seed)
    frame = frame_of([scene(rng) for _ in range(5)], wide=False)
    rules = find_protocol(protocol)
    table = error_split(frame, rules)
    filled = table[table["n"] > 0]
    assert filled[list(SHARES)].sum(axis=1).tolist() == pytest.approx([1.0] * len(filled))
    assert (filled[list(SHARES)] >= 0).all().all()
    scores = metrics(frame, rules, draws=0)
    full = scores[scores["metric"] == "mIoU_full"]
    buckets = {r or "all": v for r, v in zip(full["rates"], full["value"], strict=True) if r not in ("[0, 0.5)",)}
    assert (100 * filled["found"]).tolist() == pytest.approx([buckets[name] for name in filled["subset"]])


def test_a_bucket_without_instances_is_nan() -> None:
    rng = np.random.default_rng(0)
    table = error_split(frame_of([scene(rng)], wide=False).iloc[:0], find_protocol("instance-mean/1"))
    assert table["n"].tolist() == [0] * 6
    assert table[list(SHARES)].isna().all().all()


@pytest.mark.parametrize("wide", [False, True])
def test_the_floor_is_the_run_that_answers_with_the_mask_it_was_given(wide: bool, rng: np.random.Generator) -> None:
    scenes = [scene(rng) for _ in range(12)]
    answers = [(g if wide else v, a, v, g) for _, a, v, g in scenes]
    pd.testing.assert_frame_equal(floor_frame(frame_of(scenes, wide)), frame_of(answers, wide))
