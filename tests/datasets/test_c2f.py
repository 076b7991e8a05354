"""The pickles and lists of C2F-Seg, for KINS and for COCOA-cls, in files that the tests write."""

import json
import os
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from amodal_bench.datasets.cocoa_cls import CocoaCls, CocoaClsOptions
from amodal_bench.datasets.kins import Kins, KinsOptions
from amodal_bench.errors import DatasetNotReady, Refused
from amodal_bench.masks import rle
from amodal_bench.plugin import Location
from amodal_bench.types import Mask

FORMATS = Path(__file__).parent.parent / "data" / "formats"
Data = dict[Any, Any]


def columns(left: int, right: int) -> Mask:
    mask = np.zeros((10, 12), dtype=np.bool_)
    mask[:, left:right] = True
    return mask


def polygon(left: int, right: int) -> list[float]:
    return [left, 0.0, right, 0.0, right, 10.0, left, 10.0]


def found(amodal: Any, visible: Mask, predicted: Mask, **more: Any) -> Data:
    box = np.array([0, 0, 3, 3])
    return {
        "gt_full_mask": amodal,
        "gt_visible_mask": rle.encode(visible),
        "pred_visible_mask": rle.encode(predicted),
        "pred_visible_mask_bbox": box,
        **more,
    }


def kins_objects() -> Data:
    """Image 5: seen half, two polygons, not listed. Image 2: nothing predicted."""
    return {
        5: {
            0: found([polygon(0, 6)], columns(0, 3), columns(0, 2), occlude_rate=np.float64(0.5)),
            4: found([polygon(0, 2), polygon(6, 8)], columns(0, 2), columns(1, 2)),
            7: found([polygon(0, 2)], columns(0, 2), columns(1, 2)),
        },
        np.int64(2): {np.int64(1): found([polygon(4, 6)], columns(4, 6), columns(0, 0))},
    }


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The intersection and fusion files of KINS with photos; image 5 is file 9, 2 is 1."""
    for number in (1, 9):
        photo = tmp_path / "testing" / "image_2" / f"{number:06d}.png"
        photo.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.new("RGB", (12, 10), (number, 0, 0)).save(photo)
    shutil.copy(FORMATS / "kins" / "update_test_2020.json", tmp_path)
    shutil.copy(FORMATS / "kins" / "instances_val.json", tmp_path / "instances_val_upate.json")
    write(tmp_path, "kins_intersection", kins_objects(), "5_0 2_1 5_4 5_0")
    return tmp_path


def write(root: Path, name: str, objects: object, rows: str, listing: str = "", protocol: int = 4) -> None:
    (root / f"{name}.pkl").write_bytes(pickle.dumps(objects, protocol))
    (root / (listing or f"{name}_list.txt")).write_text(rows.replace(" ", "\n") + "\n")


def kins(root: Path, **options: Any) -> Kins:
    return Kins(
        Location(name="kins", root=root, cache=root / "cache"), "test", KinsOptions(**{"release": "c2f", **options})
    )


@pytest.mark.parametrize("visible", ["gt", "predicted"])
def test_the_intersection_of_kins(root: Path, visible: str) -> None:
    dataset = kins(root, visible=visible)
    unseen = ["kins/test/2/1"] if visible == "gt" else []
    assert list(dataset.ids()) == ["kins/test/5/0", "kins/test/5/4", *unseen]
    half, merged = dataset[0], dataset[1]
    np.testing.assert_array_equal(half.amodal, columns(0, 6))
    np.testing.assert_array_equal(half.visible, columns(0, 3))
    np.testing.assert_array_equal(half.query.visible, columns(0, 3 if visible == "gt" else 2))
    np.testing.assert_array_equal(merged.amodal, columns(0, 2) | columns(6, 8))
    assert (half.declared_rate, half.occlusion_rate, half.query.image[0, 0, 0]) == (0.5, 0.5, 9)
    empty = {} if unseen else {"predicted visible mask is empty": 1}
    assert dataset.funnel.as_dict() == {
        "read": 5,
        "kept": 2 + len(unseen),
        "dropped": {"listed twice": 1, "not in kins_intersection_list.txt": 1, **empty},
        "noted": {},
    }


def test_the_releases_in_one_folder_must_be_chosen_between(root: Path) -> None:
    with pytest.raises(Refused, match=r"holds the KINS releases 2020, c2f of test"):
        kins(root, release="auto")
    (root / "update_test_2020.json").unlink()
    assert len(kins(root, release="auto")) == 3


def test_the_fusion_list_of_kins_mixes_detected_and_annotated_objects(root: Path) -> None:
    objects = {"aisformer_5": {3: found([polygon(0, 6)], columns(0, 3), columns(0, 2))}}
    # 5_1_4: the second annotation of image 5 in the 2020 file, whose id is 33.
    write(root, "fusion_test", objects, "5_1_4 aisformer,5,3 2_0_4", "c2f_seg_test_list.txt")
    dataset = kins(root, objects="fusion", visible="predicted")
    assert list(dataset.ids()) == ["kins/test/5/33", "kins/test/5/aisformer.3", "kins/test/2/32"]
    annotated, detected, _ = dataset
    assert (annotated.true_visible, annotated.query.category) == (None, "cyclist")
    np.testing.assert_array_equal(detected.query.visible, columns(0, 2))
    np.testing.assert_array_equal(detected.visible, columns(0, 3))


def test_images_that_two_files_number_differently_stay_apart(root: Path) -> None:
    path = root / "instances_val_upate.json"
    path.write_text(path.read_text().replace("000009.png", "000001.png"))
    objects = {"aisformer_5": {3: found([polygon(0, 6)], columns(0, 3), columns(0, 2))}}
    write(root, "fusion_test", objects, "5_0_4 aisformer,5,3", "c2f_seg_test_list.txt")
    dataset = kins(root, objects="fusion")
    assert list(dataset.ids()) == ["kins/test/2020.5/31", "kins/test/5/aisformer.3"]
    assert [sample.query.image[0, 0, 0] for sample in dataset] == [9, 1]


def cocoa(root: Path, split: str = "val", **options: Any) -> CocoaCls:
    settings = CocoaClsOptions(release="c2f", **options)
    return CocoaCls(Location(name="cocoa_cls", root=root, cache=root / "cache"), split, settings)


@pytest.mark.parametrize(("name", "row", "id"), [("vrsp_77", "vrsp,77,2", "vrsp.2"), (77, "77_2", "2")])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_cocoa(tmp_path: Path, name: str | int, row: str, id: str, protocol: int) -> None:
    shutil.copy(FORMATS / "cocoa_cls" / "COCO_amodal_val2014_with_classes.json", tmp_path)
    (tmp_path / "val2014").mkdir()
    for number in (9, 77):
        PIL.Image.new("RGB", (12, 10)).save(tmp_path / "val2014" / f"COCO_val2014_{number:012d}.jpg")
    objects = {name: {2: found(rle.encode(columns(0, 6)), columns(0, 3), columns(0, 2))}}
    # The second row is the first annotation of the JSON file, by its place; the path is that of its author.
    rows = f"{row} 0,/somewhere/val2014/COCO_val2014_000000000009.jpg"
    write(tmp_path, "fusion_test", objects, rows, "c2f_seg_test_list.txt", protocol)
    dataset = cocoa(tmp_path, visible="predicted")
    assert list(dataset.ids()) == [f"cocoa_cls/val/77/{id}", "cocoa_cls/val/9/501"]
    detected, annotated = dataset
    np.testing.assert_array_equal(detected.amodal, columns(0, 6))
    np.testing.assert_array_equal(detected.query.visible, columns(0, 2))
    np.testing.assert_array_equal(detected.visible, columns(0, 3))
    assert (annotated.query.category, annotated.true_visible) == ("toothbrush", None)
    assert cocoa(tmp_path)[0].true_visible is None


def row(text: str) -> Callable[[Path], None]:
    return lambda root: write(root, "kins_intersection", kins_objects(), text)


def value(change: Callable[[Data], object]) -> Callable[[Path], None]:
    def apply(root: Path) -> None:
        objects = kins_objects()
        change(objects)
        write(root, "kins_intersection", objects, "5_0")

    return apply


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (
            row("5_0 5_9"),
            r"_list\.txt line 2 \(5_9\): kins_intersection\.pkl has no object 9 under the key 5",
        ),
        (row("vrsp,5,0"), r"line 1 \(vrsp,5,0\): .* has no object 0 under the key 'vrsp_5'"),
        (row("5_0_4"), r"line 1 \(5_0_4\): names an annotation of the official JSON file, which is not there"),
        (
            row("five"),
            r"line 1 \(five\): expected IMAGE_OBJECT, DETECTOR,IMAGE,OBJECT, IMAGE_PLACE_CATEGORY or PLACE,PATH",
        ),
        (value(lambda o: o.update({"five": o[5]})), r"the keys 'five', 0 are not IMAGE or DETECTOR_IMAGE, OBJECT"),
        (value(lambda o: o.update({6: o.pop(5)})), r"has no object 0 under the key 5"),
        (lambda root: write(root, "kins_intersection", [1, 2], "5_0"), "the pickle must be a dict, got list"),
    ],
)
def test_broken_pickles_and_lists_are_refused_with_their_place(
    root: Path, damage: Callable[[Path], None], told: str
) -> None:
    damage(root)
    with pytest.raises(DatasetNotReady, match=rf"kins_intersection.*{told}"):
        kins(root)


@pytest.mark.parametrize(
    ("damage", "reason", "told"),
    [
        (
            value(lambda o: o[5][0].pop("gt_full_mask")),
            "not in the official format",
            r"\.pkl: 5, object 0: .* missing required field `gt_full_mask`",
        ),
        (
            value(lambda o: o[5][0].update(pred_visible_mask={"counts": b"0"})),
            "the size of its image is not stated",
            "5, object 0: pred_visible_mask has no size",
        ),
        (
            value(lambda o: o[5][0]["pred_visible_mask"].update(size=[-10, 12])),
            "the size of its image is not stated",
            "5, object 0",
        ),
        (value(lambda o: o.update({99: {1: o[5][0]}})), "not in kins_intersection_list.txt", "99, object 1"),
    ],
)
def test_objects_that_can_not_be_read_are_left_out_and_counted(
    root: Path, damage: Callable[[Path], None], reason: str, told: str
) -> None:
    damage(root)
    dataset = kins(root)
    assert dataset.funnel.dropped[reason] == 1 if "list" not in reason else dataset.funnel.dropped[reason] >= 1
    assert any(re.search(told, fault.detail) for fault in dataset.faults() if fault.kind == reason)


def test_a_declared_rate_that_is_no_number_is_none(root: Path) -> None:
    value(lambda objects: objects[5][0].update(occlude_rate="much"))(root)
    assert kins(root)[0].declared_rate is None


def test_rows_beyond_the_end_of_the_json_file_are_refused(root: Path) -> None:
    write(root, "fusion_test", {}, "2_90_4", "c2f_seg_test_list.txt")
    with pytest.raises(DatasetNotReady, match=r"line 1 \(2_90_4\): update_test_2020\.json has no such annotation"):
        kins(root, objects="fusion")


@pytest.mark.parametrize("mask", [7, [[1.0, float("nan")] * 3], {"size": [10, 12], "counts": b"0"}])
def test_malformed_masks_are_counted(root: Path, mask: Any) -> None:
    value(lambda objects: objects[5][0].update(gt_full_mask=mask))(root)
    assert kins(root).funnel.dropped["malformed mask"] == 1


class Attack:
    """Pickles as a call of the shell."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self._trace}",)


def test_a_pickle_that_calls_the_shell_is_refused_and_not_run(root: Path) -> None:
    trace = root / "was-run"
    value(lambda objects: objects[5][0].update(gt_full_mask=Attack(trace)))(root)
    with pytest.raises(DatasetNotReady, match=r"kins_intersection\.pkl: refused: the pickle names posix\.system"):
        kins(root)
    assert not trace.exists()


def test_a_cut_off_pickle_is_told(root: Path) -> None:
    path = root / "kins_intersection.pkl"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(DatasetNotReady, match=r"kins_intersection\.pkl: cannot be read as a pickle"):
        kins(root)


def test_the_images_file_must_have_images(root: Path) -> None:
    (root / "instances_val_upate.json").write_text(json.dumps({"annotations": []}))
    with pytest.raises(DatasetNotReady, match=r"instances_val_upate\.json: .*missing required field `images`"):
        kins(root)
