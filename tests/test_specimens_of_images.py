"""Image files and their names as people's folders have them: the specimens, each with its right value or words."""

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from amodal_bench.api import load_dataset
from amodal_bench.errors import BadRecord, DatasetNotReady

READ = None
PHOTO, MASKS = (24, 32), [(200, 320), (280, 280)]  # (H, W); (visible, amodal) pixels of the two objects


class Case(NamedTuple):
    """One folder; `told` is what its objects' errors say, None where they are read."""

    dataset: str
    folder: str
    told: str | None = READ


CASES = [
    *(
        Case("kins", f"im_{name}")
        for name in (
            "1bit", "cmyk_jpg_named_png", "exif3_same_size", "gif_animated", "grey", "grey16", "la", "palette", "rgba",
            "tiff16", "webp_named_png",
        )
    ),
    Case("kins", "im_exif6", r"24 x 32, its annotation says 32 x 24 .*EXIF entry \(orientation 6\)"),
    Case("kins", "im_float_tiff", "a TIFF of mode F: photos are read with 8 or 16 bits"),
    Case("kins", "im_int32_tiff", "a TIFF of mode I: photos are read with 8 or 16 bits"),
    Case("kins", "im_truncated", "cut off or damaged"),
    Case("kins", "im_zero_bytes", r"an empty file \(0 bytes\)"),
    Case("kins", "im_html", "an HTML page"),
    Case("kins", "im_lfs_pointer", "a git-LFS pointer"),
    *(
        Case("kins", f"fn_{name}")
        for name in (
            "abs", "backslash_in_name", "colon", "colon2", "dotslash", "nfc", "percent", "space", "unicode", "url",
            "win", "win_abs",
        )
    ),
    Case("kins", "fn_dotdot", "leads out of the image folder"),
    Case("kins", "fn_case", r"image 000001\.PNG not found in .*; there is 000001\.png in"),
    Case("kins", "fn_ext", r"image 000001\.jpg not found in .*; there is 000001\.png in"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.folder)
def test_photos_of_kins_are_read_or_told(cases: Path, case: Case) -> None:
    dataset = load_dataset(case.dataset, root=cases / case.folder)
    assert len(dataset) == 2
    for sample, areas in zip(range(2), MASKS, strict=True):
        if case.told is not READ:
            with pytest.raises(BadRecord, match=re.compile(case.told, re.DOTALL)):
                dataset[sample]
            continue
        found = dataset[sample]
        assert (int(found.visible.sum()), int(found.amodal.sum())) == areas
        assert found.query.image.shape == (*PHOTO, 3)
        assert len(set(found.query.image[..., 0].ravel().tolist())) > (100 if case.folder != "im_1bit" else 1)


@pytest.mark.parametrize("folder", ["im_truncated", "im_zero_bytes", "im_html", "im_lfs_pointer", "im_exif3_same_size"])
def test_doctor_names_the_photo(cases: Path, folder: str) -> None:
    (fault,) = load_dataset("kins", root=cases / folder).faults()
    assert "000001.png" in fault.detail
    assert fault.kind.startswith(("image is missing or unreadable", "image carries an EXIF rotation"))


@pytest.mark.parametrize(
    "folder",
    [
        "ok_folder", "fd_01_masks", "fd_16bit_mask", "fd_1bit", "fd_appledouble_all", "fd_appledouble_one",
        "fd_image16", "fd_odd_names", "fd_palette_voc", "fd_upper_ext", "fd_webp",
    ],
)  # fmt: skip
def test_folders_of_masks_are_read(cases: Path, folder: str) -> None:
    dataset = load_dataset("folder", root=cases / folder)
    assert [(int(sample.visible.sum()), int(sample.amodal.sum())) for sample in dataset] == [(200, 320)] * 2
    assert all(len(set(sample.query.image[..., 0].ravel().tolist())) > 100 for sample in dataset)


@pytest.mark.parametrize(
    ("folder", "told"),
    [
        ("fd_16bit_ids", r"mode I;16 has the values 200, 1200, none of them 0: a map of ids\?"),
        ("fd_jpg_masks", r"a JPEG of mode L has \d+ values \(0, .*\): .*grey levels of a JPEG"),
        ("fd_image_float", "a TIFF of mode F: photos are read with 8 or 16 bits"),
    ],
)
def test_folders_of_what_is_no_mask_or_photo_are_told(cases: Path, folder: str, told: str) -> None:
    dataset = load_dataset("folder", root=cases / folder)
    for index in range(2):
        with pytest.raises(BadRecord, match=told):
            dataset[index]


@pytest.mark.parametrize("folder", ["cp_root", "cp_amodal_annotations", "cp_images_sub", "cp_coco2017", "ok_coco_a"])
def test_coco_a_is_found_where_people_have_it(cases: Path, folder: str) -> None:
    dataset = load_dataset("coco_a", root=cases / folder)
    areas = {(int(sample.visible.sum()), int(sample.amodal.sum())) for sample in dataset}
    assert areas == {(280, 280), (200, 320)}


@pytest.mark.parametrize(
    ("folder", "near"),
    [
        ("cp_case", "annotations/coco_amodal_val2014.json"),
        ("cp_upper", "Annotations/COCO_amodal_val2014.json"),
    ],
)
def test_coco_a_that_is_nearly_there_is_told(cases: Path, folder: str, near: str) -> None:
    with pytest.raises(DatasetNotReady, match=rf"Nearly: {near}; folder and spelling must be as expected"):
        load_dataset("coco_a", root=cases / folder)


def test_one_photo_never_stands_for_two_scenes(cases: Path) -> None:
    dataset = load_dataset("sailvos", root=cases / "sail_flat")
    assert dataset[0].query.image.shape == (*PHOTO, 3)
    with pytest.raises(BadRecord, match=r"image scene_b/000001\.bmp not found"):
        dataset[1]
    for root, images in ((cases / "sail_flat2", None), (cases / "sail_flat", cases / "sail_flat/scene_a")):
        dataset = load_dataset("sailvos", root=root, image_root=images)
        for index in range(2):
            with pytest.raises(BadRecord, match=r"2 names .*\(scene_a/000001\.bmp, scene_b/000001\.bmp\): which of"):
                dataset[index]


def test_clips_and_annotators_stay_apart(cases: Path) -> None:
    assert len(load_dataset("sailvos", root=cases / "sail_dvas")) == 3
    ids = [sample.query.id for sample in load_dataset("kins", root=cases / "same_image_two_annotators_flat")]
    assert ids == ["kins/test/1/1", "kins/test/1/2"]


@pytest.mark.parametrize(
    ("folder", "height", "amodal", "framed"),
    [
        ("pad_all", 102, 6880, 0),
        ("pad_file_small", 102, 6880, 1),
        ("pad_file_small1", 97, 6480, 1),
        ("pad_json_small", 102, 6880, 0),
        ("pad_rle_big", 102, 6880, 1),
    ],
)
def test_photos_of_d2sa_are_filled_to_the_masks_and_counted(
    cases: Path, folder: str, height: int, amodal: int, framed: int
) -> None:
    dataset = load_dataset("d2sa", root=cases / folder)
    image = dataset[0].query.image
    assert (image.shape, int(dataset[0].amodal.sum())) == ((height, 128, 3), amodal)
    assert (image[96:].max() == 0) == bool(framed)
    assert dataset.funnel.noted["image is cut or filled at the right and the bottom"] == framed
