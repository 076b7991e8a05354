"""M of Eq. 10: the hull, and what may stand in its place."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from amodal_bench.masks.hull import hull_mask
from amodal_bench.methods.inpaint.condition import grown, repaint_area
from amodal_bench.methods.inpaint.params import Condition
from amodal_bench.types import Mask

MASKS = hnp.arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12))).filter(lambda m: bool(m.any()))


def area(visible: Mask, **settings: object) -> Mask:
    return repaint_area(visible, Condition.model_validate(settings))


def inside_all_half_planes(mask: Mask) -> Mask:
    """In the hull is what no line through two set pixels parts from all of them; columns and rows close the rest."""
    points = np.argwhere(mask)
    rows, columns = np.indices(mask.shape)
    kept = np.ones_like(mask)
    normals = {(1, 0), (-1, 0), (0, 1), (0, -1)}
    normals |= {(int(b[1] - a[1]), int(a[0] - b[0])) for a in points for b in points}
    for down, right in normals:
        kept &= down * rows + right * columns <= (points @ (down, right)).max()
    return kept


@given(MASKS)
def test_the_hull_is_what_lies_in_every_half_plane_around_the_visible_pixels(visible: Mask) -> None:
    assert np.array_equal(area(visible), inside_all_half_planes(visible))


def test_the_hull_of_a_large_shape_in_pieces(rng: np.random.Generator) -> None:
    """A disk and a bar: the band of common tangents between them is filled, and nothing behind."""
    rows, columns = np.indices((96, 128))
    visible = ((rows - 20) ** 2 + (columns - 25) ** 2 <= 100) | ((abs(rows - 80) < 4) & (columns > 100))
    found = area(visible)
    sparse = visible & (hull_border(visible))
    assert np.array_equal(found, inside_all_half_planes(sparse))
    assert found[50, 70]
    assert not found[10, 100]
    assert not found[85, 30]


def hull_border(mask: Mask) -> Mask:
    """First and last pixel of every row: no other pixel can be a corner."""
    border = np.zeros_like(mask)
    for row in np.flatnonzero(mask.any(axis=1)):
        columns = np.flatnonzero(mask[row])
        border[row, [columns[0], columns[-1]]] = True
    return border


@given(MASKS)
def test_it_holds_the_visible_mask_and_is_its_own_hull(visible: Mask) -> None:
    found = area(visible)
    assert found[visible].all()
    assert np.array_equal(area(found), found)


@given(MASKS, st.integers(0, 9), st.integers(0, 9))
def test_it_moves_and_turns_with_the_object(visible: Mask, down: int, right: int) -> None:
    around = ((down, 9 - down), (right, 9 - right))
    assert np.array_equal(area(np.pad(visible, around)), np.pad(area(visible), around))
    assert np.array_equal(area(visible.T.copy()), area(visible).T)
    assert np.array_equal(area(visible[::-1, ::-1].copy()), area(visible)[::-1, ::-1])


@pytest.mark.parametrize("what", ["pixel", "row", "column", "diagonal"])
def test_what_has_no_inside_is_its_own_hull(what: str) -> None:
    rows, columns = np.indices((9, 9))
    shape = {
        "pixel": (rows == 4) & (columns == 7),
        "row": (rows == 0) & (columns > 2),
        "column": columns == 8,
        "diagonal": rows == columns,
    }[what]
    assert np.array_equal(area(shape), shape)


def test_an_object_that_touches_all_borders() -> None:
    rows, columns = np.indices((21, 21))
    cross = (rows == 10) | (columns == 10)
    assert np.array_equal(area(cross), abs(rows - 10) + abs(columns - 10) <= 10)
    frame = (rows % 20 == 0) | (columns % 20 == 0)
    assert area(frame).all()
    assert not area(frame, keep_visible=True)[frame].any()


def bar() -> Mask:
    mask = np.zeros((40, 50), dtype=np.bool_)
    mask[10:14, 5:25] = True
    mask[10:30, 5:8] = True
    return mask


def test_what_may_stand_in_the_hulls_place() -> None:
    visible = bar()
    box = np.zeros_like(visible)
    box[10:30, 5:25] = True
    assert np.array_equal(area(visible, area="visible"), visible)
    assert np.array_equal(area(visible, area="bbox"), box)
    assert area(visible, area="full").all()
    assert np.array_equal(area(visible), hull_mask(visible))


@pytest.mark.parametrize("kind", ["hull", "visible", "bbox", "full"])
def test_visible_pixels_can_be_kept(kind: str) -> None:
    visible = bar()
    assert np.array_equal(area(visible, area=kind, keep_visible=True), area(visible, area=kind) & ~visible)


@pytest.mark.parametrize("kind", ["hull", "visible", "bbox"])
@pytest.mark.parametrize("grow", [0.05, 0.2, 1.0])
def test_it_grows_by_a_disk_of_a_share_of_the_visible_boxs_longer_side(kind: str, grow: float) -> None:
    visible = bar()  # 20 x 20
    base, found = area(visible, area=kind), area(visible, area=kind, grow=grow)
    points = np.argwhere(base)
    rows, columns = np.indices(visible.shape)
    distance = np.min([(rows - row) ** 2 + (columns - column) ** 2 for row, column in points], axis=0)
    assert np.array_equal(found, distance <= (grow * 20) ** 2)
    kept = area(visible, area=kind, grow=grow, keep_visible=True)
    assert np.array_equal(kept, found & ~visible)


def test_growing_a_pixel_gives_a_disk() -> None:
    pixel = np.zeros((9, 9), dtype=np.bool_)
    pixel[4, 4] = True
    rows, columns = np.indices((9, 9))
    assert np.array_equal(grown(pixel, 2.5), (rows - 4) ** 2 + (columns - 4) ** 2 <= 6.25)
    assert grown(np.ones((3, 3), dtype=np.bool_), 2.0).all()
