import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from amodal_bench.datasets.fishbowl import FishBowl, FishBowlOptions
from amodal_bench.errors import DatasetNotReady
from amodal_bench.masks import rle
from amodal_bench.plugin import Location
from amodal_bench.types import Mask

Data = dict[str, Any]


def box(left: int, right: int) -> Mask:
    mask = np.zeros((20, 32), dtype=np.bool_)
    mask[5:15, left:right] = True
    return mask


def record(visible: Mask, amodal: Mask) -> Data:
    known: Data = {"FM": [rle.encode(amodal)], "FM_bx": [np.int64(0)] * 4, "fish_type": "BigFishB"}
    if visible.any():
        known |= {"VM": [rle.encode(visible)], "OCC_R": np.float64(1 - visible.sum() / amodal.sum()), "IoU": None}
    return known


def nothing(data: Data) -> None:
    pass


def write(root: Path, edit: Callable[[Data], None] = nothing) -> FishBowl:
    """One fish: seen, half hidden, hidden; written from frame 1 on.."""
    data = {
        "7_3": {1: record(box(0, 8), box(0, 8)), 2: record(box(4, 8), box(4, 12)), 3: record(box(8, 8), box(8, 16))}
    }
    edit(data)
    frames = root / "test_data" / "test_frames" / "00007"
    frames.mkdir(parents=True)
    (root / "test_data" / "test_data.pkl").write_bytes(pickle.dumps(data))
    for frame in range(4):
        PIL.Image.new("RGB", (32, 20), (frame, 0, 0)).save(frames / f"{frame:05d}.png")
    return opened(root)


def opened(root: Path, **options: Any) -> FishBowl:
    return FishBowl(
        Location(name="fishbowl", root=root, cache=root.parent / "cache"), "test", FishBowlOptions(**options)
    )


def test_records_become_instances(tmp_path: Path) -> None:
    dataset = write(tmp_path / "data")
    assert list(dataset.ids()) == ["fishbowl/test/00007:00001/3", "fishbowl/test/00007:00002/3"]
    sample = dataset[1]
    np.testing.assert_array_equal(sample.visible, box(4, 8))
    np.testing.assert_array_equal(sample.amodal, box(4, 12))
    assert sample.query.image[0, 0].tolist() == [2, 0, 0]
    assert (sample.declared_rate, sample.query.category) == (0.5, "BigFishB")
    assert dataset.group(dataset.ids()[1]) == "00007"
    assert +dataset.funnel.dropped == {"no visible pixel": 1}
    assert dataset.funnel.noted["visible mask from a tracker (SaVos), not from the render"] == 2


def test_the_published_list_is_an_open_range_of_rates(tmp_path: Path) -> None:
    write(tmp_path / "data")
    dataset = opened(tmp_path / "data", rates="(0.1, 0.7)")
    assert list(dataset.ids()) == ["fishbowl/test/00007:00002/3"]
    assert len(opened(tmp_path / "data", rates="[0, 0.5)")) == 1


def test_the_fingerprint_is_of_the_bytes(tmp_path: Path) -> None:
    first, same = write(tmp_path / "a"), write(tmp_path / "b")
    other = write(tmp_path / "c", lambda data: data["7_3"].pop(3))
    assert first.fingerprint() == same.fingerprint() != other.fingerprint()


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda data: data.update(nothing={}), r"test_data\.pkl: key 'nothing' is not of the form CLIP_FISH"),
        (lambda data: data.update({"00007_3": {}}), r"test_data\.pkl: fish 3 of clip 00007 occurs twice"),
        (lambda data: data.update({"7_8": [1]}), r"test_data\.pkl: 7_8: must map frames to records"),
        (lambda data: data.update({"7_8": {"VM": {}}}), r"test_data\.pkl: 7_8: its frames must be whole numbers"),
        (lambda data: data["7_3"][1].update(VM=[]), r"7_3, frame 1, VM: must be a list of one RLE"),
        (
            lambda data: data.update({"7_4": {0: {"x": Path("y")}}}),
            r"test_data\.pkl: refused: the pickle names pathlib",
        ),
    ],
)
def test_another_form_is_refused(tmp_path: Path, edit: Callable[[Data], None], message: str) -> None:
    with pytest.raises(DatasetNotReady, match=message):
        write(tmp_path / "data", edit)


def test_a_record_without_masks_is_counted_out(tmp_path: Path) -> None:
    dataset = write(tmp_path / "data", lambda data: data.update({"7_4": {0: {}}}))
    assert (len(dataset), dataset.funnel.dropped["not in the frame"]) == (2, 1)


def test_missing_frames_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "data")
    (tmp_path / "data" / "test_data" / "test_frames").rename(tmp_path / "frames")
    with pytest.raises(DatasetNotReady, match="test_data/test_frames not found under"):
        opened(tmp_path / "data")
    location = Location(name="fishbowl", root=tmp_path / "data", images=tmp_path / "frames", cache=tmp_path / "cache")
    assert FishBowl(location, "test", FishBowlOptions())[0].query.image.shape == (20, 32, 3)
