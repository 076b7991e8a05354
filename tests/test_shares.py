"""The parts of the union against masks, and the floor that the counts give."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amodal_bench.masks.counts import COLUMNS, GIVEN_COLUMNS, venn
from amodal_bench.metrics.floor import floor_frame
from amodal_bench.metrics.protocol import Protocol, find_protocol, protocols
from amodal_bench.metrics.scores import metrics
from amodal_bench.metrics.table import PARTS
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


def parts_of(frame: pd.DataFrame, protocol: Protocol) -> pd.DataFrame:
    """One row a subset, one column a part, fractions; `n` beside them."""
    table = metrics(frame, protocol, draws=0, metrics=PARTS)
    table["name"] = table["subset"] + " " + table["rates"]
    columns = {part: table[table["metric"] == part].set_index("name")["value"] / 100 for part in PARTS}
    return pd.DataFrame(columns).assign(n=table.groupby("name")["n"].first())


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("protocol", sorted(protocols()))
def test_parts_are_those_of_the_masks(protocol: str, wide: bool, rng: np.random.Generator) -> None:
    rules = find_protocol(protocol)
    scenes = [scene(rng) for _ in range(40)]
    parts = []
    for predicted, amodal, visible, given_mask in scenes:
        p = predicted | (given_mask if wide else visible) if rules.paste else predicted
        sizes = [(p & amodal).sum(), (amodal & visible & ~p).sum(), (amodal & ~visible & ~p).sum(), (p & ~amodal).sum()]
        parts.append([*sizes, (p | amodal).sum()])
    table = np.array(parts, dtype=float)
    pooled = rules.aggregate == "pooled"
    wanted = table[:, :4].sum(0) / table[:, 4].sum() if pooled else (table[:, :4] / table[:, 4:]).mean(0)
    row = parts_of(frame_of(scenes, wide), rules).query("name == 'all '").iloc[0]
    assert row[list(PARTS)].tolist() == pytest.approx(wanted.tolist(), abs=1e-12)
    assert int(row["n"]) == 40


@given(seed=st.integers(0, 10_000), protocol=st.sampled_from(sorted(protocols())), empty=st.booleans())
def test_parts_add_to_one_and_found_is_the_score(seed: int, protocol: str, empty: bool) -> None:
    rng = np.random.default_rng(seed)
    frame = frame_of([scene(rng) for _ in range(5)], wide=False)
    if empty:  # nothing predicted of nothing
        frame.loc[0, list(COLUMNS)] = [99, *[0] * 7]
    rules = find_protocol(protocol)
    table = parts_of(frame, rules)
    filled = table[table["n"] > 0]
    assert filled[list(PARTS)].sum(axis=1).tolist() == pytest.approx([1.0] * len(filled))
    assert (filled[list(PARTS)] >= 0).all().all()
    scores = metrics(frame, rules, draws=0).query("metric == 'mIoU_full'")
    full = dict(zip(scores["subset"] + " " + scores["rates"], scores["value"], strict=True))
    assert (100 * filled["found"]).tolist() == pytest.approx([full[name] for name in filled.index])


def test_parts_have_intervals(rng: np.random.Generator) -> None:
    table = metrics(frame_of([scene(rng) for _ in range(30)], wide=False), find_protocol("pooled/1"), metrics=PARTS)
    everyone = table[table["subset"] == "all"]
    assert (everyone["low"] < everyone["value"]).all()
    assert (everyone["value"] < everyone["high"]).all()


def test_a_bucket_without_instances_is_nan() -> None:
    rng = np.random.default_rng(0)
    table = parts_of(frame_of([scene(rng)], wide=False).iloc[:0], find_protocol("instance-mean/1"))
    assert table["n"].tolist() == [0] * 6
    assert table[list(PARTS)].isna().all().all()


@pytest.mark.parametrize("wide", [False, True])
def test_the_floor_is_the_run_that_answers_with_the_mask_it_was_given(wide: bool, rng: np.random.Generator) -> None:
    scenes = [scene(rng) for _ in range(12)]
    answers = [(g if wide else v, a, v, g) for _, a, v, g in scenes]
    pd.testing.assert_frame_equal(floor_frame(frame_of(scenes, wide)), frame_of(answers, wide))
