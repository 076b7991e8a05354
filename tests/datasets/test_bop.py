"""BOP's layout on scenes of bars, written here as its toolkit writes them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from amodal_bench.datasets.bop import Bop, BopOptions
from amodal_bench.datasets.bop import scenes as _bop
from amodal_bench.errors import BadRecord, DatasetNotReady
from amodal_bench.formats.doctor import inspect_dataset
from amodal_bench.plugin import Location
from amodal_bench.types import Mask

HEIGHT, WIDTH = 6, 10


def columns(start: int, stop: int) -> Mask:
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
    mask[:, start:stop] = True
    return mask


def save(path: Path, array: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(array).save(path)


def info(whole: Mask, seen: Mask, beyond: int = 0) -> dict[str, Any]:
    """As the toolkit counts: `beyond` columns of the silhouette lie to the right of the frame."""
    xs = np.flatnonzero(whole.any(axis=0))
    total = int(whole.sum()) + beyond * HEIGHT
    left, width = (int(xs[0]), int(xs[-1] - xs[0]) + 1) if len(xs) else (-1, -1)
    return {
        "bbox_obj": [left, 0, width + beyond, HEIGHT], "bbox_visib": [-1, -1, -1, -1], "px_count_all": total,
        "px_count_valid": total, "px_count_visib": int(seen.sum()), "visib_fract": int(seen.sum()) / max(total, 1),
    }  # fmt: skip


Object = tuple[int, Mask, Mask, int]  # obj_id, whole, seen, columns beyond the frame


def write_scene(folder: Path, images: dict[int, Sequence[Object]], photos: str = "rgb", suffix: str = ".png") -> None:
    gt, infos = {}, {}
    for number, objects in images.items():
        save(folder / photos / f"{number:06d}{suffix}", np.full((HEIGHT, WIDTH, 3), number, dtype=np.uint8))
        for index, (_, whole, seen, _) in enumerate(objects):
            save(folder / "mask" / f"{number:06d}_{index:06d}.png", whole.astype(np.uint8) * 255)
            save(folder / "mask_visib" / f"{number:06d}_{index:06d}.png", seen.astype(np.uint8) * 255)
        pose = {"cam_R_m2c": [1, 0, 0, 0, 1, 0, 0, 0, 1], "cam_t_m2c": [0, 0, 700.5]}
        gt[str(number)] = [{**pose, "obj_id": obj} for obj, *_ in objects]
        infos[str(number)] = [info(whole, seen, beyond) for _, whole, seen, beyond in objects]
    (folder / "scene_gt.json").write_text(json.dumps(gt))
    (folder / "scene_gt_info.json").write_text(json.dumps(infos))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Scene 2: in image 10 object 5 hides half of object 1, and all of another one; scene 48 has one whole object."""
    folder = tmp_path / "lmo"
    objects: list[Object] = [
        (5, columns(4, 8), columns(4, 8), 0),
        (1, columns(0, 8), columns(0, 4), 0),
        (1, columns(5, 7), columns(5, 5), 0),
        (5, columns(8, 10), columns(8, 10), 6),
    ]
    write_scene(folder / "test" / "000002", {10: objects, 3: objects[:1]})
    write_scene(folder / "test" / "000048", {1: [(21, columns(0, 2), columns(0, 2), 0)]})
    return folder


def opened(root: Path, split: str = "test", images: Path | None = None, **options: Any) -> Bop:
    return Bop(
        Location(name="bop", root=root, images=images, cache=root.parent / "cache"), split, BopOptions(**options)
    )


def test_every_object_of_every_image_is_an_instance_or_counted(root: Path) -> None:
    dataset = opened(root)
    assert [id.removeprefix("bop/test/") for id in dataset.ids()] == [
        "000002:000003/0", "000002:000010/0", "000002:000010/1", "000002:000010/3", "000048:000001/0",
    ]  # fmt: skip
    sample = dataset[2]
    np.testing.assert_array_equal(sample.amodal, columns(0, 8))
    np.testing.assert_array_equal(sample.visible, columns(0, 4))
    assert (sample.query.category, sample.declared_rate) == ("1", 0.5)
    assert sample.query.image[0, 0].tolist() == [10, 10, 10]
    assert {dataset.group(id) for id in dataset.ids()} == {"000002", "000048"}
    assert dataset.funnel.as_dict() == {"read": 6, "kept": 5, "dropped": {"visible mask is empty": 1}, "noted": {}}
    assert [(fault.id, fault.kind) for fault in dataset.faults()] == [
        ("bop/test/000002:000010/2", "visible mask is empty")
    ]


def test_a_silhouette_that_leaves_the_frame_has_no_declared_rate_and_is_told(root: Path) -> None:
    dataset = opened(root)
    assert dataset[3].declared_rate is None
    assert list(dataset.remarks()) == [
        "1 of 6 silhouettes reach beyond the frame, where their masks end: visib_fract is of the whole one, and is "
        "not compared"
    ]
    assert next(dataset.remarks()) in [finding.text for finding in inspect_dataset(dataset)]


def test_the_counts_of_the_toolkit_are_held_against_the_masks(root: Path) -> None:
    path = root / "test" / "000048" / "scene_gt_info.json"
    told = json.loads(path.read_text())
    told["1"][0].update(px_count_all=40, px_count_visib=20, visib_fract=0.5)
    path.write_text(json.dumps(told))
    dataset = opened(root)
    assert dataset.funnel.as_dict()["noted"] == {"declared occlusion rate differs by more than .01 from the masks": 1}
    faults = {(fault.id.removeprefix("bop/test/"), fault.kind): fault.detail for fault in dataset.faults()}
    assert faults[("000048:000001/0", "px_count_all differs from the mask by more than 1 %")] == "40, 12"
    assert faults[("000048:000001/0", "px_count_visib differs from the mask by more than 1 %")] == "20, 12"


def targets(root: Path, *rows: tuple[int, int, int, int]) -> None:
    names = ("scene_id", "im_id", "obj_id", "inst_count")
    (root / "test_targets_bop19.json").write_text(json.dumps([dict(zip(names, row, strict=True)) for row in rows]))


def test_targets_choose_images_and_of_each_object_those_seen_best(root: Path) -> None:
    targets(root, (2, 10, 1, 1), (2, 10, 5, 1))
    dataset = opened(root, targets="bop19")
    assert [id.removeprefix("bop/test/") for id in dataset.ids()] == ["000002:000010/0", "000002:000010/1"]
    assert dataset.funnel.as_dict()["dropped"] == {"not among the targets": 2}
    assert next(dataset.remarks()) == "published targets of lmo: 200 images, 1,445 instances"
    assert dataset.fingerprint() != opened(root).fingerprint()
    assert list(dataset.faults()) == []


def test_targets_that_are_not_there_are_named(root: Path) -> None:
    with pytest.raises(DatasetNotReady, match=r"test_targets_bop19\.json \(dataset\.targets=bop19\) not found under"):
        opened(root, targets="bop19")


def test_folders_of_several_sensors_are_chosen_from(root: Path) -> None:
    (root / "test").rename(root / "test_primesense")
    assert len(opened(root)) == 5
    write_scene(root / "test_kinect" / "000001", {1: [(1, columns(0, 2), columns(0, 2), 0)]}, "gray", ".tif")
    with pytest.raises(DatasetNotReady, match=r"holds test_kinect and test_primesense: which is meant.*_type=prim"):
        opened(root)
    kinect = opened(root, split_type="kinect")
    assert [sample.query.image[0, 0, 0] for sample in kinect] == [1]  # gray/*.tif
    with pytest.raises(DatasetNotReady, match=r"test_canon/ \(dataset\.split_type=canon\) not found"):
        opened(root, split_type="canon")


def test_missing_masks_are_told_with_where_to_get_them(root: Path) -> None:
    for path in (root / "test" / "000048" / "mask").iterdir():
        path.unlink()
    (root / "test" / "000048" / "mask").rmdir()
    with pytest.raises(DatasetNotReady, match=r"(?s)test/000048/mask/ with the masks not found.*NAME_test_bop19.zip"):
        opened(root)
    with pytest.raises(DatasetNotReady, match="val/ not found under"):
        opened(root, "val")


def test_a_missing_or_unequal_mask_is_counted_and_the_image_keeps_its_size(root: Path) -> None:
    (root / "test" / "000002" / "mask_visib" / "000010_000000.png").unlink()
    save(root / "test" / "000002" / "mask" / "000010_000001.png", np.full((2, 3), 255, dtype=np.uint8))
    dataset = opened(root)
    assert dataset.funnel.dropped["malformed mask"] == 2
    # None of a photo of another size.
    assert {fault.kind for fault in dataset.faults()} == {"malformed mask", "visible mask is empty"}


def test_nothing_is_said_of_a_photo_none_of_whose_masks_can_be_read(root: Path) -> None:
    (root / "test" / "000048" / "mask" / "000001_000000.png").unlink()
    dataset = opened(root)
    assert [(fault.id, fault.kind) for fault in dataset.faults() if "000048" in fault.id] == [
        ("bop/test/000048:000001/0", "malformed mask")
    ]


def test_lists_of_unequal_length_are_refused(root: Path) -> None:
    path = root / "test" / "000048" / "scene_gt_info.json"
    path.write_text('{"1": []}')
    with pytest.raises(DatasetNotReady, match=r"scene_gt_info\.json: image 1 has 0 entries, scene_gt\.json has 1"):
        opened(root)
    path.unlink()
    assert opened(root)[4].declared_rate is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("bbox_obj", box) for box in ([], [0, 0, 4], [0, 0, 4, 4, 4], [0, 0, "x", 4], None)),
        ("px_count_all", 10**30),
        ("px_count_visib", -1),
    ],
)
def test_a_box_or_a_count_that_is_none_is_refused(root: Path, key: str, value: object) -> None:
    path = root / "test" / "000048" / "scene_gt_info.json"
    infos = json.loads(path.read_text())
    next(iter(infos.values()))[0][key] = value
    path.write_text(json.dumps(infos))
    with pytest.raises(DatasetNotReady, match=rf"scene_gt_info\.json: not in the official format: .*{key}"):
        opened(root)


def test_photos_may_lie_elsewhere_and_a_missing_one_is_a_bad_record(root: Path, tmp_path: Path) -> None:
    dataset = opened(root, images=tmp_path / "photos")
    with pytest.raises(BadRecord, match=r"000002, image 3, object 0: image 000002/rgb/000003\.png not found in"):
        dataset[0]


def test_masks_repainted_in_place_are_another_dataset(root: Path) -> None:
    first = opened(root)
    save(root / "test" / "000048" / "mask" / "000001_000000.png", columns(0, 4).astype(np.uint8) * 255)
    again = opened(root)
    assert again.fingerprint() != first.fingerprint()
    assert (first[4].occlusion_rate, again[4].occlusion_rate) == (0, 0.5)


def test_several_processes_make_the_same_index(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scenes = _bop.find_scenes(root / "test")
    targets(root, (2, 10, 1, 1), (48, 1, 21, 1))
    for asked in (None, root / "test_targets_bop19.json"):
        alone = _bop.bop_index(scenes, asked)
        with monkeypatch.context() as patch:
            patch.setattr("amodal_bench.formats.scenes._SHARE", 1)
            patch.setattr("os.cpu_count", lambda: 2)
            patch.setattr(_bop, "_index", lambda scenes, targets: pytest.fail("not shared out"))
            assert _bop.bop_index(scenes, asked).equals(alone)
