"""One-to-one matching, against all assignments of small cases."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from amodal_bench.formats.matching import Detection, Truth, assign, match, plain_image
from amodal_bench.masks import rle
from amodal_bench.types import Mask


def bar(start: int, stop: int) -> Mask:
    mask = np.zeros((4, 20), dtype=np.bool_)
    mask[:, start:stop] = True
    return mask


def detected(
    mask: Mask, image: str = "7", category: str | None = None, score: float = 1.0, number: int = 0
) -> Detection:
    return Detection(number, image, category, score, dict(rle.encode(mask)))


def true(number: int, mask: Mask, image: str = "7", category: str | None = None) -> Truth:
    return Truth(number, f"set/test/{image}/{number}", category, rle.encode(mask))


@given(arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 4)), elements=st.floats(0, 1)))
def test_no_other_assignment_has_a_larger_sum(overlaps: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> None:
    allowed = overlaps >= 0.5
    pairs = assign(overlaps, allowed)
    assert len({r for r, _ in pairs}) == len({c for _, c in pairs}) == len(pairs)
    assert all(allowed[pair] for pair in pairs)
    wide = np.where(allowed, overlaps, 0)
    wide = wide if wide.shape[0] <= wide.shape[1] else wide.T
    best = max(
        sum(wide[r, c] for r, c in enumerate(chosen)) for chosen in permutations(range(wide.shape[1]), len(wide))
    )
    assert sum(overlaps[pair] for pair in pairs) == pytest.approx(best)


def test_one_detection_is_given_once_although_two_instances_overlap_it() -> None:
    truths = [true(0, bar(0, 10)), true(1, bar(0, 9))]
    both = match(truths, [detected(bar(0, 9))], 0.5, False, "f")
    assert {number: d.number for number, d in both.given.items()} == {1: 0}  # IoU 1 before .9
    two = match(truths, [detected(bar(0, 9)), detected(bar(0, 8), number=1)], 0.5, False, "f")
    assert {number: d.number for number, d in two.given.items()} == {0: 0, 1: 1} or two.given[1].number == 0


def test_the_threshold_is_inclusive() -> None:
    truths = [true(0, bar(0, 10))]
    assert match(truths, [detected(bar(0, 5))], 0.5, False, "f").given  # IoU .5
    assert not match(truths, [detected(bar(0, 5))], 0.51, False, "f").given


def test_the_order_of_the_file_changes_nothing() -> None:
    truths = [true(0, bar(0, 10)), true(1, bar(10, 20))]
    found = [detected(bar(0, 8), score=0.4), detected(bar(2, 10), score=0.9), detected(bar(11, 19), score=0.2)]
    given = [match(truths, list(order), 0.5, False, "f").given for order in permutations(found)]
    masks = [{number: d.segmentation for number, d in g.items()} for g in given]
    assert all(m == masks[0] for m in masks)
    assert masks[0][0] == found[1].segmentation  # of two with the same IoU, that of the higher score


def test_categories_keep_apart_where_asked() -> None:
    truths = [true(0, bar(0, 10), category="cat")]
    dog = [detected(bar(0, 10), category="dog")]
    assert match(truths, dog, 0.5, False, "f").given
    assert not match(truths, dog, 0.5, True, "f").given


def test_images_are_joined_by_name_or_by_number_where_that_is_one_image() -> None:
    assert (plain_image("000017"), plain_image("000002:000003"), plain_image("a.b")) == ("17", "2:3", "a.b")
    truths = [true(0, bar(0, 10), "000017"), true(1, bar(0, 10), "000002:000003")]
    matching = match(truths, [detected(bar(0, 10), "17"), detected(bar(0, 10), "2:3")], 0.5, False, "f")
    assert set(matching.given) == {0, 1}
    twins = [true(0, bar(0, 10), "017"), true(1, bar(0, 10), "17")]
    matching = match(twins, [detected(bar(0, 10), "17"), detected(bar(0, 10), "0017")], 0.5, False, "f")
    assert (set(matching.given), matching.elsewhere) == ({1}, 1)
