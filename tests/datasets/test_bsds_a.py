"""BSDS-A on a file checked by hand (tests/data/formats/bsds_a): two images, two annotators each."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from amodal_bench.datasets.bsds_a import BsdsA, BsdsAOptions
from amodal_bench.errors import DatasetNotReady
from amodal_bench.plugin import Location
from amodal_bench.types import Mask

LeftOut = Callable[[Any, str, str], None]
FIXTURES = Path(__file__).parent.parent / "data" / "formats" / "bsds_a"
NAME = "BSDS_amodal_test.json"
PHOTOS = Path("BSR/BSDS500/data/images/test")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The file, and photos with the last two digits of the image id in the red channel."""
    shutil.copytree(FIXTURES, tmp_path / "annotations")
    (tmp_path / PHOTOS).mkdir(parents=True)
    for number in (100075, 100080):
        PIL.Image.new("RGB", (12, 10), (number % 100, 0, 0)).save(tmp_path / PHOTOS / f"{number}.jpg", quality=100)
    return tmp_path


def opened(root: Path, images: Path | None = None, **options: Any) -> BsdsA:
    return BsdsA(
        Location(name="bsds_a", root=root, images=images, cache=root / "cache"), "test", BsdsAOptions(**options)
    )


def columns(left: int, right: int) -> Mask:
    mask = np.zeros((10, 12), dtype=np.bool_)
    mask[:, left:right] = True
    return mask


def test_the_first_annotator_of_each_image_counts(root: Path) -> None:
    dataset = opened(root)
    assert list(dataset.ids()) == [
        f"bsds_a/test/{id}" for id in ("100080/0.1", "100075/0.1", "100075/0.3", "100075/0.4")
    ]
    assert dataset.funnel.as_dict() == {"read": 7, "kept": 4, "dropped": {"another annotator": 3}, "noted": {}}
    bear, cub, rock, grass = dataset
    assert (bear.query.category, grass.is_stuff, rock.declared_rate) == ("bear", True, 0.5)
    assert bear.query.image[0, 0, 0] in range(78, 83)
    assert cub.query.image[0, 0, 0] in range(73, 78)  # not paired by position
    np.testing.assert_array_equal(rock.amodal, columns(1, 3))
    np.testing.assert_array_equal(rock.visible, columns(2, 3))
    np.testing.assert_array_equal(cub.visible, columns(0, 2))


def test_all_annotators_keep_the_images_together(root: Path) -> None:
    dataset = opened(root, annotator="all")
    ids = [id.removeprefix("bsds_a/test/") for id in dataset.ids()]
    assert ids == ["100080/0.1", "100080/1.1", "100080/1.2", "100075/0.1", "100075/0.3", "100075/0.4", "100075/1.1"]
    assert [dataset.group(id) for id in dataset.ids()] == ["100080"] * 3 + ["100075"] * 4
    assert dataset.funnel.dropped.total() == 0
    np.testing.assert_array_equal(dataset[6].amodal, columns(0, 3))


@pytest.mark.parametrize(
    ("options", "left", "dropped"),
    [
        ({"include_stuff": False}, 3, {"another annotator": 3, "stuff": 1}),
        ({"include_stuff": False, "annotator": "all"}, 6, {"stuff": 1}),
        ({"include_unoccluded": False}, 1, {"another annotator": 3, "unoccluded": 3}),
        ({"min_area": 48, "annotator": "all"}, 4, {"smaller than min_area": 3}),
    ],
)
def test_options_choose(root: Path, options: dict[str, Any], left: int, dropped: dict[str, int]) -> None:
    dataset = opened(root, **options)
    assert (len(dataset), dataset.funnel.as_dict()["dropped"]) == (left, dropped)


def test_the_file_may_lie_in_the_root_and_images_elsewhere(root: Path, tmp_path: Path) -> None:
    (root / "annotations" / NAME).rename(root / NAME)
    (root / "BSR").rename(tmp_path / "bsds")
    folder = tmp_path / "bsds" / "BSDS500" / "data" / "images"
    for images in (folder, folder / "test"):
        assert opened(root, images)[0].query.image.shape == (10, 12, 3)
    with pytest.raises(DatasetNotReady, match="BSR/BSDS500/data/images/test/ not found under"):
        opened(root)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda text: text[:500], "not valid JSON: it ends before its last bracket"),
        (lambda text: text.replace('"regions"', '"region"'), r"missing required field `regions` - at `\$\.annotations"),
        (
            lambda text: text.replace('"segmentation"', '"mask"'),
            r"missing required field `segmentation`: not in the official format",
        ),
        (
            lambda text: text.replace('"id": 100080', '"id": 100075', 1),
            "none of the 7 annotations can be read. The first: .*",
        ),
    ],
)
def test_a_broken_file_is_refused_with_its_place(root: Path, change: Callable[[str], str], told: str) -> None:
    path = root / "annotations" / NAME
    path.write_text(change(path.read_text()))
    with pytest.raises(DatasetNotReady, match=rf"BSDS_amodal_test\.json: .*{told}"):
        opened(root)


@pytest.mark.parametrize(
    ("change", "reason", "told"),
    [
        (
            lambda text: text.replace('"order": 3', '"order": "x"'),
            "no depth order (order), by which regions are told apart",
            "region of order x",
        ),
        (
            lambda text: text.replace('"regions"', '"region"', 1),
            "not in the official format",
            r"annotations\[0\]: Object missing required field `regions`",
        ),
        (
            lambda text: text.replace('"segmentation"', '"mask"', 1),
            "not in the official format",
            r"annotator 0, regions\[0\]: Object missing required field `segmentation`",
        ),
        (
            lambda text: text.replace('"image_id": 100075', '"image_id": 5', 1),
            "its image is not in images",
            "image 5, annotator 0",
        ),
        (
            lambda text: text.replace('"height": 10', '"height": -10', 1),
            "the entry of its image is not in the official format",
            r"images\[0\]: Expected `int` >= 1 - at `\$\.height`",
        ),
    ],
)
def test_what_can_not_be_read_is_left_out_and_counted(
    root: Path, left_out: LeftOut, change: Callable[[str], str], reason: str, told: str
) -> None:
    path = root / "annotations" / NAME
    path.write_text(change(path.read_text()))
    left_out(opened(root), reason, told)


def test_the_same_order_twice_and_malformed_polygons_are_counted(root: Path) -> None:
    path = root / "annotations" / NAME
    file = json.loads(path.read_text())
    regions = file["annotations"][1]["regions"]
    regions[0]["order"] = 3
    regions[2]["segmentation"] = [1.0, 2.0, 3.0]
    path.write_text(json.dumps(file))
    dropped = {"another annotator": 3, "another region has the same order": 2, "malformed mask": 1}
    assert opened(root).funnel.as_dict()["dropped"] == dropped
