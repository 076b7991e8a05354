"""The formulas of the metrics of pixels against loops."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from amodal_bench.metrics.pixels import boundary, eroded_hidden
from amodal_bench.types import Mask
from tests.pixel_loops import by_loop


@given(masks=arrays.arrays(np.bool_, (3, 9, 7), elements=st.sampled_from([True, True, True, False])))
def test_small_masks_are_measured_like_a_loop(masks: Mask) -> None:
    p, a, v = masks[0], masks[1], masks[2] & masks[1]
    found = {**boundary(p, a, v), "eroded": eroded_hidden(p, a, v)["hidden"]}
    assert found == by_loop(p, a, v)


def test_blocks_and_empty_masks_are_measured_like_a_loop(rng: np.random.Generator) -> None:
    for _ in range(8):
        p, a, v = (np.zeros((80, 70), dtype=np.bool_) for _ in range(3))  # a band of 2 pixels
        for mask in (p, a, v):
            y, x = rng.integers(0, 50, 2)
            mask[y : y + rng.integers(0, 40), x : x + rng.integers(0, 40)] = True
        v &= a
        assert {**boundary(p, a, v), "eroded": eroded_hidden(p, a, v)["hidden"]} == by_loop(p, a, v)
    nothing = np.zeros((5, 5), dtype=np.bool_)
    assert boundary(nothing, nothing, nothing) == {"full": (0, 0), "hidden": (0, 0)}
    assert eroded_hidden(nothing, nothing, nothing) == {"hidden": (0, 0)}
