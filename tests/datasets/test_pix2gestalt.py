"""The training set of pix2gestalt: four folders, named as in the release or with equal names."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from amodal_bench.datasets.pix2gestalt import Pix2Gestalt, Pix2GestaltOptions
from amodal_bench.errors import BadRecord, DatasetNotReady
from amodal_bench.plugin import Location

SIDE = 8
RELEASE = {  # as the release names its files
    "occlusion": "_occlusion",
    "whole": "_whole",
    "whole_mask": "_whole_mask",
    "visible_object_mask": "_visible_mask",
}
EQUAL = dict.fromkeys(RELEASE, "")
KINDS = tuple(RELEASE)


def bar(columns: int, above: int = 255) -> NDArray[np.uint8]:
    mask = np.zeros((SIDE, SIDE), dtype=np.uint8)
    mask[:, :columns] = above
    return mask


def write_pair(
    root: Path, name: str, visible: NDArray[np.uint8], whole: NDArray[np.uint8], endings: dict[str, str] = EQUAL
) -> None:
    photo = np.full((SIDE, SIDE, 3), len(name), dtype=np.uint8)
    for kind, pixels in zip(KINDS, (photo, photo, whole, visible), strict=True):
        (root / kind).mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(pixels).save(root / kind / f"{name}{endings[kind]}.png")


def opened(root: Path, split: str = "train", images: Path | None = None, **options: Any) -> Pix2Gestalt:
    location = Location(name="pix2gestalt", root=root, images=images, cache=root.parent / "cache")
    return Pix2Gestalt(location, split, Pix2GestaltOptions(**options))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Names that sort otherwise than their numbers."""
    for name in ("sa_2_b", "sa_10", "sa_1"):
        write_pair(tmp_path / "data", name, bar(3), bar(6))
    (tmp_path / "data" / "occlusion" / "readme.txt").write_text("not a picture")
    return tmp_path / "data"


def test_files_of_one_name_are_an_instance(root: Path) -> None:
    dataset = opened(root)
    assert dataset.ids() == ["pix2gestalt/train/sa_1/0", "pix2gestalt/train/sa_10/0"]
    assert dataset.funnel.as_dict() == {"read": 2, "kept": 2, "dropped": {}, "noted": {}}
    sample = opened(root, "val")[0]
    assert (sample.query.id, sample.query.image_id) == ("pix2gestalt/val/sa_2_b/0", "sa_2_b")
    np.testing.assert_array_equal(sample.visible, bar(3) > 0)
    np.testing.assert_array_equal(sample.amodal, bar(6) > 0)
    assert sample.occlusion_rate == 0.5
    assert sample.query.image[0, 0].tolist() == [6, 6, 6]
    assert dataset.group(dataset.ids()[0]) == "sa_1"


def test_the_release_is_read_by_its_own_names(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for columns, name in enumerate(("1000", "10000", "200"), 1):
        write_pair(root, name, bar(columns), bar(columns + 2), RELEASE)
    (root / "whole_mask" / "._1000_whole_mask.png").write_bytes(b"left by macOS")
    train, val = opened(root), opened(root, "val")
    assert train.ids() == ["pix2gestalt/train/10000/0", "pix2gestalt/train/1000/0"]
    assert val.ids() == ["pix2gestalt/val/200/0"]
    assert [(s.visible[0].sum(), s.amodal[0].sum(), s.query.image[0, 0, 0]) for s in (*train, *val)] == [
        (2, 4, 5), (1, 3, 4), (3, 5, 3),
    ]  # fmt: skip
    (root / "whole" / "1000_whole.png").unlink()
    with pytest.raises(DatasetNotReady) as caught:
        opened(root)
    for part in (
        "but for each folder's ending (ID_occlusion.png, ID_whole.png, ID_whole_mask.png, ID_visible_mask.png)",
        "there are 3 in occlusion/, 2 in whole/,",
        "; whole/ lacks 1: 1000_whole.png.",
    ):
        assert part in str(caught.value)


def test_each_folder_may_have_its_own_names(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_pair(root, "a", bar(1), bar(2), RELEASE)
    write_pair(root, "b", bar(3), bar(4), {**RELEASE, "whole_mask": "", "occlusion": ""})
    samples = [opened(root, split)[0] for split in ("train", "val")]
    assert [(s.query.image_id, s.visible[0].sum(), s.amodal[0].sum()) for s in samples] == [("a", 1, 2), ("b", 3, 4)]
    names = {opened(root).fingerprint(), opened(root, "val").fingerprint()}
    assert len(names) == 2
    PIL.Image.fromarray(bar(1)).save(root / "whole_mask" / "a.png")
    with pytest.raises(DatasetNotReady, match=r"whole_mask: 1 objects have two files, the first a(_whole_mask)?\.png "):
        opened(root)


def test_equal_names_may_end_like_the_release(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for name in ("cat", "cat_occlusion", "cat_whole"):
        write_pair(root, name, bar(1), bar(SIDE))
    found = [*opened(root), *opened(root, "val")]
    assert [s.query.image_id for s in found] == ["cat", "cat_occlusion", "cat_whole"]
    assert [int(s.query.image[0, 0, 0]) for s in found] == [3, 13, 9]


def test_names_may_be_any_bytes(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for name in (os.fsdecode(b"caf\xe9"), "ring"):
        write_pair(root, name, bar(1), bar(2), RELEASE)
    train = opened(root)
    assert train.ids() == [r"pix2gestalt/train/caf\xe9/0"]
    assert train[0].query.image[0, 0, 0] == 4
    assert len(train.fingerprint()) == 64


def test_train_is_the_first_99_percent_of_the_names(tmp_path: Path) -> None:
    for kind in KINDS:
        (tmp_path / "data" / kind).mkdir(parents=True)
        for number in range(250):
            (tmp_path / "data" / kind / f"{number:03d}.png").touch()
    train, val = opened(tmp_path / "data"), opened(tmp_path / "data", "val")
    assert (len(train), len(val)) == (247, 3)  # floor(247.5)
    assert val.ids()[0] == "pix2gestalt/val/247/0"


listings: list[str] = []
sys.addaudithook(lambda event, args: listings.append(str(args[0])) if event == "os.scandir" else None)


def test_the_folders_are_listed_once_for_both_splits(root: Path, settle: Callable[[Path], None]) -> None:
    for kind in KINDS:
        settle(root / kind)
    listings.clear()
    train = opened(root).ids()
    assert sorted(listings) == sorted(str(root / kind) for kind in KINDS)
    listings.clear()
    assert [*opened(root).ids(), *opened(root, "val").ids()] == [*train, "pix2gestalt/val/sa_2_b/0"]
    assert listings == []
    (root / "whole" / "sa_1.png").rename(root / "whole" / "sa_3.png")
    with pytest.raises(DatasetNotReady, match=r"whole/ lacks 1: sa_1\.png"):
        opened(root)


def test_a_damaged_list_is_made_anew(root: Path, settle: Callable[[Path], None]) -> None:
    for kind in KINDS:
        settle(root / kind)
    ids = opened(root).ids()
    (note,) = (root.parent / "cache" / "index").glob("pix2gestalt-*.arrow")
    note.write_bytes(b"")
    assert opened(root).ids() == ids


def test_a_subset_is_the_same_every_time(root: Path) -> None:
    dataset = opened(root, max_instances=1)
    assert dataset.ids() == opened(root, max_instances=1).ids()
    assert set(dataset.ids()) < set(opened(root).ids())
    assert dataset.funnel.as_dict()["dropped"] == {"outside the subset of max_instances": 1}


def test_grey_masks_are_what_is_above_127(root: Path) -> None:
    mask = bar(SIDE, 127)
    mask[0, :4] = 128, 255, 255, 0
    write_pair(root, "sa_1", mask, mask)
    assert opened(root)[0].visible.sum() == 3


def test_grey_masks_that_do_not_go_from_black_to_white_are_told(root: Path) -> None:
    mask = bar(SIDE, 7)
    mask[0, :2] = 0, 3
    write_pair(root, "sa_1", mask, mask)
    with pytest.raises(BadRecord, match=r"has 3 values \(0, 3, 7\): a map of ids"):
        opened(root)[0]


@pytest.mark.parametrize("kind", ["occlusion", "whole_mask", "visible_object_mask"])
def test_all_that_is_read_is_the_fingerprint(root: Path, kind: str, change: Callable[[Path], None]) -> None:
    train, val = opened(root).fingerprint(), opened(root, "val").fingerprint()
    assert train != val
    change(root / kind / "sa_1.png")
    assert opened(root).fingerprint() != train
    assert opened(root, "val").fingerprint() == val
    subset = opened(root, max_instances=1)
    assert (subset.fingerprint() == train, subset.ids()[0] in opened(root).ids()) == (False, True)


def test_the_fingerprint_does_not_depend_on_the_naming(root: Path, tmp_path: Path) -> None:
    ids = opened(root).fingerprint()
    for kind, ending in RELEASE.items():
        for file in list((root / kind).glob("*.png")):
            file.rename(file.with_name(f"{file.stem}{ending}.png"))
    assert opened(root).fingerprint() == ids


def test_images_may_lie_elsewhere(root: Path, tmp_path: Path) -> None:
    (root / "occlusion").rename(tmp_path / "photos")
    assert opened(root, images=tmp_path / "photos")[0].query.image.shape == (SIDE, SIDE, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_names_that_differ_are_refused_with_some_of_them(root: Path, kind: str) -> None:
    for number in range(7):
        write_pair(root, f"extra{number}", bar(1), bar(2))
        (root / kind / f"extra{number}.png").unlink()
    with pytest.raises(DatasetNotReady) as caught:
        opened(root)
    for part in (
        f"{root}: the folders must hold files of the same names, but there are",
        f"3 in {kind}/",
        f"10 in {KINDS[0] if kind != KINDS[0] else KINDS[1]}/",
        f"; {kind}/ lacks 7: extra0.png, extra1.png, extra2.png, extra3.png, extra4.png and 2 more.",
        "Unpack the archive again",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize("kind", ["whole_mask", "visible_object_mask"])
def test_broken_masks_are_bad_records(root: Path, kind: str) -> None:
    dataset, file = opened(root), root / kind / "sa_1.png"
    PIL.Image.fromarray(bar(0)).save(file)
    with pytest.raises(BadRecord, match=rf"{kind}/sa_1\.png: mask is empty, nothing is above 127"):
        dataset[0]
    PIL.Image.fromarray(bar(SIDE) - bar(6)).save(file)
    with pytest.raises(BadRecord, match=r"mask/sa_1\.png: visible mask lies wholly outside the amodal mask \(.*whole_"):
        dataset[0]
    PIL.Image.fromarray(bar(3)[:4]).save(file)
    with pytest.raises(BadRecord, match=rf"{kind}/sa_1\.png is 8 x 4, its image in occlusion/ is 8 x 8"):
        dataset[0]
    file.write_bytes(b"")
    with pytest.raises(BadRecord, match=rf"{kind}/sa_1\.png: not a readable image"):
        dataset[0]
    file.unlink()
    with pytest.raises(BadRecord, match=rf"image not found: .*{kind}/sa_1\.png"):
        dataset[0]


def test_broken_images_are_bad_records(root: Path, tmp_path: Path) -> None:
    dataset, file = opened(root), root / "occlusion" / "sa_1.png"
    file.write_bytes(b"")
    with pytest.raises(BadRecord, match=r"occlusion/sa_1\.png: not a readable image"):
        dataset[0]
    file.unlink()
    PIL.Image.new("RGB", (SIDE, SIDE), (7, 8, 9)).save(tmp_path / "store.png")
    file.symlink_to(tmp_path / "store.png")
    assert dataset[0].query.image[0, 0].tolist() == [7, 8, 9]


def test_missing_folders_and_files_are_told(root: Path) -> None:
    for file in (root / "whole").iterdir():
        file.unlink()
    (root / "whole").rmdir()
    with pytest.raises(DatasetNotReady, match=r"the folder whole/ not found under"):
        opened(root)
    for kind in KINDS:
        (root / kind).mkdir(exist_ok=True)
        for file in (root / kind).iterdir():
            file.unlink()
    with pytest.raises(DatasetNotReady, match=r"a file \*\.png in occlusion/ not found under"):
        opened(root)
