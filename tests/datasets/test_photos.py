"""From a name in an annotation file to one image file, and to words where there is none."""

import json
import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from amodal_bench.datasets.coco_a import CocoA
from amodal_bench.datasets.d2sa import D2sa, D2saOptions
from amodal_bench.datasets.kins import Kins, KinsOptions
from amodal_bench.datasets.sailvos import SailVos, SailVosOptions
from amodal_bench.errors import BadRecord, DatasetNotReady
from amodal_bench.files.paths import id_part, name_on_disk
from amodal_bench.formats.coco import find_file
from amodal_bench.formats.coco_photos import name_of_2017
from amodal_bench.formats.missing import found_names, missing, near_misses
from amodal_bench.formats.photos import Photos
from amodal_bench.plugin import Location

HEIGHT, WIDTH = 24, 32
BACK = [[4.0, 4.0, 24.0, 4.0, 24.0, 20.0, 4.0, 20.0]]


def put(path: Path, red: int = 0, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("RGB", size, (red, 0, 0)).save(path, "PNG")
    return path


def photos(folder: Path, *names: str) -> Photos:
    return Photos([folder], lambda: names)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("a.png", "a.png"),
        ("sub/a.png", "sub/a.png"),
        ("sub/a.png", "a.png"),
        ("./a.png", "a.png"),
        ("sub//a.png", "sub/a.png"),
        ("/data/kitti/a.png", "a.png"),
        ("/data/kitti/sub/a.png", "sub/a.png"),
        ("D:\\kitti\\a.png", "a.png"),
        ("\\\\server\\kitti\\a.png", "a.png"),
        ("testing\\image_2\\a.png", "a.png"),
        ("https://host/val2014/a.png", "a.png"),
        ("https://host/val2014/a.png?raw=1", "a.png"),
        ("file:///data/me/a.png", "a.png"),
        ("s3://bucket/sub/a.png", "sub/a.png"),
        ("a\\b.png", "a\\b.png"),
        ("cam:0_1.png", "cam:0_1.png"),
        ("2013-05-28T10:11:12.png", "2013-05-28T10:11:12.png"),
        ("a%20b.png", "a b.png"),
        ("a%20b.png", "a%20b.png"),
        ("x%2Fy.png", "x%2Fy.png"),
        ("stra\u00dfe caf\u00e9.png", unicodedata.normalize("NFD", "stra\u00dfe caf\u00e9.png")),
        (unicodedata.normalize("NFD", "caf\u00e9.png"), "caf\u00e9.png"),
        ("\u8f66 (1).png", "\u8f66 (1).png"),
    ],
)
def test_a_name_is_found_as_it_stands_or_by_its_ending(tmp_path: Path, name: str, file: str) -> None:
    path = put(tmp_path / file)
    assert photos(tmp_path, name, "other.png").find(name, "x").samefile(path)


@pytest.mark.parametrize(
    "name",
    [
        "../a.png",
        "sub/../../a.png",
        "..\\a.png",
        "/../a.png",
        "https://host/../a.png",
        "",
        "/",
        ".",
        "a\0.png",
        "sub/..",
    ],
)
def test_a_name_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    put(tmp_path / "a.png")
    put(tmp_path / "images" / "b.png")
    with pytest.raises(BadRecord, match=r"^x: file_name .* leads out of the image folder"):
        photos(tmp_path / "images", name).find(name, "x")


@pytest.mark.parametrize("name", ["%2e%2e/secret.png", "%2e%2e%2fsecret.png", "..%2fsecret.png", "/etc/passwd"])
def test_no_spelling_leads_out(tmp_path: Path, name: str) -> None:
    put(tmp_path / "secret.png")
    (tmp_path / "images").mkdir()
    with pytest.raises(BadRecord, match=r"^x: (image .* not found in .*images|file_name .* leads out)"):
        photos(tmp_path / "images", name).find(name, "x")


@pytest.mark.parametrize(
    "names",
    [
        ("scene_a/1.png", "scene_b/1.png"),
        ("/data/scene_a/1.png", "/data/scene_b/1.png"),
        ("https://host/a/1.png?x=1", "https://host/b/1.png"),
        ("./1.png", "sub/1.png"),
        ("a/%31.png", "b/1.png"),
    ],
)
def test_names_that_end_alike_are_not_one_photo(tmp_path: Path, names: Sequence[str]) -> None:
    path = put(tmp_path / "1.png")
    for name in names:
        with pytest.raises(BadRecord) as caught:
            photos(tmp_path, *names).find(name, "x")
        for part in (f"x: image {name} is not in {tmp_path}", f"There is {path}, but 2 names", *names):
            assert part in str(caught.value)


def test_two_spellings_of_one_file_are_refused_with_both(tmp_path: Path) -> None:
    put(tmp_path / "a b.png")
    both = photos(tmp_path, "a b.png", "a%20b.png")
    assert both.find("a b.png", "x").name == "a b.png"
    with pytest.raises(BadRecord, match=r"but 2 names of .* \(a b\.png, a%20b\.png\): which of them is it\?"):
        both.find("a%20b.png", "x")
    put(tmp_path / "a%20b.png")
    assert both.find("a%20b.png", "x").name == "a%20b.png"


def test_a_longer_ending_tells_scenes_apart(tmp_path: Path) -> None:
    for scene in ("a", "b"):
        put(tmp_path / f"scene_{scene}" / "1.png")
    names = ["/data/scene_a/1.png", "/data/scene_b/1.png"]
    found = photos(tmp_path, *names)
    assert [found.find(name, "x").parent.name for name in names] == ["scene_a", "scene_b"]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("A.PNG", "; there is a.png in"),
        ("a.jpg", "; there is a.png in"),
        ("sub/C.png", "; there is c.png in .*sub"),
        ("gone.png", r": not found: .*gone\.png is a link to /nowhere/gone\.png, which is not there"),
        ("far.png", "images$"),
        ("x" * 300 + ".png", "images$"),
    ],
)
def test_what_is_nearly_there_is_told(tmp_path: Path, name: str, hint: str) -> None:
    put(tmp_path / "images" / "a.png")
    put(tmp_path / "images" / "sub" / "c.png")
    (tmp_path / "images" / "._far.png").write_bytes(b"")
    (tmp_path / "images" / "gone.png").symlink_to("/nowhere/gone.png")
    with pytest.raises(BadRecord, match=rf"^x: image {name} not found in .*images{hint.removeprefix('images')}"):
        photos(tmp_path / "images", name).find(name, "x")


def test_links_are_followed_wherever_they_lead(tmp_path: Path) -> None:
    store = put(tmp_path / "store" / "ab12", red=7)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").symlink_to(store)
    assert photos(tmp_path / "images", "a.png").find("a.png", "x").samefile(store)
    (tmp_path / "farm").symlink_to(tmp_path / "images")
    assert photos(tmp_path / "farm", "a.png").find("a.png", "x").samefile(store)


def test_a_name_that_is_not_utf_8_is_spelled_and_found_again(tmp_path: Path) -> None:
    raw = os.fsdecode(b"caf\xe9.png")
    part = id_part(raw)
    assert (part, part.encode()) == ("caf\\xe9.png", b"caf\\xe9.png")
    assert name_on_disk(part) == raw
    assert id_part("caf\u00e9 \u8f66.png") == "caf\u00e9 \u8f66.png"
    put(tmp_path / raw)
    assert photos(tmp_path, part).find(part, "x").name == raw
    assert name_on_disk("\\x2e\\x2e\\x2fa") == "\\x2e\\x2e\\x2fa"  # no spelling of ../a


# Through the adapters


def kins(root: Path, images: list[dict[str, Any]]) -> Kins:
    sizes = {"height": HEIGHT, "width": WIDTH}
    mask = {"segmentation": BACK, "inmodal_seg": BACK}
    annotations = [{"id": k, "image_id": image["id"], "category_id": 4, **mask} for k, image in enumerate(images)]
    root.mkdir(exist_ok=True)
    value = {"images": [{**sizes, **image} for image in images], "annotations": annotations, "categories": []}
    (root / "instances_val.json").write_text(json.dumps(value))
    return Kins(Location(name="kins", root=root, cache=root.parent / "cache"), "test", KinsOptions())


def test_two_photos_of_one_name_are_rows_of_their_own_or_told(tmp_path: Path) -> None:
    put(tmp_path / "data" / "testing" / "image_2" / "1.png", red=9)
    names = ("left/1.png", "right/1.png")
    dataset = kins(tmp_path / "data", [{"id": k, "file_name": name} for k, name in enumerate(names)])
    for index in (0, 1):
        with pytest.raises(BadRecord, match=r"but 2 names of the annotation file end like that \(left/1\.png, right/1"):
            dataset[index]
    assert [fault.kind for fault in dataset.faults()] == ["image is missing or unreadable"] * 2


def test_two_annotators_of_one_photo_stay_apart(tmp_path: Path) -> None:
    put(tmp_path / "data" / "testing" / "image_2" / "1.png", red=9)
    dataset = kins(tmp_path / "data", [{"id": k, "file_name": "1.png"} for k in (5, 6)])
    assert [sample.query.id for sample in dataset] == ["kins/test/5/0", "kins/test/6/1"]
    assert {int(sample.query.image[0, 0, 0]) for sample in dataset} == {9}


def test_doctor_decodes_every_photo(tmp_path: Path) -> None:
    whole = put(tmp_path / "data" / "testing" / "image_2" / "1.png")
    (whole.parent / "2.png").write_bytes(whole.read_bytes()[:45])
    (whole.parent / "3.png").write_bytes(b"<html>")
    put(whole.parent / "4.png", size=(2 * WIDTH, 2 * HEIGHT))
    exif = PIL.Image.Exif()
    exif[0x0112] = 3
    PIL.Image.new("RGB", (WIDTH, HEIGHT)).save(whole.parent / "5.png", "JPEG", exif=exif.tobytes())
    dataset = kins(tmp_path / "data", [{"id": k, "file_name": f"{k}.png"} for k in range(1, 7)])
    told = {fault.id: (fault.kind, fault.detail) for fault in dataset.faults()}
    unreadable = "image is missing or unreadable"
    for id, kind, part in (
        (2, unreadable, "2.png: not a readable image: a PNG, cut off or damaged"),
        (3, unreadable, "3.png: not a readable image: an HTML page"),
        (4, "image is of another size", "64 x 48, annotated as 32 x 24: a resized copy"),
        (5, "image carries an EXIF rotation, which is not applied", "5.png, EXIF orientation 3"),
        (6, unreadable, "image 6.png not found in"),
    ):
        assert told[f"kins/test/{id}"][0] == kind
        assert part in told[f"kins/test/{id}"][1]
    assert "kins/test/1" not in told


def rle(height: int, width: int, top: int, bottom: int) -> dict[str, Any]:
    """The rows from `top` to `bottom` of every column, uncompressed."""
    runs = [top]
    for _ in range(width - 1):
        runs += [bottom - top, height - bottom + top]
    return {"size": [height, width], "counts": [*runs, bottom - top, height - bottom]}


def d2sa(root: Path, entry: tuple[int, int], masks: tuple[int, int], photo: tuple[int, int]) -> D2sa:
    """Sizes are (height, width)."""
    put(root / "d2s_amodal_images_v1" / "images" / "a.jpg", 200, photo[::-1])
    annotation = {
        "id": 1, "image_id": 1, "category_id": 1,
        "segmentation": rle(*masks, 0, masks[0]), "visible_mask": rle(*masks, 0, 10),
    }  # fmt: skip
    value = {
        "images": [{"id": 1, "file_name": "a.jpg", "height": entry[0], "width": entry[1]}],
        "annotations": [annotation],
    }
    (root / "annotations").mkdir()
    (root / "annotations" / "D2S_amodal_validation.json").write_text(json.dumps(value))
    return D2sa(Location(name="d2sa", root=root, cache=root.parent / "cache"), "val", D2saOptions())


FRAMED = "image is cut or filled at the right and the bottom"


@pytest.mark.parametrize(
    ("entry", "masks", "photo", "counted"),
    [
        ((102, 128), (102, 128), (102, 128), 0),
        ((102, 128), (102, 128), (96, 128), 1),
        ((97, 129), (97, 129), (96, 128), 1),
        ((96, 128), (102, 128), (96, 128), 1),
        ((96, 128), (102, 128), (102, 128), 0),
        ((96, 128), (96, 128), (102, 128), 1),
    ],
)
def test_photos_of_d2sa_are_brought_to_the_masks_frame_and_counted(
    tmp_path: Path, entry: tuple[int, int], masks: tuple[int, int], photo: tuple[int, int], counted: int
) -> None:
    dataset = d2sa(tmp_path / "data", entry, masks, photo)
    image, amodal = dataset[0].query.image, dataset[0].amodal
    assert (image.shape[:2], amodal.shape) == (masks, masks)
    height, width = np.minimum(photo, masks)
    assert (image[:height, :width, 0] == 200).all()
    assert (image[height:].max(initial=0), image[:, width:].max(initial=0)) == (0, 0)
    assert amodal.all()
    assert dataset.funnel.noted[FRAMED] == counted
    assert [fault.kind for fault in dataset.faults()] == [FRAMED] * counted


def test_photos_of_d2sa_that_are_far_off_are_no_photos_of_it(tmp_path: Path) -> None:
    for number, photo in enumerate([(48, 64), (96, 100), (128, 96)]):
        dataset = d2sa(tmp_path / str(number) / "data", (96, 128), (96, 128), photo)
        with pytest.raises(BadRecord, match=r"its annotation says 128 x 96 .*: (a resized copy|another shape)"):
            dataset[0]
        assert dataset.funnel.noted[FRAMED] == 0


def coco_a(root: Path, file: str = "annotations/COCO_amodal_val2014.json", images: Path | None = None) -> CocoA:
    regions = [{"segmentation": BACK[0], "order": 1, "name": "cup"}]
    entry = {"id": 7, "file_name": "COCO_val2014_000000000007.jpg", "height": HEIGHT, "width": WIDTH}
    value = {"images": [entry], "annotations": [{"image_id": 7, "regions": regions}]}
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    (root / file).write_text(json.dumps(value))
    return CocoA(Location(name="coco_a", root=root, images=images, cache=root.parent / "cache"), "val", CocoA.Options())


@pytest.mark.parametrize(
    "prefix",
    ["val2014/COCO_val2014_", "images/val2014/COCO_val2014_", "val2017/", "train2017/", "images/train2017/"],
)
def test_coco_photos_are_found_in_both_releases(tmp_path: Path, prefix: str) -> None:
    put(tmp_path / "data" / f"{prefix}000000000007.jpg", red=3)
    assert coco_a(tmp_path / "data")[0].query.id == "coco_a/val/7/0.1"
    assert coco_a(tmp_path / "data")[0].query.image[0, 0, 0] == 3
    elsewhere = (tmp_path / "data" / prefix.split("/")[0]).rename(tmp_path / prefix.split("/")[0])
    dataset = coco_a(
        tmp_path / "data", images=elsewhere if "images/" not in prefix else elsewhere / prefix.split("/")[1]
    )
    assert dataset[0].query.image[0, 0, 0] == 3


def test_only_names_of_2014_have_one_of_2017() -> None:
    assert name_of_2017("COCO_train2014_000000000009.jpg") == "000000000009.jpg"
    for name in ("COCO_test2014_000000000009.jpg", "COCO_val2014_9.jpg", "9.jpg", "COCO_val2014_000000000009.jpg.txt"):
        assert name_of_2017(name) == name


@pytest.mark.parametrize("folder", ["", "amodal_annotations/", "annotations/"])
def test_the_annotations_of_coco_a_are_found_where_people_have_them(tmp_path: Path, folder: str) -> None:
    put(tmp_path / "data" / "val2014" / "COCO_val2014_000000000007.jpg")
    assert len(coco_a(tmp_path / "data", f"{folder}COCO_amodal_val2014.json")) == 1


def test_a_json_file_may_be_packed_and_the_unpacked_one_comes_first(tmp_path: Path) -> None:
    for name in ("a.json.gz", "b.pkl.gz"):
        (tmp_path / name).write_bytes(b"")
    assert find_file(tmp_path, ["x", ""], "a.json") == tmp_path / "a.json.gz"
    assert find_file(tmp_path, [""], "b.pkl") is None
    (tmp_path / "c.json").write_bytes(b"")
    assert find_file(tmp_path, [""], "a.json", "c.json") == tmp_path / "c.json"


@pytest.mark.parametrize("file", ["annotations/coco_amodal_val2014.json", "Annotations/COCO_amodal_val2014.json.gz"])
def test_near_misses_are_told_beside_what_is_there(tmp_path: Path, file: str) -> None:
    root = tmp_path / "data"
    with pytest.raises(DatasetNotReady) as caught:
        coco_a(root, file)
    assert f"\nNearly: {file}; folder and spelling must be as expected.\n" in str(caught.value)
    assert f"\nFound: {file.split('/')[0]}/ ({file.split('/')[1]})\n" in str(caught.value)


def test_what_is_told_of_a_folder_is_short_and_leaves_hidden_names_out(tmp_path: Path) -> None:
    for number in range(5):
        put(tmp_path / "Val2014" / f"{number}.jpg")
    (tmp_path / "empty").mkdir()
    (tmp_path / ".cache").mkdir()
    (tmp_path / "Val2014" / ".DS_Store").write_bytes(b"")
    (tmp_path / "readme.txt").write_bytes(b"")
    assert found_names(tmp_path) == "Val2014/ (0.jpg, 1.jpg, 2.jpg and 2 more), empty/ (empty), readme.txt"
    assert near_misses(tmp_path, ["val2014", "README.TXT"]) == ["Val2014", "readme.txt"]
    assert "Nearly: Val2014; folder and spelling" in str(missing(CocoA.card, tmp_path, "val2014/", ["val2014"]))
    assert "Nearly" not in str(missing(CocoA.card, tmp_path, "val2014/"))


def sailvos(root: Path, names: Sequence[str], images: Path | None = None, file: str = "valid.json") -> SailVos:
    sizes = {"height": HEIGHT, "width": WIDTH}
    masks = {"segmentation": BACK, "visible_mask": BACK}
    value = {
        "images": [{"id": k, "file_name": name, **sizes} for k, name in enumerate(names)],
        "annotations": [{"id": k, "image_id": k, "obj_id": 3, **masks} for k in range(len(names))],
    }
    root.mkdir(exist_ok=True)
    (root / file).write_text(json.dumps(value))
    return SailVos(
        Location(name="sailvos", root=root, images=images, cache=root.parent / "cache"), "val", SailVosOptions()
    )


def test_two_scenes_never_share_a_frame(tmp_path: Path) -> None:
    put(tmp_path / "data" / "scene_a" / "000001.bmp", red=1)
    names = ["scene_a/000001.bmp", "scene_b/000001.bmp"]
    dataset = sailvos(tmp_path / "data", names)
    assert dataset[0].query.image[0, 0, 0] == 1
    with pytest.raises(BadRecord, match=r"scene_b/000001\.bmp not found"):
        dataset[1]
    dataset = sailvos(tmp_path / "data", names, images=tmp_path / "data" / "scene_a")
    for index in (0, 1):
        with pytest.raises(BadRecord, match=r"2 names .* \(scene_a/000001\.bmp, scene_b/000001\.bmp\): which of them"):
            dataset[index]


@pytest.mark.parametrize("root", ["/data/sailvos/", "D:\\sailvos\\", "https://host/", "val/"])
def test_frames_of_scenes_are_found_under_any_root(tmp_path: Path, root: str) -> None:
    for red, scene in enumerate(("scene_a", "scene_b")):
        put(tmp_path / "data" / scene / "images" / "000001.bmp", red)
    dataset = sailvos(tmp_path / "data", [f"{root}{scene}/images/000001.bmp" for scene in ("scene_a", "scene_b")])
    assert [sample.query.image_id for sample in dataset] == ["scene_a:000001", "scene_b:000001"]
    assert [int(sample.query.image[0, 0, 0]) for sample in dataset] == [0, 1]


def test_clips_of_diffusion_vas_are_found_under_their_released_name(tmp_path: Path) -> None:
    put(tmp_path / "data" / "scene_a" / "000001.bmp")
    dataset = sailvos(tmp_path / "data", ["scene_a/000001.bmp"], file="diffusion_vas_sailvos_val.json")
    assert dataset.ids() == ["sailvos/val/scene_a:000001/3"]
