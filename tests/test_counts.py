import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from amodal_bench.masks.counts import venn

STACKS = hnp.arrays(np.bool_, st.tuples(st.just(4), st.integers(1, 25), st.integers(1, 25)))


def by_loop(masks: NDArray[np.bool_]) -> list[int]:
    counts = [0] * (1 << len(masks))
    for row in range(masks.shape[1]):
        for column in range(masks.shape[2]):
            counts[sum(int(mask[row, column]) << bit for bit, mask in enumerate(masks))] += 1
    return counts


@given(STACKS)
def test_eight_counts_are_those_of_a_loop(stack: NDArray[np.bool_]) -> None:
    assert venn(*stack[:3]).tolist() == by_loop(stack[:3])


@given(STACKS)
def test_sixteen_counts_are_those_of_a_loop(stack: NDArray[np.bool_]) -> None:
    assert venn(*stack).tolist() == by_loop(stack)


def test_masks_that_are_views_are_counted_alike() -> None:
    big = np.random.default_rng(0).random((3, 40, 60)) < 0.5
    views = [mask[3:30:2, 5:50][::-1] for mask in big]
    assert venn(*views).tolist() == by_loop(np.stack(views))
