"""COCO-A on a file with the quirks of the real ones, checked by hand, and on broken files."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from amodal_bench.datasets.coco_a import CocoA, CocoAOptions
from amodal_bench.errors import BadRecord, DatasetNotReady
from amodal_bench.masks import rle
from amodal_bench.plugin import Location
from amodal_bench.types import Mask

HEIGHT, WIDTH = 20, 30
Make = Callable[..., Path]
Cli = Callable[..., subprocess.CompletedProcess[str]]


def rectangle(left: int, top: int, right: int, bottom: int) -> list[float]:
    return [float(c) for c in (left, top, right, top, right, bottom, left, bottom)]


def pixels(left: int, top: int, right: int, bottom: int) -> Mask:
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
    mask[top:bottom, left:right] = True
    return mask


def spelled(mask: Mask) -> dict[str, Any]:
    code = rle.encode(mask)
    return {"size": code["size"], "counts": code["counts"].decode()}


FRONT, MIDDLE, BACK = (2, 2, 12, 12), (8, 4, 20, 16), (0, 0, 30, 20)
MIDDLE_SEEN = pixels(*MIDDLE) & ~pixels(*FRONT)
BACK_SEEN = pixels(*BACK) & ~pixels(*FRONT) & ~pixels(*MIDDLE)


def regions() -> list[dict[str, Any]]:
    """Three regions of orders 1, 2 and 5 (a gap), the last one stuff that touches all borders."""
    middle, back = pixels(*MIDDLE), pixels(*BACK)
    return [
        {"segmentation": rectangle(*FRONT), "name": "cup ", "isStuff": 0, "order": 1, "occlude_rate": 0, "area": 100},
        {"segmentation": rectangle(*MIDDLE), "name": "dougnut", "isStuff": 0, "order": 2, "area": 144,
         "occlude_rate": 1 - MIDDLE_SEEN.sum() / middle.sum(), "visible_mask": spelled(MIDDLE_SEEN),
         "invisible_mask": spelled(middle & ~MIDDLE_SEEN)},
        {"segmentation": rectangle(*BACK), "name": "table", "isStuff": 1, "order": 5, "area": 600,
         "occlude_rate": 1 - BACK_SEEN.sum() / back.sum(), "visible_mask": spelled(BACK_SEEN)},
    ]  # fmt: skip


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write a COCO-A tree of two images whose annotations stand in the other order than the images."""

    def write(first: list[dict[str, Any]] | None = None, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Path:
        names = {7: "COCO_val2014_000000000007.jpg", 3: "COCO_val2014_000000000003.jpg"}
        images = [
            {"id": id, "file_name": name, "height": HEIGHT, "width": WIDTH, "data_captured": "?", "license": 1}
            for id, name in names.items()
        ]
        annotations = [
            {"id": 1, "image_id": 3, "author": "a", "size": 15, "regions": regions()[:1]},
            {"id": 2, "image_id": 7, "size": 11, "depth_constraint": "1-2,1-5,2-5", "regions": first or regions()},
        ]
        for folder in ("annotations", "val2014"):
            (tmp_path / folder).mkdir(exist_ok=True)
        for id, name in names.items():
            PIL.Image.new("RGB", size, (10 * id, 0, 0)).save(tmp_path / "val2014" / name)
        text = json.dumps({"images": images, "annotations": annotations})
        (tmp_path / "annotations" / "COCO_amodal_val2014.json").write_text(text)
        return tmp_path

    return write


def opened(root: Path, images: Path | None = None, **options: Any) -> CocoA:
    return CocoA(
        Location(name="coco_a", root=root, images=images, cache=root / "cache"), "val", CocoAOptions(**options)
    )


def test_every_region_is_an_instance_joined_to_its_own_image(make: Make) -> None:
    dataset = opened(make())
    assert dataset.ids() == ["coco_a/val/3/0.1", "coco_a/val/7/0.1", "coco_a/val/7/0.2", "coco_a/val/7/0.5"]
    sample = dataset[2]
    assert np.array_equal(sample.amodal, pixels(*MIDDLE))
    assert np.array_equal(sample.visible, MIDDLE_SEEN)
    assert sample.query.category == "dougnut"
    assert sample.query.image[0, 0, 0] in range(66, 75)  # image 7, not the first annotation's
    assert sample.occlusion_rate == pytest.approx(sample.declared_rate)
    assert [s.is_stuff for s in dataset] == [False, False, False, True]
    assert np.array_equal(dataset[1].visible, dataset[1].amodal)
    assert dataset.funnel.as_dict() == {"read": 4, "kept": 4, "dropped": {}, "noted": {}}


def test_stuff_is_no_thing(make: Make) -> None:
    dataset = opened(make())
    seen = dataset[1].visible | dataset[2].visible
    assert (dataset[3].visible & ~seen).any()
    assert all(np.array_equal(dataset.seen(index).things, seen) for index in (1, 2, 3))
    assert np.array_equal(dataset.seen(0).things, dataset[0].visible)


def test_stuff_can_be_left_out_and_is_counted(make: Make) -> None:
    dataset = opened(make(), include_stuff=False)
    assert len(dataset) == 3
    assert dataset.funnel.as_dict()["dropped"] == {"stuff": 1}


def test_the_index_is_kept_and_read_again(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make()
    first = opened(root)
    monkeypatch.setattr(CocoA, "records", lambda self, files: pytest.fail("read the annotations again"))
    again = opened(root)
    assert again.ids() == first.ids()
    assert again.funnel == first.funnel


def test_images_may_lie_elsewhere(make: Make, tmp_path: Path) -> None:
    root = make()
    elsewhere = tmp_path / "coco" / "images"
    elsewhere.mkdir(parents=True)
    (root / "val2014").rename(elsewhere / "val2014")
    for images in (elsewhere, elsewhere / "val2014"):
        assert opened(root, images)[0].query.image.shape == (HEIGHT, WIDTH, 3)


def test_unusable_regions_are_counted_by_reason_and_odd_ones_noted(make: Make) -> None:
    bad = regions()
    bad[0]["segmentation"] = [1.0, 2.0, 3.0, 4.0]
    bad[1]["visible_mask"] = spelled(np.zeros((HEIGHT, WIDTH), dtype=np.bool_))
    bad[2]["occlude_rate"] = 0.9
    hollow = {"segmentation": rectangle(5, 5, 6, 6), "order": 7, "visible_mask": spelled(pixels(4, 4, 8, 8))}
    wrong_size = {"segmentation": rectangle(0, 0, 9, 9), "order": 8, "visible_mask": {"size": [3, 3], "counts": "9"}}
    twins = [{"segmentation": rectangle(0, 0, 9, 9), "order": 9} for _ in range(2)]
    dataset = opened(make([*bad, hollow, wrong_size, *twins]))
    assert dataset.funnel.as_dict() == {
        "read": 8,
        "kept": 3,
        "dropped": {
            "identical copy of another annotation": 1,
            "malformed mask": 2,
            "no visible mask, and neither invisible_mask nor the depth order tells what is seen": 1,
            "visible mask is empty": 1,
        },
        "noted": {
            "declared occlusion rate differs by more than .01 from the masks": 1,
            "visible mask is not the amodal one less what lies in front": 2,
            "visible mask sticks out of the amodal mask": 1,
        },
    }


def test_an_image_of_another_size_is_not_resized_to_the_annotation(make: Make) -> None:
    dataset = opened(make(size=(2 * WIDTH, 2 * HEIGHT)))
    with pytest.raises(BadRecord, match=r"is 60 x 40, its annotation says 30 x 20 \(width x height\): a resized copy"):
        dataset[0]


def test_an_image_of_another_shape_is_not_the_one_that_was_annotated(make: Make) -> None:
    dataset = opened(make(size=(HEIGHT, WIDTH)))
    with pytest.raises(BadRecord, match=r"000003.jpg is 20 x 30, its annotation says 30 x 20 .*: another shape"):
        dataset[0]


def test_a_missing_or_broken_image_is_named_when_it_is_needed(make: Make) -> None:
    root = make()
    dataset = opened(root)
    path = root / "val2014" / "COCO_val2014_000000000003.jpg"
    path.write_bytes(b"")
    with pytest.raises(BadRecord, match=r"000003.jpg: not a readable image"):
        dataset[0]
    path.unlink()
    with pytest.raises(
        BadRecord, match=r"image 3, annotator 0, region of order 1: image COCO_val.* not found in .*val2014"
    ):
        dataset[0]


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/../../b.jpg", "..\\b.jpg", "/../b.jpg", ".", "/", ""])
def test_a_file_name_that_leads_out_of_the_folder_is_refused(make: Make, name: str) -> None:
    root = make()
    path = root / "annotations" / "COCO_amodal_val2014.json"
    file = json.loads(path.read_text())
    file["images"][1]["file_name"] = name
    path.write_text(json.dumps(file))
    with pytest.raises(BadRecord, match="leads out of the image folder"):
        opened(root)[0]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            lambda text: text[: len(text) // 2],
            "COCO_amodal_val2014.json: not valid JSON: it ends before its last bracket",
        ),
        (lambda _: "[]", r"not in the official format: Expected `object`, got `array`"),
        (lambda _: '{"images": []}', r"Object missing required field `annotations`"),
    ],
)
def test_a_broken_file_is_refused_with_its_place(make: Make, change: Callable[[str], str], text: str) -> None:
    root = make()
    path = root / "annotations" / "COCO_amodal_val2014.json"
    path.write_text(change(path.read_text()))
    with pytest.raises(DatasetNotReady, match=text):
        opened(root)


def test_a_missing_folder_is_explained(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotReady) as caught:
        opened(tmp_path / "nowhere")
    for part in ("annotations/COCO_amodal_val2014.json not found under", "train2014/", "the folder does not exist",
                 "amodalAPI", "Licence:", "--root DIR"):  # fmt: skip
        assert part in str(caught.value)


def test_doctor_tells_counts_release_and_single_faults(make: Make, cli: Cli, tmp_path: Path) -> None:
    odd = regions()
    odd[1]["occlude_rate"] = 0.9
    odd[2]["visible_mask"]["counts"] = "oops"
    root = make(
        [*odd, {"segmentation": rectangle(5, 5, 6, 6), "order": 7, "visible_mask": spelled(pixels(4, 4, 8, 8))}]
    )
    (root / "val2014" / "COCO_val2014_000000000003.jpg").unlink()
    PIL.Image.new("RGB", (60, 40)).save(root / "val2014" / "COCO_val2014_000000000007.jpg")
    done = cli("doctor", "coco_a", "--root", root, "--csv", tmp_path / "faults.csv")
    assert done.returncode == 2
    for line in (
        "○ images: 2, published 1,323",
        "○ dropped 1: malformed mask",
        "○ kept 1: visible mask sticks out of the amodal mask",
        "(none of the known releases)",
        "✗ the first instance cannot be read: COCO_amodal_val2014.json: image 3",
        "○ 1 x malformed mask, e.g. coco_a/val/7/0.5: COCO_amodal_val2014.json: image 7, annotator 0, region of",
        "○ 1 x image is missing or unreadable, e.g. coco_a/val/3",
        "○ 1 x image is of another size, e.g. coco_a/val/7: 60 x 40, annotated as 30 x 20",
    ):
        assert line in done.stdout, line
    table = (tmp_path / "faults.csv").read_text().splitlines()
    assert table[0] == "id,kind,detail"
    assert any(
        line.startswith("coco_a/val/7/0.7,visible mask sticks out") and "outside_area 15" in line for line in table
    )
    assert any("declared_rate 0.9" in line for line in table)
