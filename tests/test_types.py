import numpy as np
import pytest

from amodal_bench.errors import BadRecord
from amodal_bench.types import AmodalQuery, AmodalSample, parse_id

IMAGE = np.zeros((4, 5, 3), dtype=np.uint8)
MASK = np.ones((4, 5), dtype=np.bool_)


def test_an_id_has_four_parts_and_the_image_part_may_hold_slashes() -> None:
    assert parse_id("kins/test/000139/7") == ("kins", "test", "000139", "7")
    assert parse_id("mp3d/val/house/room/3") == ("mp3d", "val", "house/room", "3")


def test_a_query_refuses_an_image_that_is_not_rgb_bytes() -> None:
    with pytest.raises(ValueError, match=r"a/b/c/0: image must be uint8 \(H, W, 3\), got float64 \(4, 5, 3\)"):
        AmodalQuery("a/b/c/0", "c", IMAGE.astype(float), MASK)
    with pytest.raises(ValueError, match=r"got uint8 \(4, 5\)"):
        AmodalQuery("a/b/c/0", "c", IMAGE[..., 0], MASK)


def test_a_query_refuses_a_visible_mask_of_another_shape_or_kind() -> None:
    with pytest.raises(ValueError, match=r"a/b/c/0: visible mask must be bool \(4, 5\), got bool \(5, 4\)"):
        AmodalQuery("a/b/c/0", "c", IMAGE, MASK.T)
    with pytest.raises(ValueError, match=r"must be bool \(4, 5\), got uint8 \(4, 5\)"):
        AmodalQuery("a/b/c/0", "c", IMAGE, MASK.astype(np.uint8))


def test_a_query_needs_a_visible_pixel() -> None:
    with pytest.raises(BadRecord, match="a/b/c/0: visible mask is empty"):
        AmodalQuery("a/b/c/0", "c", IMAGE, ~MASK)


def test_a_sample_tells_its_occlusion_rate_with_visible_outside_amodal() -> None:
    amodal = np.zeros((4, 5), dtype=np.bool_)
    amodal[:, :4] = True
    visible = np.zeros_like(amodal)
    visible[:, 3:] = True  # one of four columns of the object, and a column outside it
    sample = AmodalSample(AmodalQuery("a/b/c/0", "c", IMAGE, visible), amodal)
    assert sample.occlusion_rate == 0.75


def test_a_sample_keeps_the_truth_beside_a_given_visible_mask() -> None:
    given = MASK.copy()
    given[0] = False
    sample = AmodalSample(AmodalQuery("a/b/c/0", "c", IMAGE, given), MASK, true_visible=MASK)
    assert sample.occlusion_rate == 0.0
    assert sample.visible is MASK


def test_a_sample_refuses_an_empty_amodal_mask() -> None:
    with pytest.raises(BadRecord, match="a/b/c/0: amodal mask is empty"):
        AmodalSample(AmodalQuery("a/b/c/0", "c", IMAGE, MASK), ~MASK)


def test_a_sample_refuses_masks_that_share_no_pixel() -> None:
    left, right, both = np.zeros((3, 4, 5), dtype=np.bool_)
    left[:, 1], right[2:, 3] = True, True
    both |= left | right
    query = AmodalQuery("a/b/c/0", "c", IMAGE, left)
    with pytest.raises(BadRecord, match="a/b/c/0: the visible mask lies wholly outside the amodal mask"):
        AmodalSample(query, right)
    with pytest.raises(BadRecord, match="wholly outside"):
        AmodalSample(query, left, true_visible=right)
    assert AmodalSample(AmodalQuery("a/b/c/0", "c", IMAGE, both), right).occlusion_rate == 0
    assert AmodalSample(query, right, true_visible=both).visible is both
