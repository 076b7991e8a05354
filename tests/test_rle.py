import json
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco

from amodal_bench.errors import BadRecord
from amodal_bench.masks import rle
from amodal_bench.types import Mask

MASKS = hnp.arrays(np.bool_, st.tuples(st.integers(1, 40), st.integers(1, 40)))
SQUARE = [2.0, 1.0, 6.0, 1.0, 6.0, 4.0, 2.0, 4.0]


def runs_by_loop(mask: Mask) -> list[int]:
    runs: list[int] = []
    current, length = False, 0
    for pixel in mask.T.ravel():
        if pixel != current:
            runs.append(length)
            current, length = bool(pixel), 0
        length += 1
    return [*runs, length]


@given(MASKS)
def test_a_mask_comes_back_from_its_code(mask: Mask) -> None:
    code = rle.encode(mask)
    assert np.array_equal(rle.decode(code), mask)
    assert rle.decode(code).dtype == np.bool_
    assert rle.area(code) == mask.sum()


@given(MASKS)
def test_compressed_counts_are_read_as_pycocotools_writes_them(mask: Mask) -> None:
    assert rle.compressed_runs(rle.encode(mask)["counts"]).tolist() == runs_by_loop(mask)


@given(MASKS)
def test_every_spelling_of_a_code_is_the_same_mask(mask: Mask) -> None:
    height, width = mask.shape
    counts = rle.encode(mask)["counts"]
    size = [height, width]
    for value in (
        {"size": size, "counts": counts},
        {"size": size, "counts": counts.decode()},
        {"size": size, "counts": runs_by_loop(mask)},
    ):
        assert np.array_equal(rle.decode(rle.from_annotation(value, height, width, "x")), mask)


def test_flat_and_nested_polygons_are_the_same_mask() -> None:
    flat = rle.from_annotation(SQUARE, 8, 9, "x")
    assert flat == rle.from_annotation([SQUARE], 8, 9, "x")
    assert rle.area(flat) == 12


def test_the_parts_of_an_object_are_merged() -> None:
    moved = [c + 2.0 for c in SQUARE]  # shares 2 x 1 pixels with the first
    assert rle.area(rle.from_annotation([SQUARE, moved], 20, 20, "x")) == 12 + 12 - 2


def test_a_polygon_may_touch_and_leave_the_frame() -> None:
    touching = [0.0, 0.0, 9.0, 0.0, 9.0, 8.0, 0.0, 8.0]
    assert rle.area(rle.from_annotation(touching, 8, 9, "x")) == 72
    outside = [-5.0, -5.0, 20.0, -5.0, 20.0, 20.0, -5.0, 20.0]
    assert rle.area(rle.from_annotation(outside, 8, 9, "x")) == 72


NO_PARTS = [
    [1.0, 1.0, 2.0, 2.0], [1.0, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], [1.0, 2.0, None, 4.0, 5.0, 6.0], [],
    [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], None, 5, "x", [True, 1.0, 5.0, 1.0, 5.0, 5.0], ["a", 1.0, 5.0, 1.0, 5.0, 5.0],
]  # fmt: skip


@pytest.mark.parametrize("bad", NO_PARTS)
@pytest.mark.parametrize("first", [True, False])
def test_a_part_that_is_no_polygon_is_left_out_and_counted(bad: Any, first: bool) -> None:
    whole = rle.from_annotation(SQUARE, 8, 9, "x")
    if first and not isinstance(bad, list):
        return  # what does not begin with a list is one flat polygon
    value = [bad, SQUARE] if first else [SQUARE, bad]
    assert rle.read(value, 8, 9, "x") == rle.Reading(whole, 1)
    assert rle.read_json(json.dumps(value).encode(), 8, 9, "x") == rle.Reading(whole, 1)
    with pytest.raises(BadRecord, match="x: a polygon"):
        rle.from_annotation([bad], 8, 9, "x")


def test_numbers_in_quotes_are_numbers() -> None:
    assert rle.from_annotation([[str(c) for c in SQUARE]], 8, 9, "x") == rle.from_annotation(SQUARE, 8, 9, "x")


@given(MASKS)
def test_a_code_in_an_odd_spelling_is_the_same_mask(mask: Mask) -> None:
    height, width = mask.shape
    counts, runs, size = rle.encode(mask)["counts"], runs_by_loop(mask), [height, width]
    odd: list[Any] = [
        {"size": size, "counts": [float(run) for run in runs]},
        {"size": [float(height), float(width)], "counts": counts.decode()},
        {"size": size, "counts": [0, 0, *runs]},
        {"size": size, "counts": [counts.decode()]},
        {"size": size, "counts": str(counts)},
        [{"size": size, "counts": counts.decode()}],
        {"size": size, "counts": counts.decode(), "area": 3, "bbox": [1]},
    ]
    if len(runs) > 1:
        odd.append({"size": size, "counts": " ".join(map(str, runs))})
        odd.append({"size": size, "counts": ", ".join(map(str, runs))})
    for value in odd:
        assert np.array_equal(rle.decode(rle.from_annotation(value, height, width, "x")), mask), value


def test_numbers_that_are_the_bytes_of_a_code_are_read_as_such() -> None:
    mask = np.zeros((24, 32), dtype=np.bool_)
    mask[4:20, 4:24] = True
    value = {"size": [24, 32], "counts": list(rle.encode(mask)["counts"])}
    assert np.array_equal(rle.decode(rle.from_annotation(value, 24, 32, "x")), mask)


def test_codes_in_a_list_are_the_parts_of_one_object() -> None:
    left, right = np.zeros((2, 8, 9), dtype=np.bool_)
    left[1:4, 1:3], right[5, 7] = True, True
    value = [rle.encode(left), rle.encode(right)]
    assert np.array_equal(rle.decode(rle.from_annotation(value, 8, 9, "x")), left | right)


@pytest.mark.parametrize(
    "polygon",
    [
        [1.0, 1.0, 1e6, 1.0, 1e6, 20.0, 1.0, 20.0],
        [1.0, 1.0, -3e4, 7.0, -3e4, 20.0, 1.0, 20.0],
        [1.0, 1.0, 20.0, -1e5, 30.0, -1e5, 30.0, 1.0],
        [-2e4, 10.0, 5e4, 3.0, 20.0, 6e4],
    ],
)
def test_a_moderate_overshoot_is_exact(polygon: list[float]) -> None:
    code = rle.from_annotation([polygon], 24, 32, "x")
    assert code == coco.merge(coco.frPyObjects([polygon], 24, 32))
    assert 0 < rle.area(code) < 24 * 32


@pytest.mark.parametrize(
    "polygon",
    [
        [1.0, 1.0, 1e12, 1.0, 1e12, 20.0, 1.0, 20.0],
        [-164.1, -221.8, 208500000.0, 350000000.0, 225.9, 236.5, 272.0, 384.2],
        [1.0, 1.0, 20.0, -1e7, 1.0, 20.0],
        [1e12, 1e12, 1e12 + 5, 1e12, 1e12 + 5, 1e12 + 5],
        [0, 0, 10**30, 5, 3, 4],
        [0.5, 0, 10**400, 5, 3, 4],
        [0.0, 0.0, 3000.0, 0.0] * 3000,
    ],
)
def test_an_outline_that_leads_far_out_is_named_before_it_is_followed(polygon: list[float]) -> None:
    text = json.dumps([SQUARE, polygon]).encode()
    with pytest.raises(BadRecord, match=r"f 7: a polygon with a coordinate of \S+ in an image of 32 x 24"):
        rle.from_annotation([SQUARE, polygon], 24, 32, "f 7")
    with pytest.raises(BadRecord, match=r"f 7: a (polygon with a coordinate of|mask that is no JSON)"):
        rle.read_json(text, 24, 32, "f 7")


def test_the_text_of_a_far_polygon() -> None:
    text = (
        r"a polygon with a coordinate of 1.00e\+12 in an image of 32 x 24 pixels leads far out of the frame, or its "
        "outlines are too long: at most 3,000,000 pixels are followed"
    )
    with pytest.raises(BadRecord, match=text):
        rle.from_annotation([1.0, 1.0, 1e12, 1.0, 1e12, 20.0], 24, 32, "x")


@pytest.mark.parametrize("value", [[SQUARE], {"size": [30_000, 30_000], "counts": "0"}])
def test_no_mask_of_a_gigantic_image_is_made(value: Any) -> None:
    with pytest.raises(BadRecord, match="an image of 30000 x 30000 pixels; at most 50,000,000 are read"):
        rle.from_annotation(value, 30_000, 30_000, "x")
    with pytest.raises(BadRecord, match="an image of 30000 x 30000 pixels"):
        rle.read_json(json.dumps(value).encode(), 30_000, 30_000, "x")


def test_a_mask_nested_without_end_is_named() -> None:
    with pytest.raises(BadRecord, match="x: a mask of lists that are nested deeper than is read"):
        rle.read_json(b"[" * 100_000 + b"]" * 100_000, 8, 9, "x")


def edge_masks() -> dict[str, Mask]:
    """Masks at the ends of what there is."""
    masks = {
        name: np.zeros(shape, dtype=np.bool_)
        for name, shape in {
            "empty": (5, 7), "pixel": (40, 30), "corners": (9, 11), "borders": (20, 30), "ring": (61, 67),
            "wide": (1, 300), "high": (300, 1), "large": (4000, 6000), "comb": (50, 64),
        }.items()
    }  # fmt: skip
    masks["pixel"][17, 3] = True
    masks["corners"][[0, 0, -1, -1], [0, -1, 0, -1]] = True
    masks["borders"][[0, -1]] = masks["borders"][:, [0, -1]] = True
    masks["ring"][10:50, 12:52], masks["ring"][20:40, 22:42] = True, False
    masks["wide"][0, 5:9] = masks["high"][290:, 0] = True
    masks["large"][1000:3000, 17:5990] = masks["comb"][:, ::2] = True
    masks["full"] = np.ones((12, 13), dtype=np.bool_)
    masks["one"] = np.ones((1, 1), dtype=np.bool_)
    masks["checkerboard"] = np.indices((33, 41)).sum(axis=0) % 2 == 0
    return masks


@pytest.mark.parametrize("name", edge_masks())
def test_edge_masks_are_what_numpy_and_pycocotools_say(name: str) -> None:
    mask = edge_masks()[name]
    height, width = mask.shape
    text = msgspec.json.encode({"size": [height, width], "counts": rle.encode(mask)["counts"].decode()})
    code, left_out = rle.read_json(text, height, width, "x")
    assert np.array_equal(coco.decode(code).astype(np.bool_), mask)
    assert (rle.area(code), int(coco.area(code)), left_out) == (mask.sum(), mask.sum(), 0)
    shifted = np.roll(mask, 1, axis=0)
    assert np.array_equal(rle.decode(rle.difference(code, rle.encode(shifted))), mask & ~shifted)
    assert np.array_equal(rle.decode(rle.union([code, rle.encode(shifted)], height, width)), mask | shifted)


@given(st.lists(st.floats(-50, 100), min_size=6, max_size=24).filter(lambda c: len(c) % 2 == 0))
def test_any_polygon_is_rasterised_as_pycocotools_does(polygon: list[float]) -> None:
    code = rle.from_annotation(polygon, 30, 40, "x")
    assert np.array_equal(rle.decode(code), coco.decode(coco.merge(coco.frPyObjects([polygon], 30, 40))))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (
            {"size": [9, 8], "counts": "X"},
            r"f.json 7: RLE of size \[9, 8\] in an image of size \[8, 9\] \(height, width\)",
        ),
        ({"size": [8, 9]}, "f.json 7: an RLE needs the keys size and counts, missing counts"),
        ({"size": [8, 9], "counts": "0"}, r"f.json 7: RLE runs add up to 0 pixels, the image has 72 \(8 x 9\)"),
        ({"size": [8, 9], "counts": [70, 5]}, "f.json 7: RLE runs add up to 75 pixels"),
        ({"size": [8, 9], "counts": [-1, 73]}, "f.json 7: RLE runs must be whole numbers >= 0"),
        ({"size": [8, 9], "counts": "é~~"}, "f.json 7: RLE counts are not a COCO compressed string"),
        ({"size": [8, 9], "counts": "PPPPPPPPPPPPPPPPPPPP0"}, "a number of more than 60 bits"),
        ({"size": [8, 9], "counts": 5}, "RLE counts must be a string, bytes or a list, got int"),
        ([1.0, 2.0, 3.0, 4.0], r"f.json 7: a polygon needs the six numbers of a triangle, got 4"),
        ([], "f.json 7: a polygon needs the six numbers of a triangle, got 0"),
        ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], r"f.json 7: a polygon has an odd number of coordinates \(7\)"),
        ([1.0, 2.0, 3.0, 4.0, 5.0, float("nan")], "f.json 7: a polygon holds a coordinate that is not finite"),
        ([1.0, "a"], "f.json 7: a polygon must be a flat list of numbers"),
        ("X", "f.json 7: a mask must be an RLE dict or a list of polygon coordinates, got str"),
        (None, "got NoneType"),
    ],
)
def test_a_malformed_mask_is_named(value: Any, text: str) -> None:
    with pytest.raises(BadRecord, match=text):
        rle.from_annotation(value, 8, 9, "f.json 7")


@given(st.binary(max_size=30))
def test_no_string_of_bytes_is_taken_for_a_mask_of_another_size(counts: bytes) -> None:
    try:
        code = rle.from_annotation({"size": [6, 7], "counts": counts}, 6, 7, "x")
    except BadRecord:
        return
    assert rle.decode(code).shape == (6, 7)


@given(mask=hnp.arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_large_masks_are_encoded_like_small_ones(mask: Mask) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rle, "_SMALL", 0)
        large = rle.encode(mask)
    assert large == rle.encode(mask)
