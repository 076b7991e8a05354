"""Files as labelme saves them, and what their shapes mean."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from amodal_bench.datasets.labelme import Labelme, LabelmeOptions
from amodal_bench.datasets.labelme.shapes import Shape, code_of, part_of
from amodal_bench.errors import BadRecord, DatasetNotReady
from amodal_bench.masks.rle import decode
from amodal_bench.plugin import Location
from amodal_bench.types import Mask

HEIGHT, WIDTH = 8, 12


def box(left: float, top: float, right: float, bottom: float) -> list[list[float]]:
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def shape(label: str, points: list[list[float]], group: int | None = None, **rest: Any) -> dict[str, Any]:
    return {"label": label, "points": points, "group_id": group, "description": "", "shape_type": "polygon",
            "flags": {}, "mask": None, **rest}  # fmt: skip


def photo() -> PIL.Image.Image:
    return PIL.Image.fromarray(np.full((HEIGHT, WIDTH, 3), 77, dtype=np.uint8))


def png(image: PIL.Image.Image) -> str:
    sink = io.BytesIO()
    image.save(sink, format="PNG")
    return base64.b64encode(sink.getvalue()).decode()


def write(path: Path, *shapes: dict[str, Any], image: str | None = None, data: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    file: dict[str, Any] = {
        "version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": image or f"{path.stem}.png", "imageData": data,
        "imageHeight": HEIGHT, "imageWidth": WIDTH,
    }  # fmt: skip
    path.write_text(json.dumps(file))
    if image is None and data is None:
        photo().save(path.with_suffix(".png"))


def opened(root: Path, split: str = "test", images: Path | None = None, **options: Any) -> Labelme:
    return Labelme(
        Location(name="labelme", root=root, images=images, cache=root.parent / "cache"),
        split,
        LabelmeOptions(**options),
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


CUP = shape("cup", box(0, 0, 8, 8))
LEFT, RIGHT = box(0, 0, 4, 8), box(4, 0, 8, 8)


def columns(start: int, stop: int) -> Mask:
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
    mask[:, start:stop] = True
    return mask


@pytest.mark.parametrize(
    "shapes",
    [
        [shape("cup", box(0, 0, 8, 8)), shape("cup_visible", LEFT)],
        [shape("cup", LEFT), shape("cup_amodal", box(0, 0, 8, 8))],
        [shape("Cup (Full)", box(0, 0, 8, 8)), shape("Cup - Modal", LEFT)],
        [shape("cup", box(0, 0, 8, 8)), shape("hidden cup", RIGHT)],
        [shape("cup visible", LEFT), shape("cup occluded", RIGHT)],
        [shape("cup", box(0, 0, 8, 8), 1), shape("cup", LEFT, 1, flags={"visible": True, "difficult": False})],
        [shape("cup", box(0, 0, 8, 8), 1), shape("cup", LEFT, 1, description="visible")],
        [shape("cup", box(0, 0, 8, 8), 1), shape("visible", LEFT, 1)],
        [shape("cup", LEFT, 1), shape("cup", RIGHT, 1), shape("cup_visible", LEFT, 1)],  # the whole in two parts
        [shape("cup", [[0, 0], [8, 8]], shape_type="rectangle"), shape("cup_visible", [[4, 8], [0, 0]],
                                                                      shape_type="rectangle")],
    ],
    ids=lambda shapes: "+".join(s["label"] for s in shapes),
)  # fmt: skip
def test_words_say_what_a_shape_shows_of_its_object(root: Path, shapes: list[dict[str, Any]]) -> None:
    write(root / "a.json", *shapes)
    dataset = opened(root)
    (sample,) = dataset
    assert sample.query.id == "labelme/test/a/0"
    np.testing.assert_array_equal(sample.amodal, columns(0, 8))
    np.testing.assert_array_equal(sample.visible, columns(0, 4))
    assert sample.query.category in ("cup", "Cup")
    assert sample.query.image[0, 0].tolist() == [77, 77, 77]


def test_objects_of_one_label_are_told_apart_by_their_group(root: Path) -> None:
    write(
        root / "a.json", shape("cup", box(0, 0, 8, 8), 1), shape("cup", box(6, 0, 12, 8), 2),
        shape("cup_visible", LEFT, 1), shape("box", box(0, 0, 12, 2), 1),
    )  # fmt: skip
    dataset = opened(root)
    assert [id.removeprefix("labelme/test/") for id in dataset.ids()] == ["a/0", "a/1", "a/3"]
    assert [(s.query.category, s.occlusion_rate) for s in dataset] == [("cup", 0.5), ("cup", 0), ("box", 0)]


def test_without_groups_equal_labels_are_objects_of_their_own_and_what_is_unclear_is_counted(root: Path) -> None:
    write(root / "a.json", CUP, shape("cup", box(6, 0, 12, 8)))
    write(root / "b.json", CUP, shape("cup", box(6, 0, 12, 8)), shape("cup_visible", LEFT), shape("jar", LEFT))
    write(root / "c.json", CUP, shape("cup_visible", LEFT))
    dataset = opened(root)
    assert [id.removeprefix("labelme/test/") for id in dataset.ids()] == ["a/0", "a/1", "b/3", "c/0"]
    assert dataset.funnel.as_dict()["dropped"] == {"shapes of several objects of one label without a group_id": 3}


def test_files_that_say_nothing_of_what_is_hidden_are_refused(root: Path) -> None:
    write(root / "a.json", CUP, shape("jar", LEFT))
    with pytest.raises(
        DatasetNotReady, match=r"no shape says what is seen or hidden.*LABEL_visible, with the same group"
    ):
        opened(root)


def test_words_are_options(root: Path) -> None:
    write(root / "a.json", CUP, shape("cup_sichtbar", LEFT))
    with pytest.raises(DatasetNotReady, match=r"Other words: --set 'dataset.visible=\[WORD\]'"):
        opened(root)
    assert opened(root, visible=("sichtbar",))[0].occlusion_rate == 0.5


def test_masks_circles_and_lines(root: Path) -> None:
    part = PIL.Image.fromarray(np.ones((HEIGHT, 4), dtype=np.uint8))
    write(
        root / "a.json", CUP, shape("cup_visible", [[0, 0], [3, 7]], shape_type="mask", mask=png(part)),
        shape("jar", [[6, 4], [6, 1]], shape_type="circle"), shape("edge", [[0, 0], [5, 5]], shape_type="line"),
    )  # fmt: skip
    dataset = opened(root)
    np.testing.assert_array_equal(dataset[0].visible, columns(0, 4))
    assert 24 <= dataset[1].amodal.sum() <= 32  # pi times 3 squared
    assert dataset.funnel.as_dict()["dropped"] == {"malformed shape": 1}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"shape_type": "linestrip"}, "a linestrip has no area; read are polygon, rectangle, circle, mask"),
        ({"shape_type": "mask", "points": [[0, 0], [1, 1]], "mask": "%%"}, "mask is not a PNG in base64"),
        ({"shape_type": "mask", "points": [[0, 0], [1, 1]], "mask": png(PIL.Image.new("L", (50, 2)))}, "50 x 2 in a"),
        ({"shape_type": "mask", "points": [[0, 0]]}, "a mask has two corners"),
        ({"shape_type": "circle", "points": [[0, 0]]}, "a circle has a centre and a point on it, got 1 points"),
        ({"shape_type": "rectangle", "points": [[0, 0]] * 3}, "a rectangle has two or four corners, got 3"),
        ({"points": [[0, 0], [4]]}, r"a point is \[x, y\]"),
    ],
)
def test_a_shape_that_is_none_is_named(changes: dict[str, Any], text: str) -> None:
    broken = Shape(**{"label": "cup", "points": LEFT, **changes})
    with pytest.raises(BadRecord, match=f"a.json, shape 3: {text}|{text}"):
        code_of(broken, HEIGHT, WIDTH, "a.json, shape 3")


def test_a_mask_that_reaches_beyond_the_frame_is_cut_there() -> None:
    part = png(PIL.Image.fromarray(np.ones((4, 4), dtype=np.uint8)))
    for corner, expected in (([-2.0, -2.0], 4), ([10.0, 6.0], 4), ([40.0, 40.0], 0), ([-40.0, 0.0], 0)):
        pasted = Shape(label="x", points=[corner, [0, 0]], shape_type="mask", mask=part)
        assert decode(code_of(pasted, HEIGHT, WIDTH, "x")).sum() == expected


def test_labels_that_hold_a_word_within_another_are_plain() -> None:
    words = LabelmeOptions().words()
    for label in ("bimodal", "cupvisible", "fully", "wholemeal"):
        part = part_of(0, Shape(label=label), words)
        assert (part.kind, part.label) == (None, label)


def test_images_are_found_where_labelme_says_and_in_its_files(root: Path, tmp_path: Path) -> None:
    write(root / "ann" / "a.json", CUP, shape("cup_visible", LEFT), image="..\\img\\a.png")
    (root / "img").mkdir()
    photo().save(root / "img" / "a.png")
    write(root / "ann" / "b.json", CUP, image="b.png", data=png(PIL.Image.new("RGB", (WIDTH, HEIGHT), (1, 2, 3))))
    write(root / "ann" / "c.json", CUP, image="/elsewhere/c.jpg")
    (root / "ann" / "classes.json").write_text("{}")
    dataset = opened(root)
    assert [id.removeprefix("labelme/test/") for id in dataset.ids()] == ["ann/a/0", "ann/b/0", "ann/c/0"]
    assert [dataset[k].query.image[0, 0].tolist() for k in (0, 1)] == [[77, 77, 77], [1, 2, 3]]
    with pytest.raises(BadRecord, match=r"ann/c\.json, shape 0: image c\.jpg not found in"):
        dataset[2]
    assert len(opened(root, images=tmp_path)) == 3


def test_a_split_is_a_folder_else_all_is_read(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(root / "a.json", CUP, shape("cup_visible", LEFT))
    assert list(opened(root, "val").ids()) == ["labelme/val/a/0"]
    assert "has no folder val: all of it is read as that split" in caplog.text
    write(root / "val" / "v.json", CUP, shape("cup_visible", RIGHT))
    assert list(opened(root, "val").ids()) == ["labelme/val/v/0"]


def test_another_drawing_is_another_dataset(root: Path) -> None:
    write(root / "a.json", CUP, shape("cup_visible", LEFT))
    first = opened(root).fingerprint()
    write(root / "a.json", CUP, shape("cup_visible", box(0, 0, 2, 8)))
    again = opened(root)
    assert again.fingerprint() != first
    assert again[0].occlusion_rate == 0.75
