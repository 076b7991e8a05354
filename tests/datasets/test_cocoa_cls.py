"""COCOA-cls on files checked by hand (tests/data/formats/cocoa_cls), and on broken ones."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from amodal_bench.datasets.cocoa_cls import CocoaCls, CocoaClsOptions
from amodal_bench.errors import DatasetNotReady, Refused
from amodal_bench.plugin import Location
from amodal_bench.types import Mask

LeftOut = Callable[[Any, str, str], None]
FIXTURES = Path(__file__).parent.parent / "data" / "formats" / "cocoa_cls"
CLASSES = "COCO_amodal_val2014_with_classes.json"
NO_STUFF = "COCO_amodal_val2014_detectron_no_stuff.json"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Both files, and photos with the image id in the red channel."""
    shutil.copytree(FIXTURES, tmp_path / "annotations")
    (tmp_path / "val2014").mkdir()
    for number in (9, 77):
        path = tmp_path / "val2014" / f"COCO_val2014_{number:012d}.jpg"
        PIL.Image.new("RGB", (12, 10), (number, 0, 0)).save(path, quality=100)
    return tmp_path


def opened(root: Path, split: str = "val", images: Path | None = None, **options: Any) -> CocoaCls:
    return CocoaCls(
        Location(name="cocoa_cls", root=root, images=images, cache=root / "cache"), split, CocoaClsOptions(**options)
    )


def box(left: int, top: int, right: int, bottom: int) -> Mask:
    mask = np.zeros((10, 12), dtype=np.bool_)
    mask[top:bottom, left:right] = True
    return mask


COLUMN, COLUMNS = box(1, 0, 2, 10), box(1, 0, 3, 10)


def test_with_classes_is_the_default(root: Path) -> None:
    dataset = opened(root)
    assert list(dataset.ids()) == ["cocoa_cls/val/9/501", "cocoa_cls/val/77/502", "cocoa_cls/val/77/503"]
    hidden, whole, outside = dataset
    np.testing.assert_array_equal(hidden.amodal, COLUMNS)
    np.testing.assert_array_equal(hidden.visible, COLUMN)
    assert (hidden.query.category, hidden.declared_rate, hidden.occlusion_rate) == ("toothbrush", 0.5, 0.5)
    np.testing.assert_array_equal(whole.visible, COLUMNS)  # no visible_mask: nothing hides it
    assert (whole.query.category, whole.occlusion_rate) == ("person", 0)
    np.testing.assert_array_equal(outside.amodal, box(2, 0, 6, 10))  # uncompressed
    np.testing.assert_array_equal(outside.visible, COLUMNS)
    assert [int(s.query.image[0, 0, 0]) in range(v - 2, v + 3) for s, v in zip(dataset, (9, 77, 77), strict=True)]
    assert dataset.funnel.as_dict() == {
        "read": 6,
        "kept": 3,
        "dropped": {
            "malformed mask": 1,  # 505: size is (width, height)
            "no visible mask (visible_mask), but an occlusion rate above 0": 1,
            "visible mask is empty": 1,
        },
        "noted": {"visible mask sticks out of the amodal mask": 1},
    }


def test_the_file_without_classes_has_polygons(root: Path) -> None:
    dataset = opened(root, release="no_stuff")
    assert list(dataset.ids()) == ["cocoa_cls/val/77/1", "cocoa_cls/val/9/2"]
    whole, hidden = dataset
    np.testing.assert_array_equal(whole.amodal, box(2, 2, 12, 10))  # a flat list, up to the border
    np.testing.assert_array_equal(whole.visible, whole.amodal)
    np.testing.assert_array_equal(hidden.amodal, box(0, 0, 6, 8))
    np.testing.assert_array_equal(hidden.visible, COLUMN)
    assert {s.query.category for s in dataset} == {"object"}
    assert dataset.fingerprint() != opened(root).fingerprint()


@pytest.mark.parametrize("folder", ["", "COCOA_annotations_detectron"])
def test_the_files_may_lie_in_three_folders(root: Path, folder: str) -> None:
    (root / folder).mkdir(exist_ok=True)
    (root / "annotations" / CLASSES).rename(root / folder / CLASSES)
    assert len(opened(root)) == 3


def test_images_may_lie_elsewhere(root: Path, tmp_path: Path) -> None:
    (tmp_path / "coco").mkdir()
    (root / "val2014").rename(tmp_path / "coco" / "val2014")
    for images in (tmp_path / "coco", tmp_path / "coco" / "val2014"):
        assert opened(root, images=images)[0].query.image.shape == (10, 12, 3)
    with pytest.raises(DatasetNotReady, match="val2014/ not found under"):
        opened(root)


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({"include_unoccluded": False}, ["9/501", "77/503"]),
        ({"min_area": 21}, ["77/503"]),
        ({"rates": "[.4, .6]"}, ["9/501"]),
    ],
)
def test_options_choose(root: Path, options: dict[str, Any], left: list[str]) -> None:
    assert [id.removeprefix("cocoa_cls/val/") for id in opened(root, **options).ids()] == left


@pytest.mark.parametrize(
    ("split", "options", "told"),
    [
        ("test", {}, r"COCO_amodal_test2014_with_classes\.json \(dataset\.release=with_classes\) not found"),
        (
            "train",
            {"release": "no_stuff"},
            r"COCO_amodal_train2014_detectron_no_stuff\.json \(dataset\.release=no_stuff\)",
        ),
        ("val", {"release": "c2f"}, r"fusion_test\.pkl and c2f_seg_test_list\.txt \(dataset\.release=c2f\) not found"),
        ("train", {"release": "c2f"}, r"fusion_train\.pkl and c2f_seg_train_list\.txt"),
        ("test", {"release": "c2f"}, "release c2f has the splits train and val, asked for was test"),
        ("val", {"visible": "predicted"}, "with_classes holds no predicted masks: .* goes with release=c2f"),
    ],
)
def test_what_is_not_there_is_refused(root: Path, split: str, options: dict[str, Any], told: str) -> None:
    with pytest.raises(Refused, match=told):
        opened(root, split, **options)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda text: text[:-40], "not valid JSON: it ends before its last bracket"),
        (
            lambda text: text.replace('"segmentation"', '"regions"'),
            r"missing required field `segmentation` - at `\$\.annotations\[0\]`",
        ),
        (lambda text: text.replace('"height": 10', '"height": 0'), "Expected `int` >= 1"),
        (
            lambda text: text.replace('"categories": [', '"categories": 3, "c": ['),
            r"Expected `array`, got `int`.*categories",
        ),
    ],
)
def test_a_broken_file_is_refused_with_its_place(root: Path, change: Callable[[str], str], told: str) -> None:
    path = root / "annotations" / CLASSES
    path.write_text(change(path.read_text()))
    with pytest.raises(DatasetNotReady, match=rf"with_classes\.json: .*{told}"):
        opened(root)


@pytest.mark.parametrize(
    ("change", "reason", "told"),
    [
        (
            lambda text: text.replace('"segmentation"', '"regions"', 1),
            "not in the official format",
            r"annotations\[0\]: Object missing required field `segmentation`",
        ),
        (
            lambda text: text.replace('"id": 502', '"id": null'),
            "not in the official format",
            r"annotations\[1\]: Expected `int \| float \| str`, got `null` - at `\$\.id`",
        ),
        (
            lambda text: text.replace('"image_id": 77', '"image_id": 78', 1),
            "its image is not in images",
            "image 78, annotation 502",
        ),
    ],
)
def test_what_can_not_be_read_is_left_out_and_counted(
    root: Path, left_out: LeftOut, change: Callable[[str], str], reason: str, told: str
) -> None:
    path = root / "annotations" / CLASSES
    path.write_text(change(path.read_text()))
    left_out(opened(root), reason, told)


def test_a_declared_rate_that_is_no_number_is_none(root: Path) -> None:
    path = root / "annotations" / CLASSES
    path.write_text(path.read_text().replace('"occlude_rate": 0.5', '"occlude_rate": "much"'))
    assert None in [sample.declared_rate for sample in opened(root)]


def test_damaged_counts_are_told_or_counted(root: Path) -> None:
    path = root / "annotations" / CLASSES
    text = path.read_text()
    path.write_text(text.replace(":d0j2", ":d0j", 1))
    assert opened(root).funnel.dropped["malformed mask"] == 2
    path.write_text(text.replace(":d0j2", ":d0j2" * 50, 1))
    dataset = opened(root)
    assert dataset.funnel.dropped["malformed mask"] == 2
    assert any("image 9, annotation 501: RLE runs add up to" in fault.detail for fault in dataset.faults())
