"""MP3D-Amodal on a pickle with the quirks of the released ones, checked by hand, and on broken pickles."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from amodal_bench.datasets.mp3d import Mp3d
from amodal_bench.errors import BadRecord, DatasetNotReady
from amodal_bench.formats.indexed import InstanceOptions
from amodal_bench.masks import rle
from amodal_bench.plugin import Location
from amodal_bench.types import Mask

# Two images, ids 11 and 4, in this order. Counts are bytes, `area` and `occlusion_rate` NumPy scalars.
FIXTURE = Path(__file__).parent.parent / "data" / "formats" / "mp3d" / "MP3D_seleted_eval_10.29.pkl"
SIZES = {"view_11.jpg": (20, 30), "view_4.jpg": (12, 16)}  # height, width
IDS = ["mp3d/eval/11/0", "mp3d/eval/11/1", "mp3d/eval/4/0"]


LeftOut = Callable[[Any, str, str], None]


def box(file: str, left: int, top: int, right: int, bottom: int) -> Mask:
    mask = np.zeros(SIZES[file], dtype=np.bool_)
    mask[top:bottom, left:right] = True
    return mask


# Amodal and visible mask of each region; in the last one, the visible mask sticks out by a column.
MASKS = [
    (box("view_11.jpg", 2, 2, 12, 12), box("view_11.jpg", 2, 2, 7, 12)),
    (box("view_11.jpg", 0, 0, 30, 20), box("view_11.jpg", 0, 10, 30, 20)),
    (box("view_4.jpg", 4, 4, 8, 8), box("view_4.jpg", 6, 4, 9, 8)),
]


def content() -> Any:
    return pickle.loads(FIXTURE.read_bytes())


def write(root: Path, value: Any, split: str = "eval") -> Path:
    (root / f"mp3d_{split}").mkdir(parents=True, exist_ok=True)
    for index, (name, (height, width)) in enumerate(SIZES.items()):
        PIL.Image.new("RGB", (width, height), (0, 90 * index, 0)).save(root / f"mp3d_{split}" / name)
    data = value if isinstance(value, bytes) else pickle.dumps(value)
    (root / f"MP3D_seleted_{split}_10.29.pkl").write_bytes(data)
    return root


def opened(root: Path, split: str = "eval", images: Path | None = None, **options: Any) -> Mp3d:
    return Mp3d(
        Location(name="mp3d", root=root, images=images, cache=root / "cache"), split, InstanceOptions(**options)
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write(tmp_path / "mp3d", FIXTURE.read_bytes())


def test_lists_are_read_side_by_side(root: Path) -> None:
    dataset = opened(root)
    assert dataset.ids() == IDS
    assert [dataset.group(id) for id in IDS] == ["11", "11", "4"]
    for sample, (amodal, visible) in zip(dataset, MASKS, strict=True):
        np.testing.assert_array_equal(sample.amodal, amodal)
        np.testing.assert_array_equal(sample.visible, visible)
    assert [sample.query.category for sample in dataset] == ["3", None, "5"]
    assert [sample.is_stuff for sample in dataset] == [None, False, None]
    assert [sample.declared_rate for sample in dataset] == [0.5, 0.5, 0.25]
    assert dataset[2].query.image[0, 0, 1] > 80  # the second image
    assert dataset.funnel.as_dict() == {
        "read": 3,
        "kept": 3,
        "dropped": {},
        "noted": {
            "declared occlusion rate differs by more than .01 from the masks": 1,
            "visible mask sticks out of the amodal mask": 1,
        },
    }


@pytest.mark.parametrize(
    ("options", "kept", "reason"),
    [
        ({"min_area": 17}, [0, 1], "smaller than min_area"),
        ({"rates": "(0.4, 0.5)"}, [], "occlusion rate outside (0.4, 0.5)"),
        ({"max_instances": 1}, None, "outside the subset of max_instances"),
    ],
)
def test_options_leave_out_and_count(root: Path, options: dict[str, Any], kept: list[int] | None, reason: str) -> None:
    dataset = opened(root, **options)
    ids = dataset.ids()
    assert ids == [IDS[k] for k in kept] if kept is not None else len(ids) == 1
    assert dataset.funnel.as_dict()["dropped"] == {reason: 3 - len(ids)}


def test_splits_and_images_elsewhere(root: Path, tmp_path: Path) -> None:
    write(root, FIXTURE.read_bytes(), "train")
    assert opened(root, "train").ids()[0] == "mp3d/train/11/0"
    (root / "mp3d_eval").rename(tmp_path / "views")
    with pytest.raises(DatasetNotReady, match=r"mp3d_eval/ not found under"):
        opened(root)
    assert opened(root, images=tmp_path / "views")[0].query.image.shape == (20, 30, 3)


def test_empty_masks_are_counted(root: Path) -> None:
    value = content()
    code = rle.encode(np.zeros((20, 30), dtype=np.bool_))
    value["annotations"][0]["regions"][0]["visible_mask"] = code
    value["annotations"][0]["regions"][1]["segmentation"] = code
    dataset = opened(write(root, value))
    assert dataset.ids() == IDS[2:]
    assert dataset.funnel.as_dict()["dropped"] == {"amodal mask is empty": 1, "visible mask is empty": 1}


def altered(*path: Any, value: Any) -> Callable[[Any], Any]:
    """Put `value` at a place of the fixture."""

    def change(data: Any) -> Any:
        index = data
        for step in path[:-1]:
            index = index[step]
        index[path[-1]] = value
        return data

    return change


def without(key: str) -> Callable[[Any], Any]:
    def change(data: Any) -> Any:
        del data["annotations"][1]["regions"][0][key]
        return data

    return change


def cyclic(data: Any) -> Any:
    data["images"].append(data["images"])
    return data


class Call:
    """Pickles as a call, as an attacker writes it."""

    def __init__(self, command: str) -> None:
        self._command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self._command,)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda data: pickle.dumps(data)[:-40], r"eval_10\.29\.pkl: cannot be read as a pickle: it is cut off"),
        (lambda data: [data], r"not in the official format: Expected `object`, got `array`"),
        (lambda data: {"images": []}, r"Object missing required field `annotations`"),
        (cyclic, r"or one holds itself"),
        (
            lambda data: {**data, "annotations": data["annotations"][:1]},
            r"pkl: 2 images and 1 annotations: the lists belong together place by place.*official file again",
        ),
        (
            altered("annotations", 1, "image_id", value=11),
            r"annotations\[1\] is of image 11, but images\[1\] has the id 4: the lists are out of step",
        ),
        (
            altered("images", 0, "width", value=31),
            r"2 of 3 masks are of another size than their images, the first is of .*image 11, region 0: \(20, 30\), "
            r"its image \(20, 31\) \(height, width\)\. Perhaps images and annotations are out of step",
        ),
        (
            altered("images", 1, "id", value=11),
            r"none of the 3 annotations can be read\. The first: several images have",
        ),
    ],
)
def test_a_broken_pickle_is_refused_with_its_place(root: Path, change: Callable[[Any], Any], text: str) -> None:
    with pytest.raises(DatasetNotReady, match=text):
        opened(write(root, change(content())))


NO_FORMAT = "not in the official format"


@pytest.mark.parametrize(
    ("change", "reason", "told"),
    [
        (
            altered("images", 1, "height", value=-12),
            f"the entry of its image is {NO_FORMAT}",
            r"images\[1\]: Expected `int` >= 1 - at `\$\.height`",
        ),
        (
            altered("images", 1, "width", value=10**6),
            f"the entry of its image is {NO_FORMAT}",
            r"images\[1\]: Expected `int` <= \d+ - at `\$\.width`",
        ),
        (
            altered("annotations", 1, "regions", 0, "segmentation", "size", value=[12, 17]),
            "malformed mask",
            r"image 4, region 0: RLE of size \[12, 17\] in an image of size \[12, 16\]",
        ),
        (without("visible_mask"), "no visible mask (visible_mask)", "image 4, region 0"),
        (without("segmentation"), NO_FORMAT, "image 4, region 0: Object missing required field `segmentation`"),
        (
            altered("annotations", 0, "regions", value={"0": 1}),
            NO_FORMAT,
            r"annotations\[0\]: Expected `array`, got `object` - at `\$\.regions`",
        ),
    ],
)
def test_what_can_not_be_read_is_left_out_and_counted(
    root: Path, left_out: LeftOut, change: Callable[[Any], Any], reason: str, told: str
) -> None:
    left_out(opened(write(root, change(content()))), reason, told)


def test_a_pickle_with_a_command_is_refused_and_not_run(root: Path, tmp_path: Path) -> None:
    value = {**content(), "extra": Call(f"touch {tmp_path / 'was-run'}")}
    with pytest.raises(DatasetNotReady, match=r"refused: the pickle names posix\.system"):
        opened(write(root, value))
    assert not (tmp_path / "was-run").exists()


def test_malformed_counts_are_counted(root: Path) -> None:
    value = altered("annotations", 1, "regions", 0, "segmentation", "counts", value=b"\xff1")(content())
    dataset = opened(write(root, value))
    assert (dataset.ids(), dataset.funnel.as_dict()["dropped"]) == (IDS[:2], {"malformed mask": 1})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("/etc/passwd", "image 4, region 0: image /etc/passwd not found in .*mp3d_eval"),
        ("../view_4.jpg", "leads out of the image folder"),
        ("other.jpg", "image 4, region 0: image other.jpg not found in .*mp3d_eval"),
    ],
)
def test_a_file_name_that_leads_nowhere_is_told(root: Path, name: str, text: str) -> None:
    dataset = opened(write(root, altered("images", 1, "file_name", value=name)(content())))
    with pytest.raises(BadRecord, match=text):
        dataset[2]


def test_a_link_is_followed_and_a_broken_image_told(root: Path, tmp_path: Path) -> None:
    file = root / "mp3d_eval" / "view_4.jpg"
    file.rename(tmp_path / "store.jpg")
    file.write_bytes(b"")
    with pytest.raises(BadRecord, match=r"view_4\.jpg: not a readable image: an empty file"):
        opened(root)[2]
    file.unlink()
    file.symlink_to(tmp_path / "store.jpg")
    assert opened(root)[2].query.image.any()
