"""The formulas of the metrics of pixels against loops."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from amodal_bench.masks.boxes import enlarged
from amodal_bench.masks.hull import hull_mask
from amodal_bench.metrics.pixels import boundary, ceilings, eroded_hidden
from amodal_bench.types import Mask
from tests.pixel_loops import by_loop, iou


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


@given(masks=arrays.arrays(np.bool_, (3, 12, 10), elements=st.sampled_from([True, False, False, False])))
def test_a_ceiling_is_the_score_of_the_object_cut_to_its_region(masks: Mask) -> None:
    p, a = masks[0], masks[1] | masks[2]
    v = masks[2]
    found = ceilings(p, a, v)
    if not v.any():
        assert all(found[name] == iou(a, a) for name in ("hull", "crop", "hull_hidden", "crop_hidden"))
        return
    crop = np.zeros_like(a)
    crop[enlarged(v, 2.0).slices] = True
    for name, region in (("hull", hull_mask(v)), ("crop", crop)):
        assert found[name] == iou(a & region, a)
        assert found[f"{name}_hidden"] == iou(a & region & ~v, a & ~v)


def test_the_ceilings_of_an_object_that_is_hidden_at_one_end() -> None:
    """Rows 0 to 3 of 12 are seen: the hull holds them alone, the box twice as long ends in row 4."""
    a = np.zeros((12, 3), dtype=np.bool_)
    a[:] = True
    v = a.copy()
    v[4:] = False
    found = ceilings(a, a, v)
    assert (found["hull"], found["hull_hidden"]) == ((12, 36), (0, 24))
    assert (found["crop"], found["crop_hidden"]) == ((15, 36), (3, 24))
