"""Annotation files with the faults that people's have, a folder each: the right value, or the right words."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import amodal_bench as ab
from amodal_bench.errors import DatasetNotReady

HALF, FULL = 62.5, 100.0  # what the visible mask scores on the specimens' two objects
LEFT_OUT = "a part of a polygon that is none was left out"
HIDDEN_LESS = "no visible mask: it is the amodal one less the invisible one"
FRONT_LESS = "no visible mask: it is the amodal one less what lies in front"


class Right(NamedTuple):
    """Scores of the visible mask in percent, what the funnel counts, and a text among the doctor's details."""

    scores: list[float]
    dropped: dict[str, int] = {}
    noted: dict[str, int] = {}
    told: str = ""


def malformed(told: str, *scores: float) -> Right:
    return Right(list(scores), {"malformed mask": 1}, {}, told)


FAR = r"a polygon with a coordinate of \S+ in an image of 32 x 24 pixels leads far out of the frame"
COUNTED: dict[str, dict[str, Right]] = {
    "coco_a": {
        **dict.fromkeys(
            ["ok_coco_a", "big_ids", "bom", "extra_keys", "float_ids", "inf_area", "name_null", "name_num", "nan_rate",
             "str_ids", "str_ids0", "stuff_bool", "stuff_null", "word_ids"],
            Right([FULL, HALF]),
        ),
        "dangling": Right([FULL, HALF], {"its image is not in images": 1}, {}, "image 99"),
        "dup_images": Right([FULL, HALF], {"identical copy of another image entry": 1}),
        "occ_invisible_only": Right([FULL, HALF], {}, {HIDDEN_LESS: 1}),
        "occ_order_only": Right([FULL, HALF], {}, {FRONT_LESS: 1}),
        "occ_rate_only": Right([FULL, HALF], {}, {FRONT_LESS: 1}),
        "vm_null": Right([FULL, HALF], {}, {HIDDEN_LESS: 1}),
        "vm_empty_dict": Right([FULL, HALF], {}, {HIDDEN_LESS: 1}),
        "order_missing": Right([FULL], {"no depth order (order), by which regions are told apart": 1}),
        "or_1x1": Right([FULL]),
    },
    "bsds_a": {
        "occ_invisible_only_bsds": Right([FULL, HALF], {}, {HIDDEN_LESS: 1}),
        "occ_rate_only_bsds": Right([FULL, HALF], {}, {FRONT_LESS: 1}),
    },
    "cocoa_cls": {
        **dict.fromkeys(["ok_cocoa_cls", "crowd", "cat_str"], Right([HALF, FULL])),
        **dict.fromkeys(["cat_null", "counts_list1"], Right([HALF])),
        "ann_empty": Right([]),
        "dup_identical": Right([HALF, FULL], {"identical copy of another annotation": 1}),
        "rle_beyond": malformed("RLE runs add up to 106761 pixels, the image has 5120"),
        "rle_cut": malformed("RLE runs add up to 2055 pixels"),
        "rle_double_backslash": malformed("RLE runs add up to 49152 pixels"),
        "vm_list": Right([FULL]),
    },
    "d2sa": {"ok_d2sa": Right([HALF, FULL])},
    "kins": {
        **dict.fromkeys(
            ["ok_kins", "rle_of_kins", "rle_runs", "rle_runs_float", "rle_runs_string", "rle_size_float",
             "rle_list_of_one", "rle_bytes_repr", "rle_extra_keys", "poly_string_numbers"],
            Right([HALF, FULL]),
        ),
        "rle_np_bytes_counts": Right([HALF]),
        "same_image_two_annotators_flat": Right([HALF, HALF]),
        "poly_1e6": Right([33.96, FULL]),
        "poly_hole_ring": Right([89.18]),
        "poly_selfx": Right([39.0, FULL], {}, {"visible mask sticks out of the amodal mask": 1}),
        **dict.fromkeys(["poly_1e12", "poly_2e8", "poly_3e+07", "poly_1e+07"], malformed(FAR, FULL)),
        **dict.fromkeys(
            ["odd_part", "short_part", "nan_part", "poly_4_first"], Right([HALF, FULL], {}, {LEFT_OUT: 1})
        ),
        **dict.fromkeys(["odd_short", "poly_odd"], malformed(r"an odd number of coordinates \(9\)", FULL)),
        **dict.fromkeys(["poly_null", "poly_pairs", "poly_bool"], malformed("a polygon must be a flat list", FULL)),
        **dict.fromkeys(["empty_list", "empty_nested"], Right([FULL], {"amodal mask is empty": 1})),
        "rle_empty": malformed("RLE counts are not a COCO compressed string", FULL),
        "rle_size_swapped": malformed(r"RLE of size \[32, 24\] in an image of size \[24, 32\]", FULL),
        "rle_zero_runs": Right([FULL], {"visible mask lies wholly outside the amodal mask": 1}),
        "poly_normalised": Right(
            [FULL], {"visible mask lies wholly outside the amodal mask": 1}, {},
            "its coordinates are fractions of the image, pixels are expected",
        ),
    },
}  # fmt: skip
REFUSED = {
    "trailing_comma": "not valid JSON: trailing comma in object in line 1, column 675, near",
    "utf16": "is UTF-16, JSON files are UTF-8: save it as UTF-8",
    "latin1": "not UTF-8: byte 0xe9 in line 1, column 433. Perhaps it is Latin-1: save it as UTF-8",
}
DERIVED = [(dataset, name) for dataset, known in COUNTED.items() for name in known]


def opened(cases: Path, dataset: str, name: str) -> Any:
    return ab.load_dataset(dataset, root=cases / name)


@pytest.mark.parametrize(("dataset", "name"), DERIVED)
def test_a_specimen_gives_its_right_value(cases: Path, dataset: str, name: str) -> None:
    right, found = COUNTED[dataset][name], opened(cases, dataset, name)
    scores = [100 * (s.visible & s.amodal).sum() / (s.visible | s.amodal).sum() for s in found]
    assert scores == pytest.approx(right.scores, abs=0.005)
    assert (found.funnel.as_dict()["dropped"], found.funnel.as_dict()["noted"]) == (right.dropped, right.noted)
    assert any(re.search(right.told, fault.detail) for fault in found.faults()) or not right.told


@pytest.mark.parametrize("name", REFUSED)
def test_a_specimen_is_named_as_what_it_is(cases: Path, name: str) -> None:
    with pytest.raises(DatasetNotReady, match=re.escape(REFUSED[name])):
        opened(cases, "coco_a", name)


@pytest.mark.parametrize("name", ["or_1xN", "or_Nx1", "or_edges"])
def test_masks_at_the_edges_are_usable(cases: Path, name: str) -> None:
    found = opened(cases, "coco_a", name)
    assert found.funnel.dropped.total() == 0
    assert len(list(found)) == len(found) == found.funnel.read
