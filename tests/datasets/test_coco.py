"""Everybody's own COCO file: which key holds which mask, found in the file and told."""

import gzip
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from amodal_bench.datasets.coco import Coco, CocoOptions
from amodal_bench.errors import BadRecord, DatasetNotReady
from amodal_bench.formats.doctor import inspect_dataset
from amodal_bench.plugin import Location

FIXTURE = Path(__file__).parent.parent / "data" / "formats" / "coco" / "own.json"
HEIGHT, WIDTH = 8, 12
Polygon = list[list[int]]


def columns(start: int, stop: int) -> Polygon:
    return [[start, 0, stop, 0, stop, HEIGHT, start, HEIGHT]]


def write(folder: Path, annotations: Sequence[dict[str, Any]], name: str = "test.json") -> Path:
    """A file of one image; every annotation gets an id."""
    folder.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("RGB", (WIDTH, HEIGHT), (9, 8, 7)).save(folder / "street.png")
    file = {
        "images": [{"id": 7, "file_name": "street.png", "height": HEIGHT, "width": WIDTH}],
        "categories": [{"id": 3, "name": "car"}],
        "annotations": [{"id": k + 1, "image_id": 7, "category_id": 3, **own} for k, own in enumerate(annotations)],
    }
    (folder / name).write_text(json.dumps(file))
    return folder / name


def opened(root: Path, split: str = "test", images: Path | None = None, **options: Any) -> Coco:
    cache = (root.parent if root.is_file() else root) / "cache"
    return Coco(Location(name="coco", root=root, images=images, cache=cache), split, CocoOptions(**options))


def widths(dataset: Coco) -> list[tuple[int, int]]:
    """Columns of the amodal and the visible mask of each instance."""
    return [(int(s.amodal[0].sum()), int(s.visible[0].sum())) for s in dataset]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "own"


def test_the_file_alone_is_enough(root: Path) -> None:
    root.mkdir()
    shutil.copy(FIXTURE, root)
    PIL.Image.new("RGB", (WIDTH, HEIGHT), (9, 8, 7)).save(root / "street.png")
    dataset = opened(root / "own.json")
    assert list(dataset.ids()) == ["coco/test/7/1", "coco/test/7/2"]
    assert widths(dataset) == [(8, 4), (6, 6)]
    assert [(s.query.category, s.query.image[0, 0].tolist()) for s in dataset] == [
        ("car", [9, 8, 7]), ("person", [9, 8, 7])
    ]  # fmt: skip
    assert dataset.funnel.as_dict()["dropped"] == {
        "a crowd (iscrowd), not one object": 1, "no visible mask, but an occlusion rate above 0": 1,
    }  # fmt: skip
    assert dict(dataset.categories()) == {"3": "car", "5": "person"}


A, V, I = columns(0, 8), columns(0, 4), columns(4, 8)  # noqa: E741  (amodal, visible, invisible)


@pytest.mark.parametrize(
    "annotation",
    [
        *({"segmentation": A, key: V} for key in ("visible_mask", "inmodal_seg", "visible_segmentation", "i_segm")),
        *({"segmentation": A, key: I} for key in ("invisible_mask", "occluded_mask")),
        {"segmentation": A, "visible_mask": V, "invisible_mask": columns(0, 1)},  # the visible one says more
        {"segmentation": V, "amodal_segmentation": A},
        {"a_segm": A, "i_segm": V},
    ],
    ids=lambda annotation: "+".join(annotation),
)
def test_keys_are_found_and_told(root: Path, annotation: dict[str, Any]) -> None:
    dataset = opened(write(root, [annotation]))
    assert widths(dataset) == [(8, 4)]
    told = " ".join(dataset.remarks())
    assert all(f"{key} (1)" in told for key in annotation if key != "segmentation" or "a_segm" not in annotation)
    assert "and looks like it" in told


def test_the_depth_order_tells_what_is_seen(root: Path) -> None:
    dataset = opened(write(root, [{"segmentation": A, "order": 2}, {"segmentation": I, "order": 1}]))
    assert widths(dataset) == [(8, 4), (4, 4)]
    assert dataset.funnel.as_dict()["noted"] == {"no visible mask: it is the amodal one less what lies in front": 1}
    assert "depth order (order, 1 in front) of 2 annotations" in dataset.remarks()
    partly = opened(write(root, [{"segmentation": A}, {"segmentation": I, "order": 1}]))
    assert partly.funnel.as_dict()["dropped"] == {
        "no visible mask, and neither an invisible one nor the depth order tells what is seen": 2
    }


def test_modal_segmentation_is_an_option_and_doctor_says_so_from_the_data(root: Path) -> None:
    path = write(root, [{"segmentation": V, "invisible_mask": I}])
    amodal = opened(path)
    assert amodal.funnel.as_dict()["dropped"] == {"invisible mask lies wholly outside the amodal mask": 1}
    assert [f.text for f in inspect_dataset(amodal) if "segmentation is read" in f.text] == [
        "segmentation is read as amodal, but looks modal: 1 invisible masks lie outside it; if it is modal: "
        "--set dataset.segmentation=modal"
    ]
    modal = opened(path, segmentation="modal")
    assert widths(modal) == [(8, 4)]
    assert "segmentation is read as modal and looks like it" in list(modal.remarks())[-1]
    wrong = opened(write(root, [{"segmentation": A, "invisible_mask": I}]), segmentation="modal")
    assert widths(wrong) == [(8, 8)]
    assert "but no instance has a hidden pixel; if it is amodal" in list(wrong.remarks())[-1]


def test_modal_masks_without_a_whole_one(root: Path) -> None:
    dataset = opened(
        write(root, [
            {"segmentation": V, "amodal_mask": A},
            {"segmentation": V},  # nothing hides it
            {"segmentation": V, "occlude_rate": 0.5},
            {"amodal_mask": A},
            {"segmentation": V, "invisible_mask": {"size": [1, 1], "counts": "01"}},
        ])
    )  # fmt: skip
    assert widths(dataset) == [(8, 4), (4, 4)]
    assert dataset.funnel.as_dict()["dropped"] == {
        "malformed mask": 1, "no amodal mask, but an occlusion rate above 0": 1, "visible mask is empty": 1,
    }  # fmt: skip


def test_keys_of_your_own(root: Path) -> None:
    path = write(root, [{"segmentation": A, "seen part": V}])
    with pytest.raises(DatasetNotReady, match=r"nothing tells.*no annotation has visible_mask.*seen part, segm"):
        opened(path)
    assert widths(opened(path, visible="seen part")) == [(8, 4)]
    path = write(root, [{"whole": A, "segmentation": V}])
    assert widths(opened(path, amodal="whole")) == [(8, 4)]


def test_ordinary_instances_are_refused(root: Path) -> None:
    path = write(root, [{"segmentation": A, "bbox": [0, 0, 8, 8], "area": 64, "iscrowd": 0}])
    with pytest.raises(DatasetNotReady, match=r"They have area, bbox.*Ordinary instances, as COCO's own, hold no amod"):
        opened(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [("occlude_rate", 0.25), ("occlusion_rate", 0.25), ("bop_visib_fract", 0.75), ("visib_fract", ".75")],
)
def test_declared_rates_are_held_against_the_masks(root: Path, key: str, value: Any) -> None:
    dataset = opened(write(root, [{"segmentation": A, "visible_mask": V, key: value}]))
    assert dataset[0].declared_rate == 0.25
    assert dataset.funnel.as_dict()["noted"] == {"declared occlusion rate differs by more than .01 from the masks": 1}


def test_stuff_is_kept(root: Path) -> None:
    own = {"segmentation": A, "visible_mask": V}
    assert [s.is_stuff for s in opened(write(root, [own, {**own, "isStuff": 1}]))] == [None, True]


def test_the_file_of_a_split_is_found_in_a_folder(root: Path) -> None:
    own = [{"segmentation": A, "visible_mask": V}]
    write(root / "annotations", own, "instances_val2017.json")
    (root / "images").mkdir()
    (root / "annotations" / "street.png").rename(root / "images" / "street.png")
    assert opened(root, "val")[0].query.image.shape == (HEIGHT, WIDTH, 3)
    with pytest.raises(DatasetNotReady, match=r"a JSON file for the split test not found under"):
        opened(root, "test")  # the one there is of another split
    write(root / "annotations", own, "val_mine.json")
    with pytest.raises(
        DatasetNotReady, match=r"holds annotations/instances_val2017\.json, annotations/val_mine\.json: "
    ):
        opened(root, "val")
    write(root, own, "mine.json")
    assert len(opened(root, "train")) == 1


def test_packed_files_and_photos_elsewhere(root: Path, tmp_path: Path) -> None:
    path = write(root, [{"segmentation": A, "visible_mask": V}])
    (root / "mine.json.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    assert widths(opened(root)) == [(8, 4)]
    (root / "street.png").rename(tmp_path / "street.png")
    with pytest.raises(BadRecord, match=r"image 7, annotation 1: image street\.png not found in"):
        opened(root)[0]
    assert opened(root, images=tmp_path)[0].query.image.shape == (HEIGHT, WIDTH, 3)


def test_masks_are_equal_to_those_of_pycocotools(root: Path) -> None:
    """Every mask of the fixture, drawn by the reference itself."""
    coco = pytest.importorskip("pycocotools.coco").COCO(str(FIXTURE))
    root.mkdir()
    shutil.copy(FIXTURE, root)
    PIL.Image.new("RGB", (WIDTH, HEIGHT)).save(root / "street.png")
    for sample in opened(root / "own.json"):
        annotation = coco.anns[int(sample.query.id.rsplit("/", 1)[1])]
        assert np.array_equal(sample.amodal, coco.annToMask(annotation).astype(bool))
