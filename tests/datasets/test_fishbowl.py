import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from amodal_bench.datasets.fishbowl import FishBowl, FishBowlOptions
from amodal_bench.errors import BadRecord, DatasetNotReady
from amodal_bench.masks import rle
from amodal_bench.plugin import Location
from amodal_bench.types import Image, Mask

HEIGHT, WIDTH, FRAMES = 20, 32, 4


def box(left: int, right: int) -> Mask:
    """A bar over the middle rows; none where left >= right."""
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
    mask[5:15, left : max(left, right)] = True
    return mask


# Fish 10 stands still in front; fish 9 swims behind it: beside it, half hidden, all hidden, out of the frame.
FRONT = [box(8, 16)] * FRAMES
WHOLE = [box(0, 8), box(4, 12), box(8, 16), box(0, 0)]
SEEN = [whole & ~front for whole, front in zip(WHOLE, FRONT, strict=True)]
KEPT = ["00000:00000/9", "00000:00000/10", "00000:00001/9", "00000:00001/10", "00000:00002/10", "00000:00003/10"]


def spelled(mask: Mask) -> dict[str, Any]:
    code = rle.encode(mask)
    return {"size": code["size"], "counts": code["counts"].decode()}


def fish(id: int | str, masks: list[Mask], name: str = "SmallFishA") -> dict[str, Any]:
    return {"id": id, "type_name": name, "speed": 1.0, "masks": [spelled(mask) for mask in masks]}


def picture(frame: int) -> Image:
    image = np.full((HEIGHT, WIDTH, 3), 40 * frame, dtype=np.uint8)
    image[:, :16, 0] = 200
    return image


def write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def write_clip(
    root: Path,
    clip: str = "00000",
    inside: bool = False,
    ids: tuple[int | str, int | str] = (10, 9),
    frames: bool = True,
) -> None:
    write(root / clip / "objects.json", [fish(ids[0], FRONT, "BigFishB"), fish(ids[1], SEEN)])
    for index, (id, masks) in enumerate(zip(ids, (FRONT, WHOLE), strict=True)):
        folder = root / clip / f"object{index:03d}" if inside else root / f"{clip}_object{id}"
        write(folder / "objects.json", [fish(id, masks)])
    for frame in range(FRAMES if frames else 0):
        write_frame(root / clip / "frames" / f"{frame:05d}.png", frame)


def write_frame(path: Path, frame: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(picture(frame)).save(path)


def opened(root: Path, split: str = "test", **options: Any) -> FishBowl:
    location = Location(name="fishbowl", root=root, cache=root.parent / "cache")
    return FishBowl(location, split, FishBowlOptions(**options))


def ids(dataset: FishBowl) -> list[str]:
    return [id.removeprefix("fishbowl/test/") for id in dataset.ids()]


def check_samples(dataset: FishBowl) -> None:
    assert ids(dataset) == KEPT
    truth = {"9": (SEEN, WHOLE), "10": (FRONT, FRONT)}
    for index, name in enumerate(KEPT):
        sample = dataset[index]
        frame, number = int(name[6:11]), name.split("/")[1]
        assert sample.query.id == f"fishbowl/test/{name}"
        assert sample.query.image_id == f"00000:{frame:05d}"
        np.testing.assert_array_equal(sample.visible, truth[number][0][frame])
        np.testing.assert_array_equal(sample.amodal, truth[number][1][frame])
        np.testing.assert_array_equal(sample.query.image, picture(frame))


@pytest.mark.parametrize("inside", [False, True])
def test_both_layouts_of_the_generator_give_the_same_instances(tmp_path: Path, inside: bool) -> None:
    write_clip(tmp_path / "data", inside=inside)
    dataset = opened(tmp_path / "data")
    check_samples(dataset)
    assert [dataset[0].query.category, dataset[1].query.category] == ["SmallFishA", "BigFishB"]
    assert dataset[0].is_stuff is False
    assert dataset[2].occlusion_rate == 0.5
    assert dataset.funnel.as_dict() == {
        "read": 8,
        "kept": 6,
        "dropped": {"no visible pixel": 1, "not in the frame": 1},
        "noted": {},
    }


def test_the_group_is_the_clip_and_clips_are_sorted(tmp_path: Path) -> None:
    for clip in ("00010", "00002"):
        write_clip(tmp_path / "data", clip)
    dataset = opened(tmp_path / "data")
    assert [dataset.group(id) for id in dataset.ids()] == ["00002"] * 6 + ["00010"] * 6
    assert dataset.ids()[-2:] == ["fishbowl/test/00010:00002/10", "fishbowl/test/00010:00003/10"]


def test_ids_may_be_text_in_one_file_and_numbers_in_another(tmp_path: Path) -> None:
    write_clip(tmp_path / "data", ids=("10", "9"))
    write(tmp_path / "data" / "00000_object9" / "objects.json", [fish(9, WHOLE)])
    assert ids(opened(tmp_path / "data")) == KEPT


def test_a_folder_of_the_split_comes_before_the_root(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_clip(tmp_path / "data" / "test")
    assert ids(opened(tmp_path / "data")) == KEPT
    with pytest.raises(DatasetNotReady, match=r"a clip with objects\.json \(split 'train'\) not found under"):
        opened(tmp_path / "data", "train")
    assert opened(tmp_path / "data" / "test", "train").ids()[0] == "fishbowl/train/00000:00000/9"
    assert "has no folder train: all of its clips are read as that split" in caplog.text


def test_a_stride_skips_frames(tmp_path: Path) -> None:
    write_clip(tmp_path / "data")
    dataset = opened(tmp_path / "data", frame_stride=2)
    assert ids(dataset) == ["00000:00000/9", "00000:00000/10", "00000:00002/10"]
    assert +dataset.funnel.dropped == {"frame skipped by frame_stride": 4, "no visible pixel": 1}


def test_rate_bounds_are_exclusive(tmp_path: Path) -> None:
    write_clip(tmp_path / "data")
    assert ids(opened(tmp_path / "data", rates="(0, 0.7)")) == ["00000:00001/9"]
    assert ids(opened(tmp_path / "data", rates="[0, 0.5)")) == [id for id in KEPT if id != "00000:00001/9"]
    dataset = opened(tmp_path / "data", rates="(0.5, 1]")
    assert (len(dataset), dataset.funnel.dropped["occlusion rate outside (0.5, 1]"]) == (0, 6)


def test_a_subset_keeps_the_ids_of_the_smallest_hashes_in_order(tmp_path: Path) -> None:
    write_clip(tmp_path / "data")
    dataset = opened(tmp_path / "data", max_instances=3)
    full = [f"fishbowl/test/{id}" for id in KEPT]
    smallest = sorted(full, key=lambda id: hashlib.sha256(id.encode()).hexdigest())[:3]
    assert list(dataset.ids()) == [id for id in full if id in smallest]
    assert dataset.funnel.dropped["outside the subset of max_instances"] == 3
    assert ids(opened(tmp_path / "data", max_instances=6)) == KEPT


def test_a_fish_without_a_render_is_counted_out(tmp_path: Path) -> None:
    write_clip(tmp_path / "data")
    (tmp_path / "data" / "00000_object10" / "objects.json").unlink()
    write(tmp_path / "data" / "00000_object9" / "objects.json", [])
    write_clip(tmp_path / "data", "00001")
    dataset = opened(tmp_path / "data")
    assert {dataset.group(id) for id in dataset.ids()} == {"00001"}
    assert dataset.funnel.dropped["no render of the fish alone"] == 8


def test_visible_pixels_outside_the_amodal_mask_are_noted_or_dropped(tmp_path: Path) -> None:
    write_clip(tmp_path / "data")
    write(tmp_path / "data" / "00000_object10" / "objects.json", [fish(10, [box(9, 16), box(0, 0), *FRONT[2:]])])
    dataset = opened(tmp_path / "data")
    assert dataset.funnel.noted == {"visible mask sticks out of the amodal mask": 1}
    assert dataset.funnel.dropped["visible pixels but no amodal one"] == 1


def test_a_malformed_mask_is_counted_out_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_clip(tmp_path / "data")
    other = {"size": [3, 4], "counts": rle.encode(np.ones((3, 4), dtype=np.bool_))["counts"].decode()}
    masks = [spelled(mask) for mask in WHOLE]
    write(tmp_path / "data" / "00000_object9" / "objects.json", [{"id": 9, "masks": [other, *masks[1:]]}])
    dataset = opened(tmp_path / "data")
    assert ids(dataset) == KEPT[1:]
    assert dataset.funnel.dropped["malformed mask"] == 1
    assert "00000_object9/objects.json: fish 9, frame 0: RLE of size [3, 4] in an image of size [20, 32]" in caplog.text


def test_the_index_is_kept_until_a_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_clip(tmp_path / "data")
    before = opened(tmp_path / "data")
    with monkeypatch.context() as patch:
        patch.setattr("amodal_bench.datasets.fishbowl.index._build", lambda layout: pytest.fail("read again"))
        again = opened(tmp_path / "data")
    assert (ids(again), again.fingerprint()) == (KEPT, before.fingerprint())
    file = tmp_path / "data" / "00000" / "objects.json"
    file.write_bytes(file.read_bytes() + b" ")
    assert opened(tmp_path / "data").fingerprint() != before.fingerprint()


def test_a_damaged_index_is_made_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_clip(tmp_path / "data")
    fingerprint = opened(tmp_path / "data").fingerprint()
    (tmp_path / "cache" / "index" / f"fishbowl-{fingerprint}.arrow").write_bytes(b"cut off")
    assert ids(opened(tmp_path / "data")) == KEPT
    assert "is damaged and is made anew" in caplog.text


def cut(root: Path) -> None:
    file = root / "00000" / "objects.json"
    file.write_bytes(file.read_bytes()[:-30])


def shorten(root: Path) -> None:
    write(root / "00000_object9" / "objects.json", [fish(9, WHOLE[:3])])


def repeat(root: Path) -> None:
    write(root / "00000" / "objects.json", [fish(9, SEEN), fish("9", WHOLE)])


def swap(root: Path) -> None:
    write(root / "00000_object9" / "objects.json", [fish(10, WHOLE)])


def unlist(root: Path) -> None:
    write(root / "00000" / "objects.json", {"9": []})


def unname(root: Path) -> None:
    write(root / "00000" / "objects.json", [{"masks": []}])


def both(root: Path) -> None:
    write(root / "00000" / "object000" / "objects.json", [fish(10, FRONT)])


def pack(root: Path) -> None:
    write(root / "test_data" / "test_data.pkl", None)


def strip(root: Path) -> None:
    for id in (9, 10):
        (root / f"00000_object{id}" / "objects.json").unlink()


def blind(root: Path) -> None:
    for file in (root / "00000" / "frames").iterdir():
        file.unlink()
    (root / "00000" / "frames").rmdir()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (cut, r"00000/objects\.json: not valid JSON: it ends before its last bracket"),
        (shorten, r"00000_object9/objects\.json: fish 9 has 3 masks, but 4 in .*00000/objects\.json"),
        (repeat, r"00000/objects\.json: fish id 9 occurs twice, with different masks"),
        (swap, r"00000_object9/objects\.json: must hold fish 9 alone, holds 10"),
        (unlist, r"00000/objects\.json: must hold a list of fish, holds dict"),
        (unname, r"00000/objects\.json: entry 0 must be a fish with an id and a list of masks"),
        (both, r"00000: single-fish renders lie both beside it .* and inside it"),
        (pack, r"holds both test_data/test_data\.pkl and clips with objects\.json: which is meant\?"),
        (strip, r"single-fish renders, which hold the amodal masks, not found under"),
        (blind, r"00000/frames or 00000/video\.mp4 not found under"),
    ],
)
def test_broken_files_are_refused_by_name(tmp_path: Path, spoil: Callable[[Path], None], message: str) -> None:
    write_clip(tmp_path / "data")
    spoil(tmp_path / "data")
    with pytest.raises(DatasetNotReady, match=message):
        opened(tmp_path / "data")


def test_an_empty_root_says_what_is_expected_and_how_to_get_it(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "notes.txt").write_text("")
    with pytest.raises(DatasetNotReady) as caught:
        opened(tmp_path / "data")
    text = str(caught.value)
    assert text.startswith("FishBowl (Tangemann et al. 2023): a clip with objects.json (split 'test') not found under")
    assert "\n  [<split>/]<clip>/objects.json " in text
    assert "\nFound: notes.txt\nGet it: render it with https://github.com/" in text
    assert "\nLicence: generator Apache-2.0" in text
    assert text.endswith("--root DIR (this dataset's folder) or AMODAL_BENCH_DATA.")
    with pytest.raises(DatasetNotReady, match="Found: the folder does not exist"):
        opened(tmp_path / "none")


def test_a_frame_that_is_missing_or_of_another_size_is_a_bad_record(tmp_path: Path) -> None:
    write_clip(tmp_path / "data")
    frames = tmp_path / "data" / "00000" / "frames"
    (frames / "00000.png").unlink()
    PIL.Image.new("RGB", (8, 8)).save(frames / "00001.png")
    dataset = opened(tmp_path / "data")
    with pytest.raises(BadRecord, match=r"image not found: .*frames/00000\.png"):
        dataset[0]
    with pytest.raises(BadRecord, match=r"00000:00001/9: the frame is \(8, 8\), its masks are \(20, 32\)"):
        dataset[2]


def test_frames_may_lie_elsewhere(tmp_path: Path) -> None:
    write_clip(tmp_path / "data", frames=False)
    for frame in range(FRAMES):
        write_frame(tmp_path / "frames" / "00000" / "frames" / f"{frame:05d}.png", frame)
    location = Location(name="fishbowl", root=tmp_path / "data", images=tmp_path / "frames", cache=tmp_path / "cache")
    check_samples(FishBowl(location, "test", FishBowlOptions()))


def real_data() -> Path:
    folder = os.environ.get("AMODAL_BENCH_REAL_DATA")
    if not folder:
        pytest.skip("set AMODAL_BENCH_REAL_DATA to a folder that holds fishbowl_mini/ (four rendered clips)")
    return Path(folder) / "fishbowl_mini"


def test_known_answer_of_four_real_clips(tmp_path: Path) -> None:
    dataset = FishBowl(Location(name="fishbowl", root=real_data(), cache=tmp_path), "test", FishBowlOptions())
    pairs = [(sample.visible, sample.amodal) for sample in map(dataset.__getitem__, range(len(dataset)))]
    overlap, union, hidden, whole = np.array(
        [[(v & a).sum(), (v | a).sum(), (a & ~v).sum(), a.sum()] for v, a in pairs]
    ).T
    occluded, rate = hidden > 0, hidden / whole
    found = [rate.mean(), (overlap / union).mean(), (overlap / union)[occluded].mean()]
    found += [overlap.sum() / union.sum(), overlap[occluded].sum() / union[occluded].sum()]
    assert (len(pairs), occluded.sum()) == (267, 56)
    np.testing.assert_allclose(found, [0.043465, 0.956535, 0.792763, 0.928599, 0.745753], rtol=0, atol=5e-7)
    assert np.bincount(np.digitize(rate, [1e-9, 0.2, 0.4, 0.7])).tolist() == [211, 37, 5, 13, 1]


def test_hidden_clips_are_not_there_and_names_that_are_not_utf_8_have_ids_that_are(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_clip(root, ".trash")
    write_clip(root)
    (root / "._00000").write_bytes(b"")
    (root / "00000").rename(root / os.fsdecode(b"caf\xe9"))
    for number in (9, 10):
        (root / f"00000_object{number}").rename(root / os.fsdecode(b"caf\xe9_object%d" % number))
    dataset = opened(root)
    assert ids(dataset) == [name.replace("00000:", "caf\\xe9:", 1) for name in KEPT]
    np.testing.assert_array_equal(dataset[2].query.image, picture(1))
