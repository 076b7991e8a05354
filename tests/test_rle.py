from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco

from amodal_bench import rle
from amodal_bench.errors import BadRecord
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


def test_a_part_with_too_few_points_adds_nothing_to_one_with_enough() -> None:
    assert rle.from_annotation([SQUARE, [1.0, 1.0, 2.0, 2.0]], 8, 9, "x") == rle.from_annotation(SQUARE, 8, 9, "x")


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
        ([1.0, 2.0, 3.0, 4.0], r"f.json 7: no polygon has the six numbers of a triangle \(got \[4\]\)"),
        ([], "f.json 7: no polygon has the six numbers of a triangle"),
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
