"""The protocols against the test vectors of the field's published rules and against loops over masks."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from amodal_bench.masks.counts import COLUMNS, GIVEN_COLUMNS, venn
from amodal_bench.metrics.protocol import find_protocol, protocols
from amodal_bench.metrics.scores import by_instance, metrics
from amodal_bench.types import Mask

Triple = tuple[Mask, Mask, Mask]  # predicted, amodal, visible


def frame_of(triples: Sequence[Triple], given: Sequence[Mask] | None = None) -> pd.DataFrame:
    names = COLUMNS if given is None else (*COLUMNS, *GIVEN_COLUMNS)
    extra = [()] * len(triples) if given is None else [(mask,) for mask in given]
    rows = [venn(*masks, *more) for masks, more in zip(triples, extra, strict=True)]
    frame = pd.DataFrame(np.array(rows), columns=list(names))
    return frame.assign(group_id=[str(i // 2) for i in range(len(frame))])


def value(frame: pd.DataFrame, protocol: str, metric: str, subset: str = "all", rates: str = "") -> float:
    table = metrics(frame, find_protocol(protocol), draws=0)
    row = table[(table["metric"] == metric) & (table["subset"] == subset) & (table["rates"] == rates)]
    return float(row["value"].item()) / 100


def box(rows: int, columns: int, size: int = 12) -> Mask:
    mask = np.zeros((size, size), dtype=np.bool_)
    mask[:rows, :columns] = True
    return mask


CASE_1: Triple = (box(4, 3), box(4, 4), box(4, 2))


@pytest.mark.parametrize("protocol", ["instance-mean/1", "pooled/1", "conddiff/1", "sdamodal/1", "c2f/1"])
def test_one_occluded_square(protocol: str) -> None:
    frame = frame_of([CASE_1])
    assert value(frame, protocol, "mIoU_full") == 0.75
    assert value(frame, protocol, "mIoU_inv") == 0.5
    assert by_instance(frame, find_protocol(protocol))["rate"].tolist() == [0.5]


def test_mean_and_pooled_of_two_instances() -> None:
    row = box(9, 10), box(10, 10), box(10, 10)  # 90 of 100
    speck = box(1, 1), box(1, 10), box(1, 10)  # 1 of 10
    frame = frame_of([row, speck])
    assert value(frame, "instance-mean/1", "mIoU_full") == 0.5
    assert value(frame, "pooled/1", "mIoU_full") == pytest.approx(91 / 110)


def test_a_leak_on_an_object_in_full_view() -> None:
    leak: Triple = (box(5, 5), box(4, 5), box(4, 5))  # five pixels beyond an unoccluded object
    frame = frame_of([CASE_1, leak])
    assert value(frame, "conddiff/1", "mIoU_inv") == 4 / 8
    assert value(frame, "instance-mean/1", "mIoU_inv") == 0.5
    assert value(frame, "c2f/1", "mIoU_inv") == 0.5
    assert value(frame, "sdamodal/1", "mIoU_inv") == 4 / (8 + 5)


def test_the_signed_sum_misses_an_occlusion_that_sticks_out_as_much() -> None:
    visible = np.roll(box(4, 4), 2, axis=1)  # hides 8 pixels and covers 8 others
    frame = frame_of([(box(4, 4), box(4, 4), visible)])
    assert not by_instance(frame, find_protocol("conddiff/1"))["occluded"].item()
    assert by_instance(frame, find_protocol("instance-mean/1"))["occluded"].item()
    assert np.isnan(value(frame, "conddiff/1", "mIoU_inv"))
    assert value(frame, "instance-mean/1", "mIoU_inv") == 1.0


@pytest.mark.parametrize(
    ("predicted", "full", "hidden"),
    [(box(4, 2), 0.5, 0.0), (box(4, 4), 1.0, 1.0), (box(0, 0), 0.0, 0.0)],
)
def test_visible_truth_and_nothing_as_predictions(predicted: Mask, full: float, hidden: float) -> None:
    frame = frame_of([(predicted, *CASE_1[1:])])
    for protocol in ("instance-mean/1", "pooled/1", "conddiff/1", "c2f/1"):
        assert value(frame, protocol, "mIoU_full") == full
        assert value(frame, protocol, "mIoU_inv") == hidden


def test_an_undefined_score_is_nan_with_a_count_of_zero() -> None:
    seen: Triple = (box(4, 4), box(4, 4), box(4, 4))
    row = metrics(frame_of([seen]), find_protocol("instance-mean/1")).query("metric == 'mIoU_inv'").iloc[0]
    assert np.isnan(row["value"])
    assert (row["n"], row["n_undefined"]) == (0, 0)
    assert np.isnan(row["low"])


def test_an_empty_prediction_of_an_empty_mask_counts_one_in_c2f_only() -> None:
    nothing: Triple = (box(0, 0), box(0, 0), box(0, 0))
    frame = frame_of([CASE_1, nothing])
    assert value(frame, "c2f/1", "mIoU_full") == (0.75 + 1) / 2
    table = metrics(frame, find_protocol("instance-mean/1"), draws=0).iloc[0]
    assert (table["value"], table["n"], table["n_undefined"]) == (75.0, 1, 1)


def test_pasting_adds_the_mask_that_the_method_was_given() -> None:
    given = box(4, 3)
    predicted = np.zeros_like(given)
    alone = frame_of([(predicted, *CASE_1[1:])])
    assert value(alone, "c2f-post/1", "mIoU_full") == 0.5  # the true visible half
    assert value(frame_of([(predicted, *CASE_1[1:])], [given]), "c2f-post/1", "mIoU_full") == 0.75
    assert value(frame_of([(predicted, *CASE_1[1:])], [given]), "c2f/1", "mIoU_full") == 0.0


def test_visible_outside_amodal_is_clipped_unless_a_protocol_keeps_it() -> None:
    visible = box(4, 2) | np.roll(box(1, 1), 8, axis=1)
    frame = frame_of([(visible, box(4, 4), visible)])
    assert value(frame, "pooled/1", "mIoU_inv") == 0.0
    assert by_instance(frame, find_protocol("pooled/1"))["rate"].item() == 0.5
    clipped = metrics(frame, find_protocol("pooled/1"), draws=0)
    assert clipped["n"].iloc[0] == 1


def test_the_paper_of_the_tuning_free_method_has_a_subset_below_one_half() -> None:
    light: Triple = (box(4, 4), box(4, 4), box(4, 3))
    frame = frame_of([CASE_1, light])
    assert value(frame, "tuning-free/1", "mIoU_full") == (0.75 + 1) / 2
    assert value(frame, "tuning-free/1", "mIoU_full", "range", "[0, 0.5)") == 1.0


def test_min_hidden_takes_stray_pixels_for_no_occlusion() -> None:
    speck = box(4, 4)
    speck[0, 0] = False
    frame = frame_of([CASE_1, (box(4, 4), box(4, 4), speck)])
    strict = find_protocol("instance-mean/1")
    assert metrics(frame, strict, draws=0).query("metric == 'mIoU_inv'")["n"].iloc[0] == 2
    tolerant = strict.model_copy(update={"min_hidden": 1})
    assert metrics(frame, tolerant, draws=0).query("metric == 'mIoU_inv'")["n"].iloc[0] == 1


def many(rng: np.random.Generator) -> list[Triple]:
    """Objects of very different sizes, half of them in full view, with predictions that miss and leak a little."""
    triples = []
    for index in range(60):
        side = 60 if index % 8 == 0 else int(rng.integers(8, 18))
        amodal = np.zeros((90, 90), dtype=np.bool_)
        amodal[10 : 10 + side, 10 : 10 + side] = True
        visible = amodal.copy()
        if index % 2:
            visible[:, 10 : 10 + int(side * rng.uniform(0.1, 0.8))] = False
        miss = int(rng.integers(0, 4))
        predicted = np.roll(amodal, int(rng.integers(0, 3)), axis=0)
        predicted[:, 10 : 10 + miss] = False
        triples.append((predicted, amodal, visible))
    return triples


def rates_of(triples: Sequence[Triple]) -> NDArray[np.float64]:
    return np.array([(a & ~v).sum() / a.sum() for _, a, v in triples])


def test_the_same_masks_give_each_protocol_another_number(rng: np.random.Generator) -> None:
    """Mean, pooled, occluded only, all: one set of predictions, several "mIoU"s, each checked by a loop."""
    triples = many(rng)
    frame = frame_of(triples)
    full = [(p & a).sum() / (p | a).sum() for p, a, _ in triples]
    hidden = [((p & a & ~v).sum(), ((p | a) & ~v).sum()) for p, a, v in triples]
    occluded = [bool((a & ~v).any()) for _, a, v in triples]
    mean_hidden = np.mean([i / u for (i, u), o in zip(hidden, occluded, strict=True) if o])
    pooled = [sum(part[k] for part, o in zip(hidden, occluded, strict=True) if o) for k in (0, 1)]
    everyone = [sum(part[k] for part in hidden) for k in (0, 1)]
    expected = {
        ("instance-mean/1", "mIoU_full"): np.mean(full),
        ("pooled/1", "mIoU_full"): sum((p & a).sum() for p, a, _ in triples)
        / sum((p | a).sum() for p, a, _ in triples),
        ("instance-mean/1", "mIoU_inv"): mean_hidden,
        ("c2f/1", "mIoU_inv"): mean_hidden,
        ("pooled/1", "mIoU_inv"): pooled[0] / pooled[1],
        ("sdamodal/1", "mIoU_inv"): everyone[0] / everyone[1],
        ("c2f-post/1", "mIoU_full"): np.mean([((p | v) & a).sum() / (p | v | a).sum() for p, a, v in triples]),
    }
    found = {key: value(frame, *key) for key in expected}
    assert found == pytest.approx(expected, abs=1e-12)
    hidden_scores = [score for (_, metric), score in found.items() if metric == "mIoU_inv"]
    assert max(hidden_scores) - min(hidden_scores) > 0.05
    assert found["pooled/1", "mIoU_full"] - found["instance-mean/1", "mIoU_full"] > 0.02


def test_buckets_are_means_over_their_own_instances(rng: np.random.Generator) -> None:
    triples = many(rng)
    rates = rates_of(triples)
    full = np.array([(p & a).sum() / (p | a).sum() for p, a, _ in triples])
    inside = (rates >= 0.2) & (rates < 0.4)
    assert value(frame_of(triples), "instance-mean/1", "mIoU_full", "bucket", "[0.2, 0.4)") == pytest.approx(
        full[inside].mean(), abs=1e-12
    )


def test_several_protocols_at_once_are_each_alone(rng: np.random.Generator) -> None:
    frame = frame_of(many(rng))
    together = metrics(frame, list(protocols().values()), draws=50)
    alone = pd.concat([metrics(frame, p, draws=50) for p in protocols().values()], ignore_index=True)
    pd.testing.assert_frame_equal(together, alone, check_exact=False, rtol=1e-12)


def test_no_rows_give_nan_and_no_error() -> None:
    frame = frame_of([CASE_1]).iloc[:0]
    table = metrics(frame, list(protocols().values()))
    assert table["value"].isna().all()
    assert (table["n"] == 0).all()
