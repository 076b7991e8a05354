"""D2SA on files checked by hand (tests/data/formats/d2sa), and on broken ones."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from amodal_bench.datasets.d2sa import D2sa, D2saOptions
from amodal_bench.errors import BadRecord, DatasetNotReady
from amodal_bench.plugin import Location

LeftOut = Callable[[Any, str, str], None]
FIXTURES = Path(__file__).parent.parent / "data" / "formats" / "d2sa"
FOLDER, VALIDATION = "d2s_amodal_annotations_v1", "D2S_amodal_validation.json"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    shutil.copytree(FIXTURES, tmp_path / FOLDER)
    images = tmp_path / "d2s_amodal_images_v1" / "images"
    images.mkdir(parents=True)
    PIL.Image.new("RGB", (12, 10)).save(images / "D2S_005300.jpg")
    return tmp_path


def opened(root: Path, split: str = "val", images: Path | None = None) -> D2sa:
    return D2sa(Location(name="d2sa", root=root, images=images, cache=root / "cache"), split, D2saOptions())


def test_every_annotation_is_an_instance_or_counted(root: Path) -> None:
    dataset = opened(root)
    assert list(dataset.ids()) == ["d2sa/val/5300/115", "d2sa/val/5300/116", "d2sa/val/5300/117"]
    amodal = np.zeros((10, 12), dtype=np.bool_)
    amodal[:, 1:3] = True
    hidden, whole, polygon = dataset
    np.testing.assert_array_equal(hidden.amodal, amodal)
    np.testing.assert_array_equal(hidden.visible, amodal & (np.arange(12) == 1))
    np.testing.assert_array_equal(whole.visible, amodal)
    assert polygon.amodal[:8, :6].all()
    assert polygon.amodal.sum() == 48
    assert (hidden.query.category, hidden.declared_rate) == ("caona_cocoa", 0.5)
    assert dataset.funnel.as_dict() == {
        "read": 4,
        "kept": 3,
        "dropped": {"no visible mask (visible_mask)": 1},  # this format has one even for what nothing hides
        "noted": {
            "declared occlusion rate differs by more than .01 from the masks": 1,
            "visible mask sticks out of the amodal mask": 1,
        },
    }


@pytest.mark.parametrize(("split", "id"), [("train", "7"), ("train_augmented", "8")])
def test_training_and_augmented_images_are_splits(root: Path, split: str, id: str) -> None:
    assert list(opened(root, split).ids()) == [f"d2sa/{split}/5300/{id}"]


def test_the_published_counts_add_up() -> None:
    counts = [D2sa.card.splits[split] for split in ("train", "train_augmented", "val")]
    assert sum(count["images"] for count in counts) == 5_600
    assert sum(count["annotations"] for count in counts) == 28_720


def test_files_and_images_may_lie_elsewhere(root: Path, tmp_path: Path) -> None:
    (root / FOLDER).rename(root / "annotations")
    (root / "d2s_amodal_images_v1" / "images").rename(root / "images")
    assert opened(root)[0].query.image.shape == (10, 12, 3)
    (root / "images").rename(tmp_path / "photos")
    assert opened(root, images=tmp_path / "photos")[0].query.image.shape == (10, 12, 3)
    with pytest.raises(DatasetNotReady, match="d2s_amodal_images_v1/images/ not found under"):
        opened(root)


def test_a_missing_file_is_explained(root: Path) -> None:
    (root / FOLDER / VALIDATION).unlink()
    with pytest.raises(DatasetNotReady, match=r"d2s_amodal_annotations_v1/D2S_amodal_validation\.json not found under"):
        opened(root)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda text: text[:-9], "not valid JSON: it ends before its last bracket"),
        (
            lambda text: text.replace('"width": 12', '"width": "wide"'),
            r"Expected `int \| null`, got `str` - at `\$\.images\[0\]\.width`",
        ),
    ],
)
def test_a_broken_file_is_refused_with_its_place(root: Path, change: Callable[[str], str], told: str) -> None:
    path = root / FOLDER / VALIDATION
    path.write_text(change(path.read_text()))
    with pytest.raises(DatasetNotReady, match=rf"D2S_amodal_validation\.json: .*{told}"):
        opened(root)


@pytest.mark.parametrize(
    ("change", "reason", "told"),
    [
        (
            lambda text: text.replace('"id": 116, ', ""),
            "not in the official format",
            r"annotations\[1\]: Object missing required field `id`",
        ),
        (
            lambda text: text.replace('"image_id": 5300, "cat', '"image_id": 1, "cat', 1),
            "its image is not in images",
            "image 1, annotation 115",
        ),
    ],
)
def test_what_can_not_be_read_is_left_out_and_counted(
    root: Path, left_out: LeftOut, change: Callable[[str], str], reason: str, told: str
) -> None:
    path = root / FOLDER / VALIDATION
    path.write_text(change(path.read_text()))
    left_out(opened(root), reason, told)


def test_an_image_that_is_empty_or_elsewhere_is_named(root: Path) -> None:
    path = root / "d2s_amodal_images_v1" / "images" / "D2S_005300.jpg"
    path.write_bytes(b"")
    with pytest.raises(BadRecord, match=r"D2S_005300\.jpg: not a readable image"):
        opened(root)[0]
    path.unlink()
    with pytest.raises(BadRecord, match=r"image 5300, annotation 115: image D2S_005300\.jpg not found in"):
        opened(root)[0]
