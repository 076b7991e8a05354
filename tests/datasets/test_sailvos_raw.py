"""SAIL-VOS as its authors pack it: frames, id maps and a mask file for every object."""

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from amodal_bench.datasets.sailvos import SailVos, SailVosOptions
from amodal_bench.datasets.sailvos import raw as raw
from amodal_bench.errors import BadRecord, DatasetNotReady
from amodal_bench.plugin import Location
from amodal_bench.types import Mask

HEIGHT, WIDTH = 12, 16
IDS = ["scene_a:000002/3", "scene_a:000002/17", "scene_a:000010/3", "scene_a:000010/17", "scene_b:000001/3"]


def box(left: int, top: int, right: int, bottom: int) -> Mask:
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
    mask[top:bottom, left:right] = True
    return mask


# Object 3 stands before object 17.
FRONT, BACK = box(2, 2, 8, 10), box(4, 4, 12, 8)


def write_mask(path: Path, pixels: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(pixels).save(path)


def write_frame(scene: Path, number: int, objects: dict[str, Mask], red: int = 0) -> None:
    """Objects from front to back, `ID_NAME`: mask."""
    for folder in ("images", "visible"):
        (scene / folder).mkdir(parents=True, exist_ok=True)
    PIL.Image.new("RGB", (WIDTH, HEIGHT), (red, 0, 0)).save(scene / "images" / f"{number:06d}.bmp")
    seen = np.zeros((HEIGHT, WIDTH), dtype=np.int32)
    for name, mask in reversed(objects.items()):
        seen[mask] = int(name.split("_")[0])
        write_mask(scene / name / f"{number:06d}.png", mask.astype(np.uint8) * 255)
    np.save(scene / "visible" / f"{number:06d}.npy", seen)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    both = {"3_prop_car": FRONT, "17_person": BACK}
    write_frame(root / "scene_a", 10, both, red=10)
    write_frame(root / "scene_a", 2, both, red=2)
    write_frame(root / "scene_b", 1, {"3_dog": BACK}, red=1)
    (root / "scene_a" / "depth").mkdir()
    (root / "scene_a" / "3_prop_car_mesh").mkdir()
    np.save(root / "scene_a" / "visible_objects.npy", np.array([3, 17]))
    return root


def opened(root: Path, split: str = "val", images: Path | None = None, **options: Any) -> SailVos:
    location = Location(name="sailvos", root=root, images=images, cache=root.parent / "cache")
    return SailVos(location, split, SailVosOptions(**options))


def spelled(dataset: SailVos) -> list[str]:
    return [id.removeprefix(f"sailvos/{dataset.split}/") for id in dataset.ids()]


def test_scenes_are_read_by_frame_and_object(root: Path) -> None:
    dataset = opened(root)
    assert spelled(dataset) == IDS
    assert dataset.group(dataset.ids()[0]) == "scene_a"
    assert dataset.funnel.as_dict() == {"read": 5, "kept": 5, "dropped": {}, "noted": {}}
    np.testing.assert_array_equal(dataset[0].visible, FRONT)
    np.testing.assert_array_equal(dataset[1].amodal, BACK)
    np.testing.assert_array_equal(dataset[1].visible, BACK & ~FRONT)
    np.testing.assert_array_equal(dataset[4].visible, BACK)
    assert [sample.query.category for sample in dataset] == ["prop_car", "person", "prop_car", "person", "dog"]
    assert [int(sample.query.image[0, 0, 0]) for sample in dataset] == [2, 2, 10, 10, 1]


def test_masks_of_three_channels_are_read_as_one(root: Path) -> None:
    path = root / "scene_b" / "3_dog" / "000001.png"
    PIL.Image.fromarray(np.repeat(BACK[..., None].astype(np.uint8) * 255, 3, axis=2)).save(path)
    sample = opened(root)[4]
    assert (int(sample.amodal.sum()), sample.occlusion_rate) == (BACK.sum(), 0)


@pytest.mark.parametrize(
    ("options", "kept", "dropped"),
    [
        ({"frame_stride": 10}, [2, 3], {"frame skipped by frame_stride": 3}),
        ({"include_unoccluded": False}, [1, 3], {"unoccluded": 3}),
        ({"min_area": 33}, [0, 2], {"smaller than min_area": 3}),
        ({"rates": "(0, 0.5]", "frame_stride": 2}, [1, 3],
         {"frame skipped by frame_stride": 1, "occlusion rate outside (0, 0.5]": 2}),
    ],
)  # fmt: skip
def test_options_leave_out_and_count(
    root: Path, options: dict[str, Any], kept: list[int], dropped: dict[str, int]
) -> None:
    dataset = opened(root, **options)
    assert spelled(dataset) == [IDS[k] for k in kept]
    assert dataset.funnel.as_dict()["dropped"] == dropped


def test_what_can_not_be_used_is_counted(root: Path) -> None:
    write_frame(root / "scene_b", 2, {"3_dog": FRONT, "4_cat": box(3, 3, 5, 5), "5_bird": box(0, 0, 0, 0)})
    dataset = opened(root)
    assert spelled(dataset) == [*IDS, "scene_b:000002/3"]
    assert dataset.funnel.as_dict()["dropped"] == {"amodal mask is empty": 1, "visible mask is empty": 1}


class Unpickled:
    def __reduce__(self) -> tuple[Any, ...]:
        return pytest.fail, ("the array was unpickled",)


def damage(root: Path, how: str) -> None:
    npy = root / "scene_b" / "visible" / "000001.npy"
    png = root / "scene_b" / "3_dog" / "000001.png"
    if how == "objects":
        np.save(npy, np.array([Unpickled()], dtype=object), allow_pickle=True)
    elif how == "floats":
        np.save(npy, np.zeros((HEIGHT, WIDTH)))
    elif how == "channels":
        np.save(npy, np.zeros((HEIGHT, WIDTH, 3), dtype=np.int32))
    elif how == "shape":
        np.save(npy, np.zeros((WIDTH, HEIGHT), dtype=np.int32))
    elif how == "cut":
        npy.write_bytes(npy.read_bytes()[:-20])
    elif how == "no map":
        npy.unlink()
    elif how == "empty file":
        png.write_bytes(b"")
    else:
        png.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\1\0\0\0\1\0\0\x08\0\0\0\0" + b"\x22\xb5\x1b\xa5")


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ("objects", r"000001\.npy: not a readable id map \(expected whole numbers \(H, W\), got object"),
        ("floats", r"000001\.npy: not a readable id map \(expected whole numbers \(H, W\), got float64 of shape"),
        ("channels", r"000001\.npy: not a readable id map \(expected whole numbers .* \(12, 16, 3\)"),
        ("shape", r"3_dog/000001\.png is 16 x 12, the id map of its frame is 12 x 16 \(width x height\)"),
        ("cut", r"000001\.npy: not a readable id map \("),
        ("no map", r"id map not found: .*000001\.npy"),
        ("empty file", r"000001\.png: not a readable image"),
        ("gigapixel", r"000001\.png: (not a readable image|its header says 65536 x 65536 pixels)"),
    ],
)
def test_broken_files_are_counted_and_told(root: Path, how: str, text: str, caplog: pytest.LogCaptureFixture) -> None:
    damage(root, how)
    dataset = opened(root)
    fault, *others = dataset.faults()
    assert (fault.id, fault.kind) == ("sailvos/val/scene_b:000001/3", "malformed mask")
    assert re.search(text, fault.detail)
    assert [other.kind for other in others] == (["image is of another size"] if how == "shape" else [])
    assert spelled(dataset) == IDS[:4]
    assert dataset.funnel.as_dict()["dropped"] == {"malformed mask": 1}
    assert re.search(f"left out: .*{text}", caplog.text)


def test_the_index_is_kept_until_a_file_changes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = opened(root)
    with monkeypatch.context() as patch:
        patch.setattr("amodal_bench.datasets.sailvos.raw_index", lambda scenes: pytest.fail("decoded again"))
        assert opened(root).ids() == first.ids()
    assert opened(root, "train").fingerprint() == first.fingerprint()
    write_frame(root / "scene_b", 2, {"3_dog": FRONT})
    assert opened(root).fingerprint() != first.fingerprint()
    assert spelled(opened(root)) == [*IDS, "scene_b:000002/3"]


def test_several_processes_make_the_same_index(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scenes = raw.find_scenes(root)
    alone = raw.raw_index(scenes)
    monkeypatch.setattr("amodal_bench.formats.scenes._SHARE", 1)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr(raw, "_index", lambda scenes: pytest.fail("not shared out"))
    assert raw.raw_index(scenes).equals(alone)


def test_a_folder_of_the_split_comes_first(root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert spelled(opened(root, "train")) == IDS
    assert "has no folder train: all of its scenes are read as that split" in caplog.text
    write_frame(root / "train" / "scene_t", 1, {"3_dog": BACK}, red=7)
    assert spelled(opened(root, "train")) == ["scene_t:000001/3"]
    assert opened(root, "train")[0].query.image[0, 0, 0] == 7
    assert spelled(opened(root)) == IDS
    (root / "scene_a").rename(tmp_path / "scene_a")
    with pytest.raises(BadRecord, match=r"scene_b/3_dog/000001\.png: image scene_b/images/000001\.bmp not found"):
        opened(root, images=tmp_path)[0]


def test_hidden_names_are_no_scenes_objects_or_masks(root: Path) -> None:
    write_frame(root / ".trash", 1, {"3_dog": BACK})
    for name in ("scene_b/3_dog/._000001.png", "scene_b/visible/._000001.npy", "scene_b/images/._000001.bmp"):
        (root / name).write_bytes(b"\0\5\x16\7")
    assert spelled(opened(root)) == IDS


def test_names_that_are_not_utf_8_have_ids_that_are(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "scene_a").rename(root / os.fsdecode(b"caf\xe9"))
    (root / "scene_b" / "3_dog").rename(root / "scene_b" / os.fsdecode(b"3_d\xf6g"))
    ids = [id.replace("scene_a", "caf\\xe9") for id in IDS]
    dataset = opened(root)
    assert spelled(dataset) == ids
    assert [int(sample.query.image[0, 0, 0]) for sample in dataset] == [2, 2, 10, 10, 1]
    assert dataset[4].query.category == "d\\xf6g"
    scenes = raw.find_scenes(root)
    alone = raw.raw_index(scenes)
    monkeypatch.setattr("amodal_bench.formats.scenes._SHARE", 1)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    assert raw.raw_index(scenes).equals(alone)


def test_an_id_map_whose_header_promises_more_than_the_file_is_told(root: Path) -> None:
    path = root / "scene_b" / "visible" / "000001.npy"
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<i4", "fortran_order": False, "shape": (60_000, 60_000)})
    assert opened(root).funnel.as_dict()["dropped"] == {"malformed mask": 1}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|i1", "fortran_order": False, "shape": (8_000, 8_000)})
        file.truncate(64_000_000 + file.tell())
    assert opened(root).funnel.as_dict()["dropped"] == {"malformed mask": 1}


def test_a_folder_without_id_maps_is_no_scene(tmp_path: Path) -> None:
    (tmp_path / "scene" / "images").mkdir(parents=True)
    with pytest.raises(DatasetNotReady, match=r"a scene with images/ and visible/ not found under"):
        opened(tmp_path)
