"""Values that no reader expects, as damaged and as strange files have them: each is left out, or refused by name."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

import amodal_bench as ab
from amodal_bench.errors import DatasetNotReady
from amodal_bench.formats.json_files import whole
from amodal_bench.formats.matching import plain_image
from amodal_bench.masks import rle

HEIGHT, WIDTH = 20, 32
LONG, SURROGATE = "9" * 5000, "\ud800"  # more digits than Python turns into a number; no text of any file


def code(left: int, right: int) -> rle.Code:
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
    mask[5:15, left:right] = True
    return rle.encode(mask)


def spelled(left: int, right: int) -> dict[str, Any]:
    found = code(left, right)
    return {"size": found["size"], "counts": found["counts"].decode()}


def photo(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("RGB", (WIDTH, HEIGHT), (90, 9, 7)).save(path)


def entry(name: str) -> dict[str, Any]:
    return {"id": 7, "file_name": name, "height": HEIGHT, "width": WIDTH}


def coco(root: Path, categories: list[Any]) -> Any:
    cup = {"id": 1, "image_id": 7, "category_id": 3, "segmentation": spelled(0, 9), "visible_mask": spelled(0, 6)}
    photo(root / "7.png")
    (root / "test.json").write_text(
        json.dumps({"images": [entry("7.png")], "annotations": [cup], "categories": categories})
    )
    return ab.load_dataset("coco", root=root)


@pytest.mark.parametrize("bad", [{"name": "cup"}, [], "cup", None, {"id": [3], "name": "cup"}])
def test_a_category_that_is_none_is_passed_over(tmp_path: Path, bad: Any) -> None:
    dataset = coco(tmp_path, [bad, {"id": 3, "name": "car"}])
    assert dataset.categories() == {"3": "car"}
    assert dataset[0].query.category == "car"


@pytest.mark.parametrize(
    ("text", "number"), [("7", 7), ("007", 7), (LONG, None), ("٣", None), ("-1", None), ("", None)]
)
def test_whole_numbers_have_few_digits_of_one_script(text: str, number: int | None) -> None:
    assert whole(text) == number


def test_a_number_without_end_is_an_images_name_like_any_other() -> None:
    assert plain_image(f"007:{LONG}") == f"7:{LONG}"


# FishBowl


def savos(root: Path, fish: str, frame: Any, mask: Any = None) -> Any:
    record = {"FM": [mask or code(0, 9)], "VM": [code(0, 6)]}
    photo(root / "test_data" / "test_frames" / "00007" / "00001.png")
    (root / "test_data" / "test_data.pkl").write_bytes(pickle.dumps({"7_3": {1: record}, fish: {frame: record}}))
    return ab.load_dataset("fishbowl", root=root)


@pytest.mark.parametrize("frame", [LONG, "²", -1, 2**31, 1.5])
def test_a_frame_that_is_no_number_is_refused(tmp_path: Path, frame: Any) -> None:
    with pytest.raises(DatasetNotReady, match=r"test_data\.pkl: 7_8: its frames must be whole numbers, one is"):
        savos(tmp_path, "7_8", frame)


def test_a_fish_may_have_any_number(tmp_path: Path) -> None:
    assert list(savos(tmp_path, f"7_{LONG}", 1).ids()) == [
        "fishbowl/test/00007:00001/3",
        f"fishbowl/test/00007:00001/{LONG}",
    ]


# C2F-Seg


def c2f(root: Path, objects: Any, rows: str, protocol: int = 4) -> Any:
    (root / "kins_intersection.pkl").write_bytes(pickle.dumps(objects, protocol))
    (root / "kins_intersection_list.txt").write_text(rows)
    (root / "instances_val_upate.json").write_text(json.dumps({"images": [entry("000007.png")]}))
    photo(root / "testing" / "image_2" / "000007.png")
    return ab.load_dataset("kins", root=root, release="c2f")


def found(**other: Any) -> dict[str, Any]:
    masks = {"gt_full_mask": code(0, 9), "gt_visible_mask": code(0, 6), "pred_visible_mask": code(0, 7)}
    return {**masks, **other}


@pytest.mark.parametrize("row", [f"7_{LONG}", f"{LONG}_0", f"vrsp,7,{LONG}", "٣_0"])
def test_a_row_with_a_number_without_end_is_refused_with_its_line(tmp_path: Path, row: str) -> None:
    with pytest.raises(DatasetNotReady, match=r"kins_intersection_list\.txt line 2 .*expected IMAGE_OBJECT"):
        c2f(tmp_path, {7: {0: found()}}, f"7_0\n{row}\n")


@pytest.mark.parametrize("objects", [{7: {LONG: found()}}, {LONG: {0: found()}}, {"²": {0: found()}}])
def test_a_key_with_a_number_without_end_is_refused(tmp_path: Path, objects: Any) -> None:
    with pytest.raises(DatasetNotReady, match=r"kins_intersection\.pkl: the keys .* are not IMAGE or DETECTOR_IMAGE"):
        c2f(tmp_path, objects, "7_0\n")


@pytest.mark.parametrize("mask", [SURROGATE, {SURROGATE: 1}, {"size": [20, 32], "counts": SURROGATE}, [[1, SURROGATE]]])
def test_an_object_that_is_no_text_is_left_out(tmp_path: Path, mask: Any) -> None:
    dataset = c2f(tmp_path, {7: {0: found(), 1: found(gt_full_mask=mask)}}, "7_0\n7_1\n")
    assert list(dataset.ids()) == ["kins/test/7/0"]
    assert dataset.funnel.dropped.total() == 1


def test_a_detector_may_have_any_name(tmp_path: Path) -> None:
    dataset = c2f(tmp_path, {f"a/b{SURROGATE}_7": {0: found()}, 7: {0: found()}}, "7_0\n")
    assert (list(dataset.ids()), dataset.funnel.read) == (["kins/test/7/0"], 2)


# Others


def test_a_key_that_is_no_text_hurts_its_region_alone(tmp_path: Path) -> None:
    good = {"segmentation": code(0, 9), "visible_mask": code(0, 6)}
    regions = [good, {SURROGATE: 1, **good}, {SURROGATE: 1}]
    photo(tmp_path / "mp3d_eval" / "7.png")
    content = {"images": [entry("7.png")], "annotations": [{"regions": regions}]}
    (tmp_path / "MP3D_seleted_eval_10.29.pkl").write_bytes(pickle.dumps(content))
    assert list(ab.load_dataset("mp3d", root=tmp_path).ids()) == ["mp3d/eval/7/0", "mp3d/eval/7/1"]


@pytest.mark.parametrize("image", ["word", LONG, "03", "٣", "-3", ""])
def test_an_image_of_bop_without_a_number_of_its_own_is_left_out(tmp_path: Path, image: str) -> None:
    scene = tmp_path / "test" / "000001"
    for kind in ("mask", "mask_visib"):
        for number in (3, 4):
            photo(scene / "rgb" / f"{number:06d}.png")
            path = scene / kind / f"{number:06d}_000000.png"
            path.parent.mkdir(exist_ok=True)
            PIL.Image.fromarray(rle.decode(code(0, 9))).save(path)
    info = {"px_count_all": 90, "px_count_visib": 90, "visib_fract": 1, "bbox_obj": [0, 5, 9, 10]}
    numbers = ("3", "4", image)
    (scene / "scene_gt.json").write_text(json.dumps({number: [{"obj_id": 5}] for number in numbers}))
    (scene / "scene_gt_info.json").write_text(json.dumps({number: [info] for number in numbers}))
    dataset = ab.load_dataset("bop", root=tmp_path)
    assert list(dataset.ids())[-1] == "bop/test/000001:000004/0"
    assert dataset.funnel.dropped["not in the official format"] == (2 if image == "03" else 1)
    assert any("is no whole number, or there twice" in fault.detail for fault in dataset.faults())
    assert list(dataset.remarks()) == []


@pytest.mark.parametrize("sides", [(10**30, 32), (20, -3), (0, 0), (20, 10**9)])
def test_a_drawing_of_impossible_size_is_refused(tmp_path: Path, sides: tuple[int, int]) -> None:
    file = {"shapes": [], "imagePath": "a.png", "imageHeight": sides[0], "imageWidth": sides[1]}
    (tmp_path / "a.json").write_text(json.dumps(file))
    with pytest.raises(
        DatasetNotReady, match=r"a\.json: not in the official format: Expected `int` .*image(Height|Width)"
    ):
        ab.load_dataset("labelme", root=tmp_path)


def test_a_photo_of_a_drawing_may_have_too_long_a_name(tmp_path: Path) -> None:
    corners = [[[0, 5], [right, 5], [right, 15], [0, 15]] for right in (9, 6)]
    shapes = [{"label": label, "points": own} for label, own in zip(("cup", "cup_visible"), corners, strict=True)]
    file = {"shapes": shapes, "imagePath": "x" * 300, "imageHeight": HEIGHT, "imageWidth": WIDTH}
    (tmp_path / "a.json").write_text(json.dumps(file))
    dataset = ab.load_dataset("labelme", root=tmp_path)
    assert len(dataset) == 1
    assert [fault.kind for fault in dataset.faults()] == ["image is missing or unreadable"]


def stretched(descr: str, shape: str) -> Callable[[bytes], bytes]:
    """The .npy file with another header."""

    def change(data: bytes) -> bytes:
        end = data.index(b"}")
        text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
        return data[: data.index(b"{")] + text.ljust(end + 1 - data.index(b"{")) + data[end + 1 :]

    return change


@pytest.mark.parametrize(
    "change",
    [
        stretched("'<i4'", "((("),
        stretched("'<i4'", "(" * 50),
        stretched("'<i4'", "(99999999999, 99999999999)"),
        stretched("'<i4'", "(-1, 5)"),
        stretched("'<i4'", "(0, 0)"),
        stretched("'x'", "(20, 32)"),
        stretched("None", "(20, 32)"),
        stretched("'|O'", "(20, 32)"),
        lambda data: data[:9],
        lambda data: b"PK\x03\x04" + data,
    ],
)
def test_an_id_map_with_a_damaged_header_is_counted(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    scene = tmp_path / "val" / "scene"
    for frame in ("000001", "000002"):
        photo(scene / "images" / f"{frame}.bmp")
        (scene / "visible").mkdir(exist_ok=True)
        np.save(scene / "visible" / f"{frame}.npy", rle.decode(code(0, 6)).astype(np.int32) * 3)
        (scene / "3_cup").mkdir(exist_ok=True)
        PIL.Image.fromarray(rle.decode(code(0, 9))).save(scene / "3_cup" / f"{frame}.png")
    path = scene / "visible" / "000002.npy"
    path.write_bytes(change(path.read_bytes()))
    dataset = ab.load_dataset("sailvos", root=tmp_path)
    assert list(dataset.ids()) == ["sailvos/val/scene:000001/3"]
    assert +dataset.funnel.dropped == {"malformed mask": 1}


def test_a_frame_with_many_digits_has_the_number_of_the_last(tmp_path: Path) -> None:
    name = f"scene/{'1' * 30}4.bmp"
    masks = {"segmentation": spelled(0, 9), "visible_mask": spelled(0, 6)}
    content = {"images": [entry(name)], "annotations": [{"id": 1, "image_id": 7, "obj_id": 2, **masks}]}
    (tmp_path / "valid.json").write_text(json.dumps(content))
    assert len(ab.load_dataset("sailvos", root=tmp_path, frame_stride=2)) == 1


# Pickles


def laughing(times: int) -> list[Any]:
    """A list that holds one list twice, which holds one list twice, and so on."""
    value: list[Any] = [1]
    for _ in range(times):
        value = [value, value]
    return value


def holding_itself() -> list[Any]:
    value: list[Any] = [1]
    value.append(value)
    return value


@pytest.mark.parametrize("value", [laughing(60), holding_itself()])
@pytest.mark.parametrize("open", [lambda root, mask: c2f(root, {7: {0: found(gt_full_mask=mask)}}, "7_0\n"),
                                  lambda root, mask: savos(root, "7_8", 1, mask)])  # fmt: skip
def test_lists_in_lists_without_end_are_refused(tmp_path: Path, open: Callable[[Path, Any], Any], value: Any) -> None:
    with pytest.raises(DatasetNotReady, match=r"\.pkl: refused: written out, the pickle would hold more than"):
        open(tmp_path, value)


@pytest.mark.parametrize("mask", [np.empty((10**12, 0), dtype=np.int32), {"size": np.empty((10**9, 0, 10**9))}])
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_large_array_of_nothing_is_refused(tmp_path: Path, mask: Any, protocol: int) -> None:
    objects = {7: {0: found(gt_full_mask=mask)}}
    with pytest.raises(DatasetNotReady, match=r"kins_intersection\.pkl: cannot be read as a pickle: .*holds nothing"):
        c2f(tmp_path, objects, "7_0\n", protocol)
