import os
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from amodal_bench.datasets.folder import Folder, FolderOptions
from amodal_bench.errors import BadRecord, DatasetNotReady
from amodal_bench.plugin import Location

Bytes = NDArray[np.uint8]

SIZE = (6, 8)  # height, width


def bar(columns: int) -> Bytes:
    mask = np.zeros(SIZE, dtype=np.uint8)
    mask[:, :columns] = 255
    return mask


def save(path: Path, array: Bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(array).save(path)


def write_object(root: Path, name: str, visible: Bytes, amodal: Bytes, suffix: str = ".png") -> None:
    save(root / "image" / f"{name}{suffix}", np.full((*SIZE, 3), len(name), dtype=np.uint8))
    save(root / "visible" / f"{name}.png", visible)
    save(root / "amodal" / f"{name}.png", amodal)


def opened(root: Path, split: str = "test", images: Path | None = None, **options: bool) -> Folder:
    cache = root.parent / "cache"
    return Folder(Location(name="folder", root=root, images=images, cache=cache), split, FolderOptions(**options))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    write_object(folder, "b cup", bar(3), bar(6))
    write_object(folder, "a", bar(5), bar(5), ".JPG")
    return folder


def test_three_folders_of_equal_names_are_a_dataset(root: Path) -> None:
    dataset = opened(root)
    assert list(dataset.ids()) == ["folder/test/a/0", "folder/test/b cup/0"]
    sample = dataset[1]
    np.testing.assert_array_equal(sample.visible, bar(3) > 0)
    np.testing.assert_array_equal(sample.amodal, bar(6) > 0)
    assert (sample.query.id, sample.query.image_id) == ("folder/test/b cup/0", "b cup")
    assert sample.query.image[0, 0].tolist() == [5, 5, 5]
    assert sample.occlusion_rate == 0.5
    assert dataset.group(dataset.ids()[0]) == "a"
    assert dataset.funnel.as_dict() == {"read": 2, "kept": 2, "dropped": {}, "noted": {}}


def test_masks_have_two_values_and_more_are_told(root: Path) -> None:
    grey = np.zeros(SIZE, dtype=np.uint8)
    grey[1] = 1
    write_object(root, "a", grey, grey, ".JPG")
    visible = opened(root)[0].visible
    assert (visible[0].any(), visible[1].all()) == (False, True)
    grey[2] = 2
    write_object(root, "c", grey, grey)
    with pytest.raises(BadRecord, match=r"visible/c\.png: a PNG of mode L has 3 values \(0, 1, 2\)"):
        opened(root)[2]


def test_hidden_files_are_not_there(root: Path) -> None:
    for name in ("image/._a.JPG", "visible/.DS_Store", "amodal/._b cup.png"):
        (root / name).write_bytes(b"\0\5\x16\7")
    assert list(opened(root).ids()) == ["folder/test/a/0", "folder/test/b cup/0"]


def test_a_name_that_is_not_utf_8_has_an_id_that_is(root: Path) -> None:
    for kind in ("image", "visible", "amodal"):
        source = next((root / kind).glob("b cup.*"))
        source.rename(root / kind / os.fsdecode(b"caf\xe9.png"))
    dataset = opened(root)
    assert list(dataset.ids()) == ["folder/test/a/0", "folder/test/caf\\xe9/0"]
    assert dataset[1].query.id.encode() == b"folder/test/caf\\xe9/0"
    assert dataset[1].query.image[0, 0].tolist() == [5, 5, 5]


def test_a_folder_of_the_split_comes_before_the_root(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_object(root / "val", "v", bar(1), bar(2))
    assert list(opened(root, "val").ids()) == ["folder/val/v/0"]
    assert list(opened(root).ids()) == ["folder/test/a/0", "folder/test/b cup/0"]
    assert not caplog.text
    assert opened(root, "train").ids()[0] == "folder/train/a/0"
    assert "has no folder train: all of it is read as that split" in caplog.text


def test_images_may_lie_elsewhere(root: Path, tmp_path: Path) -> None:
    (root / "image").rename(tmp_path / "photos")
    assert opened(root, images=tmp_path / "photos")[0].query.image.shape == (*SIZE, 3)


def test_empty_masks_are_counted_out_and_strays_noted(root: Path) -> None:
    write_object(root, "c", bar(0), bar(4))
    write_object(root, "d", bar(0), bar(0))
    write_object(root, "e", bar(4), bar(3))
    write_object(root, "f", bar(4), ~bar(4))
    dataset = opened(root)
    assert len(dataset) == 3
    assert dataset.funnel.dropped == {
        "visible mask is empty": 1, "amodal mask is empty": 1, "visible mask lies wholly outside the amodal mask": 1,
    }  # fmt: skip
    assert dataset.funnel.noted == {"visible mask sticks out of the amodal mask": 1}


def test_masks_are_decoded_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = opened(root)
    with monkeypatch.context() as patch:
        patch.setattr(Folder, "_measure", lambda self: pytest.fail("decoded again"))
        again = opened(root)
    assert (again.ids(), again.fingerprint()) == (first.ids(), first.fingerprint())
    write_object(root, "c", bar(1), bar(1))
    assert opened(root).fingerprint() != first.fingerprint()


def test_another_image_is_another_dataset(root: Path) -> None:
    first = opened(root).fingerprint()
    file = root / "image" / "b cup.png"
    file.write_bytes(file.read_bytes() + b"\0")
    assert opened(root).fingerprint() != first


def test_a_mask_of_another_size_is_a_bad_record(root: Path) -> None:
    save(root / "amodal" / "a.png", np.full((3, 4), 255, dtype=np.uint8))
    dataset = opened(root)
    assert dataset.funnel.noted == {"not readable, or sizes differ": 1}
    with pytest.raises(BadRecord, match=r"amodal/a\.png is 4 x 3, its image .*a\.JPG is 8 x 6 \(width x height\)"):
        dataset[0]
    assert dataset[1].query.id == "folder/test/b cup/0"


def test_a_damaged_mask_is_a_bad_record(root: Path) -> None:
    (root / "visible" / "a.png").write_bytes(b"not a png")
    dataset = opened(root)
    with pytest.raises(BadRecord, match=r"visible/a\.png: not a readable image"):
        dataset[0]


def test_names_that_differ_are_refused_with_some_of_them(root: Path) -> None:
    for number in range(12):
        save(root / "visible" / f"extra{number:02d}.png", bar(1))
    (root / "amodal" / "a.png").unlink()
    with pytest.raises(DatasetNotReady) as caught:
        opened(root)
    text = str(caught.value)
    assert "13 of 14 names are not in all of image/, visible/ and amodal/" in text
    assert "a (not in amodal), extra00 (not in image, amodal), " in text
    assert "extra08 (not in image, amodal) and 3 more." in text


def test_two_images_of_one_name_are_refused(root: Path) -> None:
    save(root / "image" / "a.png", np.zeros((*SIZE, 3), dtype=np.uint8))
    with pytest.raises(DatasetNotReady, match=r"image holds 'a' twice: a\.JPG and a\.png"):
        opened(root)


def test_missing_folders_and_files_are_told_with_the_tree(root: Path, tmp_path: Path) -> None:
    for file in (root / "amodal").iterdir():
        file.unlink()
    with pytest.raises(DatasetNotReady, match=r"a file \.png, \.jpg, .* in .*amodal not found under") as caught:
        opened(root)
    assert "\nFound: amodal/ (empty), image/ (a.JPG, b cup.png), visible/ (a.png, b cup.png)\n" in str(caught.value)
    (root / "amodal").rmdir()
    with pytest.raises(DatasetNotReady, match=r"the folder amodal/ \(.*\) not found under"):
        opened(root)
    with pytest.raises(DatasetNotReady, match="Found: the folder does not exist"):
        opened(tmp_path / "none")


# Several objects in an image, endings, sub-folders.


def areas(dataset: Folder) -> dict[str, tuple[int, int]]:
    """IMAGE/NUMBER -> columns of the amodal and of the visible mask."""
    ids = (id.removeprefix("folder/test/") for id in dataset.ids())
    return {id: (int(s.amodal[0].sum()), int(s.visible[0].sum())) for id, s in zip(ids, dataset, strict=True)}


def photo(path: Path) -> None:
    save(path, np.full((*SIZE, 3), 5, dtype=np.uint8))


def test_numbered_masks_are_several_objects_of_one_image(root: Path) -> None:
    for number in (1, 2, 10):
        save(root / "visible" / f"a_{number}.png", bar(number % 8))
        save(root / "amodal" / f"a_{number:03d}.png", bar(8))
    for kind in ("visible", "amodal"):
        (root / kind / "a.png").unlink()
    dataset = opened(root)
    assert areas(dataset) == {"a/1": (8, 1), "a/2": (8, 2), "a/10": (8, 2), "b cup/0": (6, 3)}
    assert {sample.query.image_id for sample in dataset} == {"a", "b cup"}


def test_a_name_that_is_an_images_own_is_never_taken_apart(root: Path) -> None:
    write_object(root, "a_1", bar(2), bar(4))
    write_object(root, "c_visible", bar(1), bar(4))
    assert areas(opened(root)) == {"a/0": (5, 5), "a_1/0": (4, 2), "b cup/0": (6, 3), "c_visible/0": (4, 1)}


@pytest.mark.parametrize(
    ("image", "visible", "amodal", "id"),
    [
        ("o", "o_mask", "o", "o/0"),
        ("o", "o_visible", "o_amodal", "o/0"),
        ("o", "o-Modal", "o-FULL", "o/0"),
        ("o", "o_visible_2", "o_2_amodal", "o/2"),
        ("o_rgb", "o_visible", "o_amodal", "o_rgb/0"),
        ("scene/o", "scene/o", "scene/o_mask", "scene/o/0"),
        ("scene 1/cam/o", "scene 1/cam/o_3", "scene 1/cam/o_3", "scene 1/cam/o/3"),
    ],
)
def test_endings_and_sub_folders(tmp_path: Path, image: str, visible: str, amodal: str, id: str) -> None:
    root = tmp_path / "data"
    photo(root / "images" / f"{image}.png")
    save(root / "visible" / f"{visible}.png", bar(3))
    save(root / "amodal" / f"{amodal}.png", bar(6))
    dataset = opened(root)
    assert areas(dataset) == {id: (6, 3)}
    first = dataset.fingerprint()
    save(root / "amodal" / f"{amodal}.png", bar(5))
    assert opened(root).fingerprint() != first


def test_two_masks_of_one_object_are_refused(root: Path) -> None:
    save(root / "visible" / "a_mask.png", bar(1))
    with pytest.raises(DatasetNotReady, match=r"visible/ holds two masks of a: a and a_mask"):
        opened(root)
    (root / "visible" / "a_mask.png").unlink()
    for kind in ("visible", "amodal"):
        save(root / kind / "a_0.png", bar(1))
    with pytest.raises(DatasetNotReady, match=r"amodal/ holds a_0 and a: which is object 0 of it\?"):
        opened(root)


def test_an_object_without_a_partner_is_named(root: Path) -> None:
    save(root / "amodal" / "a_2.png", bar(1))
    save(root / "visible" / "b cup_7.png", bar(1))
    with pytest.raises(DatasetNotReady, match=r"a_2 \(not in visible\), b cup_7 \(not in amodal\)\. Each object"):
        opened(root)


def test_numbered_amodal_masks_go_with_a_visible_id_map(tmp_path: Path) -> None:
    root = tmp_path / "data"
    photo(root / "image" / "street.png")
    ids = np.zeros(SIZE, dtype=np.uint8)
    ids[:, :3], ids[:, 3:5] = 1, 200
    save(root / "visible" / "street.png", ids)
    for number, columns in ((1, 4), (200, 6), (7, 2)):
        mask = bar(columns)
        save(root / "amodal" / f"street_{number}.png", mask)
    dataset = opened(root)
    assert areas(dataset) == {"street/1": (4, 3), "street/200": (6, 2)}
    assert dataset.funnel.as_dict()["dropped"] == {"visible mask is empty": 1}  # 7 is not in the map


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_id_maps_hold_all_objects_of_an_image(tmp_path: Path, dtype: type) -> None:
    root = tmp_path / "data"
    photo(root / "image" / "street.png")
    seen: NDArray[Any] = np.zeros(SIZE, dtype=dtype)
    whole = seen.copy()
    seen[:, :2], seen[:, 4:5] = 1, 200
    whole[:, :4], whole[:, 4:8], whole[0, 3] = 1, 200, 9
    save(root / "visible" / "street.png", seen)
    save(root / "amodal" / "street.png", whole)
    dataset = opened(root, id_maps=True)
    assert [id.removeprefix("folder/test/") for id in dataset.ids()] == ["street/1", "street/200"]
    assert [(int(s.amodal[1].sum()), int(s.visible[1].sum())) for s in dataset] == [(4, 2), (4, 1)]
    assert dataset.funnel.as_dict()["dropped"] == {"visible mask is empty": 1}


def test_an_id_map_in_colour_is_a_bad_record(root: Path) -> None:
    photo(root / "visible" / "a.png")
    dataset = opened(root, id_maps=True)
    assert dataset.funnel.noted == {"not readable, or sizes differ": 1}
    with pytest.raises(BadRecord, match=r"visible/a\.png: an id map has one whole number a pixel, this is .* mode RGB"):
        dataset[0]
