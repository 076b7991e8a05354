"""SAIL-VOS from its JSON layouts, checked by hand, and on broken files; the raw layout is in test_sailvos_raw.py."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from amodal_bench.datasets.sailvos import SailVos, SailVosOptions
from amodal_bench.errors import BadRecord, DatasetNotReady
from amodal_bench.plugin import Location
from amodal_bench.types import Mask

LeftOut = Callable[[Any, str, str], None]
FIXTURES = Path(__file__).parent.parent / "data" / "formats" / "sailvos"
HEIGHT, WIDTH = 12, 16
# The COCO-like file: frames and scenes out of order, every spelling of a mask, an object without `obj_id`.
COCO_IDS = ["sailvos/val/scene_a:000004/105", "sailvos/val/scene_a:000010/2", "sailvos/val/scene_b:000002/1"]
COCO_DROPPED = {
    "another annotation is of the same object and frame": 1,
    "occluded, but there is no visible mask": 1,
    "visible mask is empty": 1,
}
# The clips: object 2 in frames 4 and 5, then in 5 and 6, without a mask in 6.
CLIP_IDS = ["sailvos/val/scene_a:000004/2", "sailvos/val/scene_a:000005/2"]
CLIP_DROPPED = {"amodal mask is empty": 1, "another annotation is of the same object and frame": 1}


def box(left: int, top: int, right: int, bottom: int) -> Mask:
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
    mask[top:bottom, left:right] = True
    return mask


def frame(path: Path, red: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("RGB", (WIDTH, HEIGHT), (red, 0, 0)).save(path)


def prepare(root: Path, layout: str, folder: str = "") -> Path:
    (root / folder).mkdir(parents=True, exist_ok=True)
    shutil.copy(FIXTURES / layout / "valid.json", root / folder / "valid.json")
    for scene, number in (("scene_a", 4), ("scene_a", 5), ("scene_a", 10), ("scene_b", 2)):
        frame(root / scene / f"{number:06d}.bmp", number)
    return root


def opened(root: Path, split: str = "val", images: Path | None = None, **options: Any) -> SailVos:
    location = Location(name="sailvos", root=root, images=images, cache=root.parent / "cache")
    return SailVos(location, split, SailVosOptions(**options))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return prepare(tmp_path / "data", "coco")


def test_the_coco_like_file_is_read_by_scene_and_frame(root: Path) -> None:
    dataset = opened(root)
    assert dataset.ids() == COCO_IDS
    assert [dataset.group(id) for id in COCO_IDS] == ["scene_a", "scene_a", "scene_b"]
    assert dataset.funnel.as_dict() == {"read": 6, "kept": 3, "dropped": COCO_DROPPED, "noted": {}}
    expected = [
        (box(1, 1, 9, 9), box(1, 1, 9, 5)),
        (box(2, 2, 10, 8), box(2, 2, 6, 8)),
        (box(0, 0, 16, 12), box(0, 0, 16, 12)),
    ]
    for sample, (amodal, visible) in zip(dataset, expected, strict=True):
        np.testing.assert_array_equal(sample.amodal, amodal)
        np.testing.assert_array_equal(sample.visible, visible)
    assert [sample.query.category for sample in dataset] == ["car", "person", "person"]
    assert [sample.declared_rate for sample in dataset] == [0.5, 0.5, 0.0]
    assert [int(sample.query.image[0, 0, 0]) for sample in dataset] == [4, 10, 2]


def test_clips_are_read_once_per_object_and_frame(tmp_path: Path) -> None:
    dataset = opened(prepare(tmp_path / "data", "clips"))
    assert dataset.ids() == CLIP_IDS
    assert dataset.funnel.as_dict() == {"read": 4, "kept": 2, "dropped": CLIP_DROPPED, "noted": {}}
    np.testing.assert_array_equal(dataset[0].amodal, box(2, 2, 10, 8))
    np.testing.assert_array_equal(dataset[0].visible, box(2, 2, 6, 8))
    np.testing.assert_array_equal(dataset[1].visible, box(3, 2, 11, 8))  # the first clip's, not the second's
    assert dataset[0].query.category == "7"


@pytest.mark.parametrize(
    ("options", "kept", "reason"),
    [
        ({"frame_stride": 4}, [0], "frame skipped by frame_stride"),
        ({"frame_stride": 2, "include_unoccluded": False}, [0, 1], "unoccluded"),
        ({"min_area": 49}, [0, 2], "smaller than min_area"),
        ({"rates": "[0, 0.4]"}, [2], "occlusion rate outside [0, 0.4]"),
        ({"max_instances": 2}, None, "outside the subset of max_instances"),
    ],
)
def test_options_leave_out_and_count(root: Path, options: dict[str, Any], kept: list[int] | None, reason: str) -> None:
    dataset = opened(root, **options)
    ids = list(dataset.ids())
    if kept is None:
        assert set(ids) < set(COCO_IDS)
        assert ids == list(opened(root, **options).ids())
    else:
        assert ids == [COCO_IDS[k] for k in kept]
    assert dataset.funnel.as_dict()["dropped"] == {**COCO_DROPPED, reason: 3 - len(ids)}


def test_where_files_may_lie(tmp_path: Path) -> None:
    root = prepare(tmp_path / "data", "coco", "annotations")
    assert opened(root)[0].query.image[0, 0, 0] == 4
    (root / "annotations" / "valid.json").rename(root / "train.json")
    assert opened(root, "train").ids()[0] == "sailvos/train/scene_a:000004/105"
    (tmp_path / "frames").mkdir()
    (root / "scene_a").rename(tmp_path / "frames" / "scene_a")
    assert opened(root, "train", tmp_path / "frames")[1].query.image[0, 0, 0] == 10


def test_the_index_is_kept(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = opened(root)
    monkeypatch.setattr(SailVos, "records", lambda self, files: pytest.fail("read the annotations again"))
    again = opened(root)
    assert (again.ids(), again.funnel, again.fingerprint()) == (first.ids(), first.funnel, first.fingerprint())


def test_two_layouts_in_one_folder_are_refused(root: Path) -> None:
    shutil.copy(root / "valid.json", root / "val.json")
    assert opened(root).ids() == COCO_IDS  # one file under two names
    (root / "val.json").write_text((root / "valid.json").read_text() + "\n")
    with pytest.raises(DatasetNotReady, match=r"holds valid\.json and val\.json: which layout is meant\?.*--root DIR"):
        opened(root)
    (root / "val.json").unlink()
    for folder in ("images", "visible"):
        (root / "scene_c" / folder).mkdir(parents=True)
    with pytest.raises(DatasetNotReady, match=r"holds valid\.json and scene_c: which layout is meant\?"):
        opened(root)


def altered(layout: str, *path: Any, value: Any) -> tuple[str, Callable[[str], str]]:
    """Put `value` at a place of the fixture of a layout."""

    def change(text: str) -> str:
        data = holder = json.loads(text)
        for step in path[:-1]:
            holder = holder[step]
        holder[path[-1]] = value
        return json.dumps(data)

    return layout, change


@pytest.mark.parametrize(
    ("broken", "text"),
    [
        (("coco", lambda text: text[:200]), r"valid\.json: not valid JSON: it ends before its last bracket"),
        (("clips", lambda text: text[:200]), r"valid\.json: not valid JSON: it ends before its last bracket"),
        (("coco", lambda _: "7"), r"Expected `object`, got `int`"),
        (("coco", lambda _: '{"images": []}'), r"missing required field `annotations`"),
        (
            ("coco", lambda text: re.sub(r"scene_\w+/(images/)?", "", text)),
            r"valid\.json: image \d+: file_name '\d+\.bmp' is not of the form SCENE/FRAME\.bmp with",
        ),
        (
            ("clips", lambda text: text.replace('"segmentation"', '"masks"')),
            r"clip 0: .* required field `segmentation`",
        ),
    ],
)
def test_a_broken_file_is_refused_with_its_place(
    tmp_path: Path, broken: tuple[str, Callable[[str], str]], text: str
) -> None:
    layout, change = broken
    root = prepare(tmp_path / "data", layout)
    path = root / "valid.json"
    path.write_text(change(path.read_text()))
    with pytest.raises(DatasetNotReady, match=text):
        opened(root)


NO_FORMAT = "not in the official format"
NO_IMAGE = "its image is not in images"
NO_PLACE = "its image's file_name is not of the form SCENE/FRAME.bmp"


@pytest.mark.parametrize(
    ("broken", "reason", "told"),
    [
        (
            altered("coco", "images", 0, "height", value=-12),
            f"the entry of its image is {NO_FORMAT}",
            r"images\[0\]: Expected `int` >= 1 - at `\$\.height`",
        ),
        (altered("coco", "images", 0, "id", value=3), "several images have the id of its image", r"\.bmp and scene_"),
        (
            altered("coco", "annotations", 0, "image_id", value=8),
            "its image is not in images",
            "image 8, annotation 100",
        ),
        (altered("coco", "annotations", 1, "obj_id", value=[]), NO_FORMAT, r"annotations\[1\]: .*at `\$\.obj_id`"),
        (altered("coco", "images", 0, "file_name", value="000002.bmp"), NO_PLACE, "image 7, annotation 100"),
        (altered("coco", "images", 0, "file_name", value="/1.bmp"), NO_PLACE, "image 7, annotation 100"),
        (altered("coco", "images", 0, "file_name", value="a/../1.bmp"), NO_PLACE, "image 7, annotation 100"),
        (
            altered("clips", 1, "image_file_names", 0, value="scene_a/last.bmp"),
            NO_FORMAT,
            r"clip 1: file_name .* is not of the form",
        ),
        (
            altered("clips", 1, "visible_mask", value=[]),
            NO_FORMAT,
            r"valid\.json: clip 1: 2 masks, 0 visible masks and 2 file names: .*must be of one length",
        ),
        (
            altered("clips", 0, "segmentation", 1, value=[[1, 2, 3, 2, 3, 9]]),
            "the size of its image is not stated",
            r"valid\.json: clip 0, frame 1 \(scene_a/000005\.bmp\): segmentation must be an RLE with its size",
        ),
        (
            altered("clips", 1, "segmentation", value=3),
            NO_FORMAT,
            r"clip 1: Expected `array`, got `int` - at `\$\.segmentation`",
        ),
    ],
)
def test_what_can_not_be_read_is_left_out_and_counted(
    tmp_path: Path, left_out: LeftOut, broken: tuple[str, Callable[[str], str]], reason: str, told: str
) -> None:
    layout, change = broken
    root = prepare(tmp_path / "data", layout)
    path = root / "valid.json"
    path.write_text(change(path.read_text()))
    left_out(opened(root), reason, told)


@pytest.mark.parametrize(
    "mask",
    [
        {"size": [HEIGHT, WIDTH + 1], "counts": "04T600000000000000000"},
        {"size": 3, "counts": "04"},
        {"size": [HEIGHT, WIDTH], "counts": [10**30]},
        {"size": [HEIGHT, WIDTH], "counts": [-4, 196]},
        [[1, 2, "a"]],
        "x",
    ],
)
def test_malformed_masks_are_counted(root: Path, mask: Any) -> None:
    path = root / "valid.json"
    path.write_text(altered("coco", "annotations", 0, "segmentation", value=mask)[1](path.read_text()))
    dataset = opened(root)
    assert dataset.ids() == COCO_IDS[:2]
    assert dataset.funnel.as_dict()["dropped"] == {**COCO_DROPPED, "malformed mask": 1}


def test_frames_that_are_missing_broken_or_elsewhere_are_told(root: Path, tmp_path: Path) -> None:
    dataset, file = opened(root), root / "scene_b" / "000002.bmp"
    file.write_bytes(b"")
    with pytest.raises(BadRecord, match=r"scene_b/000002\.bmp: not a readable image"):
        dataset[2]
    file.unlink()
    with pytest.raises(BadRecord, match=r"valid\.json: image 7, annotation 100: image scene_b/000002\.bmp not found"):
        dataset[2]
    file.symlink_to(tmp_path / "store.bmp")
    with pytest.raises(BadRecord, match=r"annotation 100: .*000002\.bmp is a link to .*store\.bmp, which is not there"):
        dataset[2]
    frame(tmp_path / "store.bmp", 77)
    assert dataset[2].query.image[0, 0].tolist() == [77, 0, 0]


def test_missing_files_are_told_with_the_tree(tmp_path: Path) -> None:
    with pytest.raises(
        DatasetNotReady,
        match=r"diffusion_vas_sailvos_val\.json or a scene with images/ and visible/ not found under",
    ):
        opened(tmp_path / "none")
