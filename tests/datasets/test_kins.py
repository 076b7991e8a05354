"""KINS v1 and 2020 on files checked by hand (tests/data/formats/kins), and on broken ones."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from amodal_bench.datasets.kins import Kins, KinsOptions
from amodal_bench.errors import BadRecord, DatasetNotReady, Refused
from amodal_bench.formats import indexed
from amodal_bench.masks.images import read_image
from amodal_bench.plugin import Dataset, Location
from amodal_bench.types import Image, Mask

LeftOut = Callable[[Any, str, str], None]
FIXTURES = Path(__file__).parent.parent / "data" / "formats" / "kins"
NEW, OLD = "update_test_2020.json", "instances_val.json"
HEIGHT, WIDTH = 10, 12
Change = Callable[[str], str]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """KITTI photos; the file's number is in the red channel."""
    folder = tmp_path / "testing" / "image_2"
    folder.mkdir(parents=True)
    for number in (1, 9):
        PIL.Image.new("RGB", (WIDTH, HEIGHT), (number, 0, 0)).save(folder / f"{number:06d}.png")
    return tmp_path


def opened(root: Path, name: str | None = None, images: Path | None = None, **options: Any) -> Kins:
    if name:
        shutil.copy(FIXTURES / name, root)
    return Kins(Location(name="kins", root=root, images=images, cache=root / "cache"), "test", KinsOptions(**options))


def edited(root: Path, name: str, change: Change, **options: Any) -> Kins:
    (root / name).write_text(change((FIXTURES / name).read_text()))
    return opened(root, **options)


def boxes(*edges: tuple[int, int, int, int]) -> Mask:
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
    for left, top, right, bottom in edges:
        mask[top:bottom, left:right] = True
    return mask


def test_release_2020_joins_by_image_id_and_merges_polygons(root: Path) -> None:
    dataset = opened(root, NEW)
    assert dataset.release == "2020"
    assert dataset.ids() == [f"kins/test/{name}" for name in ("5/31", "5/33", "5/34", "2/32", "2/40")]
    expected = [
        (boxes((0, 0, 6, 8)), boxes((0, 0, 3, 8)), "car", 9),
        (boxes((0, 0, 2, 2), (6, 6, 9, 9)), boxes((6, 6, 9, 9)), "cyclist", 9),  # a name that the file lacks
        (boxes((3, 3, 6, 6)), boxes((3, 3, 7, 6)), "car", 9),  # V sticks out of A, as annotated
        (boxes((2, 2, 12, 10)), boxes((2, 2, 12, 10)), "pedestrian", 1),  # flat, up to the border
        (boxes((1, 0, 3, 10)), boxes((1, 0, 2, 10)), "car", 1),  # RLE: compressed, and a list of runs
    ]
    for sample, (amodal, visible, category, file) in zip(dataset, expected, strict=True):
        np.testing.assert_array_equal(sample.amodal, amodal, sample.query.id)
        np.testing.assert_array_equal(sample.visible, visible, sample.query.id)
        assert (sample.query.category, sample.query.image[0, 0, 0]) == (category, file)
        assert sample.true_visible is None
        assert (sample.is_stuff, sample.declared_rate) == (None, None)
    assert [dataset.group(id) for id in dataset.ids()] == ["5", "5", "5", "2", "2"]


def test_what_is_seen_of_an_image_is_told_by_one_photo(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = opened(root, NEW)
    slowly = [Dataset.seen(dataset, index) for index in range(len(dataset))]
    photos: list[Path] = []

    def counted(path: Path, *size: Any) -> Image:
        photos.append(path)
        return read_image(path, *size)

    monkeypatch.setattr(indexed, "read_image", counted)
    for index, expected in enumerate(slowly):
        found = dataset.seen(index)
        assert found.query.id == expected.query.id
        assert np.array_equal(found.things, expected.things)
        assert (found.things & ~found.query.visible).any()
    assert len(photos) == len(dataset)


def test_every_annotation_is_an_instance_or_counted(root: Path) -> None:
    assert opened(root, NEW).funnel.as_dict() == {
        "read": 11,
        "kept": 5,
        "dropped": {
            "amodal mask is empty": 1,
            "another annotation has the same id": 2,
            "malformed mask": 1,
            "no visible mask (i_segm)": 2,  # null and an empty list
        },
        "noted": {"visible mask sticks out of the amodal mask": 1},
    }


def test_release_v1_has_visible_codes(root: Path) -> None:
    dataset = opened(root, OLD)
    assert (dataset.release, list(dataset.ids())) == ("v1", ["kins/test/5/1", "kins/test/2/2"])
    assert dataset.funnel.as_dict()["dropped"] == {"no visible mask (inmodal_seg)": 1}
    first, second = dataset
    np.testing.assert_array_equal(first.visible, boxes((1, 0, 2, 10)))
    np.testing.assert_array_equal(second.amodal, boxes((1, 0, 3, 10)))
    assert (first.query.category, second.query.category, first.occlusion_rate) == ("car", "rider", 0.5)


def test_two_releases_in_one_folder_must_be_chosen_between(root: Path) -> None:
    shutil.copy(FIXTURES / OLD, root)
    with pytest.raises(Refused, match=r"holds the KINS releases v1, 2020 of test.*--set dataset\.release=v1"):
        opened(root, NEW)
    assert len(opened(root, release="v1")) == 2
    assert len(opened(root, release="2020")) == len(opened(root, release=2020)) == 5  # so YAML reads it
    with pytest.raises(DatasetNotReady, match=r"kins_intersection\.pkl and kins_intersection_list\.txt and"):
        opened(root, release="c2f")


def test_the_keys_decide_not_the_name(root: Path) -> None:
    shutil.copy(FIXTURES / NEW, root / OLD)
    assert len(opened(root)) == 5
    with pytest.raises(DatasetNotReady, match=r"instances_val\.json is of release 2020 by its keys, asked for was v1"):
        opened(root, release="v1")


@pytest.mark.parametrize(
    ("key", "told"), [("inmodal_seg", "both"), ("a_segm", "v1, annotation 1 has|the keys of 2020")]
)
def test_mixed_releases_are_refused(root: Path, key: str, told: str) -> None:
    def mix(text: str) -> str:
        file = json.loads(text)
        new = json.loads((FIXTURES / NEW).read_text())["annotations"][0]
        file["annotations"].append({**new, key: [[0.0]]} if key == "inmodal_seg" else new)
        return json.dumps(file)

    with pytest.raises(DatasetNotReady, match=rf"instances_val\.json mixes releases of KINS: .*({told})"):
        edited(root, OLD, mix)


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({"include_unoccluded": False}, ["5/31", "5/33", "2/40"]),
        ({"min_area": 20}, ["5/31", "2/32", "2/40"]),
        ({"rates": "[0.2, 0.4)"}, ["5/33"]),
        ({"include_unoccluded": False, "rates": "[0.5, 1]", "min_area": 30}, ["5/31"]),
    ],
)
def test_options_choose(root: Path, options: dict[str, Any], left: list[str]) -> None:
    dataset = opened(root, NEW, **options)
    assert [id.removeprefix("kins/test/") for id in dataset.ids()] == left
    assert dataset.funnel.kept == len(left)
    assert dataset.funnel.read == 11


def test_a_subset_is_part_of_a_larger_one(root: Path) -> None:
    two, three = (set(opened(root, NEW, max_instances=n).ids()) for n in (2, 3))
    assert (len(two), len(three), two < three) == (2, 3, True)


@pytest.mark.parametrize("options", [{"visible": "predicted"}, {"objects": "fusion"}])
def test_options_of_c2f_are_refused_elsewhere(root: Path, options: dict[str, Any]) -> None:
    with pytest.raises(Refused, match=r"KINS release 2020 holds neither .* go with release=c2f"):
        opened(root, NEW, **options)


def test_files_and_images_may_lie_elsewhere(root: Path, tmp_path: Path) -> None:
    (root / "annotations").mkdir()
    shutil.copy(FIXTURES / NEW, root / "annotations")
    (root / "testing").rename(tmp_path / "kitti")
    for images in (tmp_path / "kitti" / "image_2", tmp_path / "kitti"):
        if images.name == "kitti":
            images.rename(tmp_path / "testing")
            images = tmp_path
        assert opened(root, images=images)[0].query.image[0, 0, 0] == 9


def test_an_image_of_another_size_is_not_resized_to_the_annotation(root: Path) -> None:
    path = root / "testing" / "image_2" / "000009.png"
    PIL.Image.new("RGB", (2 * WIDTH, 2 * HEIGHT)).save(path)
    with pytest.raises(BadRecord, match=r"is 24 x 20, its annotation says 12 x 10 .*: a resized copy"):
        opened(root, NEW)[0]


@pytest.mark.parametrize("options", [{}, {"min_area": 1}, {"rates": "[0, 1]"}, {"include_unoccluded": False}])
@pytest.mark.parametrize("points", [4, 60])
def test_a_malformed_mask_is_left_out_however_long_and_whatever_is_asked(
    root: Path, left_out: LeftOut, points: int, options: dict[str, Any]
) -> None:
    odd = [[1.0, 2.0] * points + [3.0]]
    old = "[[0.0, 0.0, 6.0, 0.0, 6.0, 8.0, 0.0, 8.0]]"
    dataset = edited(root, NEW, lambda text: text.replace(old, str(odd), 1), **options)
    assert "kins/test/5/31" not in dataset.ids()
    told = rf"update_test_2020\.json: image 5, annotation 31: .*odd number .*\({2 * points + 1}\)"
    left_out(dataset, "malformed mask", told)


def put(path: str, value: Any) -> Change:
    """A change of one value of the JSON, at a path like `annotations.0.id`."""

    def change(text: str) -> str:
        file = json.loads(text)
        *outer, last = [int(part) if part.isdigit() else part for part in path.split(".")]
        holder = file
        for part in outer:
            holder = holder[part]
        holder[last] = value
        return json.dumps(file)

    return change


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda text: text[: len(text) // 2], "not valid JSON: it ends before its last bracket"),
        (lambda _: "", "is empty"),
        (lambda _: "[]", "Expected `object`, got `array`"),
        (lambda text: text.replace('"annotations"', '"anns"'), "missing required field `annotations`"),
        (put("annotations", [{"id": 1, "image_id": 5, "segmentation": []}]), "no annotation has the keys of a release"),
    ],
)
def test_a_broken_file_is_refused_with_its_place(root: Path, change: Change, told: str) -> None:
    with pytest.raises(DatasetNotReady, match=rf"update_test_2020\.json: .*{told}"):
        edited(root, NEW, change)


NO_FORMAT = "not in the official format"


@pytest.mark.parametrize(
    ("change", "reason", "told"),
    [
        (
            lambda text: text.replace('"image_id": 2, ', "", 1),
            NO_FORMAT,
            r"annotations\[1\]: Object missing required field `image_id`",
        ),
        (put("annotations.3.id", None), NO_FORMAT, r"annotations\[3\]: Expected .*, got `null` - at `\$\.id`"),
        (put("annotations.3.id", [[7]]), NO_FORMAT, r"annotations\[3\]: Expected .*, got `array` - at `\$\.id`"),
        (put("annotations.0.image_id", 6), "its image is not in images", "image 6, annotation 31"),
        (put("images.1.height", -10), f"the entry of its image is {NO_FORMAT}", r"images\[1\]: Expected `int` >= 1"),
        (put("images.0.width", 10**9), f"the entry of its image is {NO_FORMAT}", "Expected `int` <= 30000"),
        (put("images.1.width", None), "the size of its image is not stated", "image 2, annotation"),
        (put("images.2.id", 2), "several images have the id of its image", r"000001\.png and 000010\.png"),
        (put("annotations.0.a_segm.0.0", float("nan")), "malformed mask", "a polygon must be a flat list of numbers"),
    ],
)
def test_what_can_not_be_read_is_left_out_and_counted(
    root: Path, left_out: LeftOut, change: Change, reason: str, told: str
) -> None:
    left_out(edited(root, NEW, change), reason, told)


@pytest.mark.parametrize(
    "mask",
    [
        [["a", 1]],
        {"size": [10, 12]},
        {"size": [12, 10], "counts": "0"},
        7,
        "abc",
        {"size": [10, 12], "counts": [121]},
        {"size": [10, 12], "counts": [-1, 121]},
    ],
)
def test_a_malformed_mask_is_counted(root: Path, mask: Any) -> None:
    dataset = edited(root, NEW, put("annotations.0.a_segm", mask))
    assert (dataset.funnel.dropped["malformed mask"], len(dataset)) == (2, 4)


def test_a_missing_image_folder_is_explained(root: Path) -> None:
    shutil.rmtree(root / "testing")
    with pytest.raises(DatasetNotReady, match=r"testing/image_2/ not found under"):
        opened(root, NEW)
