"""Every layout, written and read back."""

import csv
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from amodal_bench.formats.writers.depth import depth_order
from amodal_bench.formats.writers.names import TakenNames, whole_numbers
from amodal_bench.funnel import Funnel
from amodal_bench.plugin import AnyDataset
from amodal_bench.resolve.job import open_dataset
from amodal_bench.resolve.locate import DataFlags
from amodal_bench.resolve.registry import Registry
from amodal_bench.running.export import TABLE, export, find_format, format_names, prepare
from amodal_bench.types import AmodalQuery, AmodalSample, parse_id

PLUGINS = Path(__file__).parent.parent / "plugins"
REGISTRY = Registry([PLUGINS / "squares.py", PLUGINS / "oddities.py"])
FORMATS = sorted(format_names(REGISTRY))
JSON_FORMATS = ["bsds_a", "coco", "coco_a", "cocoa_cls", "d2sa", "kins-2020", "kins-v1", "sailvos-json"]
OVERLAP = "visible masks overlap: an id map holds one object a pixel"


class Target:
    """A dataset that was written: one split, or all where the layout shares the instances out."""

    def __init__(self, splits: Sequence[AnyDataset]) -> None:
        self.whole = splits[0]
        self._samples = [(id, split, k) for split in splits for k, id in enumerate(split.ids())]
        self.dropped = {reason: n for split in splits for reason, n in split.funnel.dropped.items() if n}

    def ids(self) -> list[str]:
        return [id for id, _, _ in self._samples]

    def __getitem__(self, index: int) -> AmodalSample:
        _, split, k = self._samples[index]
        return split[k]


@dataclass(frozen=True)
class Trip:
    """A dataset, what it was written as, and the ids that belong together."""

    source: AnyDataset
    target: "Target"
    ids: dict[str, str]
    funnel: Funnel

    def pairs(self) -> Iterator[tuple[AmodalSample, AmodalSample]]:
        """Each instance before and after."""
        before = {id: k for k, id in enumerate(self.source.ids())}
        after = {id: k for k, id in enumerate(self.target.ids())}
        return ((self.source[before[a]], self.target[after[b]]) for a, b in self.ids.items())

    def images_and_annotations(self) -> list[str]:
        """IMAGE/ANN as the target spells them, in its order."""
        return [id.split("/", 2)[2] for id in self.target.ids()]


def source(name: str, root: Path | None = None, split: str | None = None, **options: Any) -> AnyDataset:
    return open_dataset(name, REGISTRY, split, options, DataFlags(root=root))[0]


def read_back(format: str, out: Path, split: str, **options: Any) -> AnyDataset:
    return source(find_format(format, REGISTRY).dataset, out, split, **options)


def travel(dataset: AnyDataset, format: str, out: Path, limit: int | None = None, **options: Any) -> Trip:
    job = prepare(dataset, find_format(format, REGISTRY), out, REGISTRY, limit=limit)
    funnel = export(job)
    with (out / TABLE).open(newline="") as file:
        ids = {row["source"]: row["exported"] for row in csv.DictReader(file)}
    splits = sorted({parse_id(id).split for id in ids.values()})
    return Trip(dataset, Target([read_back(format, out, split, **options) for split in splits]), ids, funnel)


def check(trip: Trip, format: str, dropped: int = 0) -> None:
    """All that every layout keeps, and what its card says."""
    card = find_format(format, REGISTRY).cls.card
    assert sorted(trip.target.ids()) == sorted(trip.ids.values())
    assert sum(trip.target.dropped.values()) == dropped
    for before, after in trip.pairs():
        assert np.array_equal(before.amodal, after.amodal)
        assert np.array_equal(before.visible, after.visible)
        assert np.array_equal(before.query.image, after.query.image)
        if card.category:
            assert after.query.category == (before.query.category or after.query.category)
            assert before.query.category or after.query.category in (None, "object")
        if card.stuff:
            assert after.is_stuff == bool(before.is_stuff)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", ["squares", "oddities"])
def test_masks_images_and_facts_come_back(name: str, format: str, tmp_path: Path) -> None:
    trip = travel(source(name), format, tmp_path / "out")
    check(trip, format)
    assert list(trip.ids) == list(trip.source.ids())
    assert (trip.funnel.read, trip.funnel.kept) == (len(trip.source), len(trip.source))


@pytest.mark.parametrize("format", FORMATS)
def test_squares_keep_their_order(format: str, tmp_path: Path) -> None:
    trip = travel(source("squares"), format, tmp_path / "out")
    assert list(trip.target.ids()) == list(trip.ids.values())


IDS = {  # of the scenes 000000/0 and 000001/0
    "bop": ["000000:000000/0", "000001:000000/0"],
    "bsds_a": ["0/0.1", "1/0.1"],
    "coco": ["0/1", "1/2"],
    "coco_a": ["0/0.1", "1/0.1"],
    "cocoa_cls": ["0/1", "1/2"],
    "d2sa": ["0/1", "1/2"],
    "fishbowl": ["000000:00000/0", "000001:00000/0"],
    "folder": ["000000/0", "000001/0"],
    "kins-2020": ["0/1", "1/2"],
    "kins-v1": ["0/1", "1/2"],
    "mp3d": ["0/0", "1/0"],
    "pix2gestalt": ["000000/0", "000001/0"],
    "sailvos-json": ["000000:000000/0", "000001:000000/0"],
    "sailvos-raw": ["000000:000000/0", "000001:000000/0"],
}


@pytest.mark.parametrize("format", FORMATS)
def test_synthetic_scenes_come_back(format: str, tmp_path: Path) -> None:
    trip = travel(source("synthetic", split="train", resolution=64, size=25), format, tmp_path / "out")
    check(trip, format)
    assert len(trip.ids) == 25
    assert list(trip.target.ids()) == list(trip.ids.values())
    assert trip.images_and_annotations()[:2] == IDS[format]
    numbers = [int(id.split("/")[0].split(":")[0]) for id in trip.images_and_annotations()]
    assert numbers == list(range(25))


@pytest.mark.parametrize("format", ["coco_a", "kins-2020"])
def test_polygons_of_full_size_scenes_come_back(format: str, tmp_path: Path) -> None:
    check(travel(source("synthetic", split="train", size=25), format, tmp_path / "out"), format)


@pytest.mark.parametrize("format", FORMATS)
def test_a_second_trip_changes_nothing(format: str, tmp_path: Path) -> None:
    """What a layout made of ids and categories, it keeps from then on."""
    once = travel(source("squares", count=6), format, tmp_path / "once").target.whole
    twice = travel(once, format, tmp_path / "twice")
    assert [parse_id(id)[2:] for id in twice.ids] == [parse_id(id)[2:] for id in twice.ids.values()]
    assert [a.query.category for a in once] == [b.query.category for _, b in twice.pairs()]
    check(twice, format)


# Ids


def test_whole_numbers_are_kept_where_all_are_different_ones() -> None:
    assert whole_numbers(["000017", "3"]) == [17, 3]
    assert whole_numbers(["17", "017"]) == [1, 2]
    assert whole_numbers(["17", "a"]) == [1, 2]
    assert whole_numbers(["9" * 30, "1"]) == [1, 2]


def test_names_become_fit_for_files_and_stay_different() -> None:
    names = TakenNames()
    assert [names[n] for n in ("a/b:c", "a_b_c", "a/b:c", "..", "Straße 1")] == [
        "a_b_c",
        "a_b_c-2",
        "a_b_c",
        "_",
        "Straße 1",
    ]


def test_names_that_a_disk_takes_for_one_stay_different_and_long_ones_fit() -> None:
    names = TakenNames()
    assert [names[n] for n in ("Cat", "cat", "caf\u00e9", "cafe\u0301", "/../cat")] == [
        "Cat", "cat-2", "caf\u00e9", "cafe_", "_.._cat",
    ]  # fmt: skip
    long = [names["x" * 400 + end] for end in "ab"]
    assert len(set(long)) == 2
    assert all(len(name) < 210 for name in long)


def test_annotation_ids_are_kept_where_they_differ_all_over(tmp_path: Path) -> None:
    first = travel(source("squares"), "cocoa_cls", tmp_path / "first", limit=5).target.whole
    second = travel(first, "kins-2020", tmp_path / "second")
    assert second.images_and_annotations() == ["0/1", "0/2", "0/3", "1/4", "1/5"]
    (tmp_path / "third").mkdir()
    assert travel(second.target.whole, "d2sa", tmp_path / "third").images_and_annotations() == [
        "0/1",
        "0/2",
        "0/3",
        "1/4",
        "1/5",
    ]


def test_videos_stay_videos(tmp_path: Path) -> None:
    """Frames of a clip, one of them missing, from FishBowl to SAIL-VOS and back."""
    clips = tmp_path / "clips"
    still = travel(source("squares", count=12), "fishbowl", tmp_path / "stills")
    make_clip(clips / "test" / "tank", tmp_path / "stills" / "test", frames=(0, 1, 3))
    fish = source("fishbowl", clips, "test")
    assert len(fish) == 9
    for format in ("sailvos-json", "sailvos-raw"):
        trip = travel(fish, format, tmp_path / format)
        check(trip, format)
        assert trip.images_and_annotations()[::3] == ["tank:000000/0", "tank:000001/0", "tank:000003/0"]
        assert {trip.target.whole.group(id) for id in trip.target.ids()} == {"tank"}
        back = travel(trip.target.whole, "fishbowl", tmp_path / f"{format}-back")
        assert back.target.dropped == {"not in the frame": 3}
        check(back, "fishbowl", dropped=3)
        assert back.images_and_annotations() == [id.split("/", 2)[2] for id in fish.ids()]
    assert len(still.ids) == 12


def make_clip(clip: Path, stills: Path, frames: Sequence[int]) -> None:
    """One clip of the stills 00, 01, ..., shown at these frames."""
    total = max(frames) + 1
    folders = [stills / f"{k:02d}" for k in range(len(frames))]
    for inner in ("", "object000/", "object001/", "object002/"):
        records = [json.loads((folder / inner / "objects.json").read_text()) for folder in folders]
        merged = records[0]
        for index, record in enumerate(merged):
            shown = {frame: records[k][index]["masks"][0] for k, frame in enumerate(frames)}
            nothing = {"size": shown[0]["size"], "counts": [24 * 32]}
            record["masks"] = [shown.get(frame, nothing) for frame in range(total)]
        (clip / inner).mkdir(parents=True)
        (clip / inner / "objects.json").write_text(json.dumps(merged))
    (clip / "frames").mkdir()
    for frame, folder in zip(frames, folders, strict=True):
        (clip / "frames" / f"{frame:05d}.png").write_bytes((folder / "frames" / "00000.png").read_bytes())


# Depth order


def regions(out: Path, image: int) -> list[dict[str, Any]]:
    file = json.loads((out / "annotations" / "COCO_amodal_test2014.json").read_text())
    (record,) = (record for record in file["annotations"] if record["image_id"] == image)
    found: list[dict[str, Any]] = record["regions"]
    assert record["size"] == len(found)
    return found


def test_the_depth_order_is_told_by_the_masks(tmp_path: Path) -> None:
    trip = travel(source("oddities"), "coco_a", tmp_path / "out")
    street = regions(tmp_path / "out", 1)
    assert [(r["order"], r["name"]) for r in street] == [(1, "person"), (2, "car"), (3, "brick wall")]
    file = json.loads((tmp_path / "out" / "annotations" / "COCO_amodal_test2014.json").read_text())
    assert file["annotations"][0]["depth_constraint"] == "1-2,1-3,2-3"
    assert [trip.ids[f"oddities/test/day 1/street.jpg/{a}"] for a in ("w", "c:1", "p")] == [
        "coco_a/test/1/0.3", "coco_a/test/1/0.2", "coco_a/test/1/0.1",
    ]  # fmt: skip


def test_visible_masks_stand_only_where_they_differ(tmp_path: Path) -> None:
    travel(source("oddities"), "coco_a", tmp_path / "out")
    keys = [("visible_mask" in r, "invisible_mask" in r, r["occlude_rate"] > 0) for r in regions(tmp_path / "out", 1)]
    assert keys == [(False, False, False), (True, True, True), (True, True, True)]


def test_given_orders_and_annotators_are_kept(tmp_path: Path) -> None:
    first = travel(source("squares", count=6), "bsds_a", tmp_path / "first")
    path = tmp_path / "first" / "annotations" / "BSDS_amodal_test.json"
    file = json.loads(path.read_text())
    for record in list(file["annotations"]):
        for region in record["regions"]:
            region["order"] = 2 * region["order"] + 3
        file["annotations"].append({**record, "regions": record["regions"][1:]})
    path.write_text(json.dumps(file))
    both = read_back("bsds_a", tmp_path / "first", "test", annotator="all")
    trip = travel(both, "bsds_a", tmp_path / "second", annotator="all")
    assert list(trip.target.ids()) == list(both.ids())
    assert trip.images_and_annotations()[:5] == ["0/0.5", "0/0.7", "0/0.9", "0/1.7", "0/1.9"]
    check(trip, "bsds_a")
    assert len(first.ids) == 6


def test_objects_that_hide_each_other_in_a_circle_keep_their_order() -> None:
    assert depth_order(4, {(0, 1), (1, 2), (2, 0)}) == [3, 0, 1, 2]
    assert depth_order(3, {(2, 1), (1, 0)}) == [2, 1, 0]
    assert depth_order(3, set()) == [0, 1, 2]


# What other tools see


@pytest.mark.parametrize("format", JSON_FORMATS)
def test_numbers_are_unique_and_point_to_something(format: str, tmp_path: Path) -> None:
    travel(source("oddities"), format, tmp_path / "out")
    (path,) = (tmp_path / "out").rglob("*.json")
    file = json.loads(path.read_text())
    for records in file.values():
        assert len({record["id"] for record in records}) == len(records)
    images = {image["id"] for image in file["images"]}
    assert {annotation["image_id"] for annotation in file["annotations"]} == images
    for annotation in file["annotations"]:
        if "category_id" in annotation:
            assert annotation["category_id"] in {category["id"] for category in file["categories"]}


def test_known_categories_of_kins_keep_their_numbers(tmp_path: Path) -> None:
    travel(source("oddities"), "kins-v1", tmp_path / "out")
    file = json.loads((tmp_path / "out" / "instances_val.json").read_text())
    names = {category["name"]: category["id"] for category in file["categories"]}
    assert (names["car"], names["brick wall"], names["person"], names["object"]) == (4, 9, 10, 11)


@pytest.mark.parametrize("format", ["coco", "cocoa_cls", "d2sa", "kins-2020", "sailvos-json"])
def test_boxes_and_areas_are_those_of_the_masks(format: str, tmp_path: Path) -> None:
    trip = travel(source("oddities"), format, tmp_path / "out")
    (path,) = (tmp_path / "out").rglob("*.json")
    for annotation, before in zip(json.loads(path.read_text())["annotations"], trip.source, strict=True):
        ys, xs = np.nonzero(before.amodal)
        x, y, width, height = annotation.get("bbox", annotation.get("a_bbox"))
        assert (x, y, x + width, y + height) == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
        assert annotation.get("area", annotation.get("a_area")) == len(xs)


def test_pix2gestalt_shares_out_by_file_name(tmp_path: Path) -> None:
    """`10000_occlusion.png` stands before `1000_occlusion.png`, though 1000 stands before 10000."""
    writer = find_format("pix2gestalt", REGISTRY).cls(tmp_path, "train", [])
    assert writer.splits(["1000/0", "10000/0"]) == ["val", "train"]
    assert writer.splits([f"{k:03d}/0" for k in range(200)]) == ["train"] * 198 + ["val"] * 2


def test_pix2gestalt_names_its_files_as_the_release_does(tmp_path: Path) -> None:
    travel(source("squares"), "pix2gestalt", tmp_path / "out", limit=1)
    assert sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png")) == [
        "occlusion/00_occlusion.png",
        "visible_object_mask/00_visible_mask.png",
        "whole/00_whole.png",
        "whole_mask/00_whole_mask.png",
    ]


# What a layout refuses


def crowd(base: AnyDataset) -> AnyDataset:
    """Squares, all of which are said to be seen where the first of their image is."""
    kind: Any = type(base)

    class Crowd(kind):  # type: ignore[misc]
        def __getitem__(self, index: int) -> AmodalSample:
            sample = super().__getitem__(index)
            first = super().__getitem__(index - index % 3)
            own = sample.query
            query = AmodalQuery(own.id, own.image_id, own.image, sample.visible | first.visible, own.category)
            return AmodalSample(query, sample.amodal, sample.is_stuff)

    dataset: AnyDataset = Crowd(base.location, base.split, base.options)
    return dataset


def test_an_id_map_leaves_out_what_overlaps_and_counts_it(tmp_path: Path) -> None:
    trip = travel(crowd(source("squares", count=6)), "sailvos-raw", tmp_path / "out")
    assert dict(trip.funnel.dropped) == {OVERLAP: 4}
    assert (trip.funnel.read, trip.funnel.kept) == (6, 2)
    check(trip, "sailvos-raw")


def test_frames_of_unequal_size_in_one_clip_are_left_out(tmp_path: Path) -> None:
    first = travel(source("squares", count=6), "sailvos-json", tmp_path / "first")
    path = tmp_path / "first" / "valid.json"
    file = json.loads(path.read_text())
    (tmp_path / "first" / "00").rename(tmp_path / "first" / "shot")
    for number, image in enumerate(file["images"]):
        image["file_name"] = f"shot/{number:06d}.bmp"
    entry = file["images"][1]
    entry["height"], entry["width"] = 32, 24
    for annotation in file["annotations"][3:]:
        annotation["segmentation"]["size"] = annotation["visible_mask"]["size"] = [32, 24]
    path.write_text(json.dumps(file))
    PIL.Image.new("RGB", (24, 32)).save(tmp_path / "first" / "shot" / "000001.bmp")
    trip = travel(read_back("sailvos-json", tmp_path / "first", "val"), "fishbowl", tmp_path / "out")
    assert dict(trip.funnel.dropped) == {"frames of one clip differ in size": 3}
    check(trip, "fishbowl")
    assert len(first.ids) == 6


# Real data


REAL = ["cocoa_cls", "d2sa", "kins-2020", "mp3d", "pix2gestalt", "sailvos-json", "sailvos-raw"]


def black(base: AnyDataset) -> AnyDataset:
    """A dataset with nothing on its photos, which are written in a tenth of the time: for what masks do."""
    kind: Any = type(base)

    class Black(kind):  # type: ignore[misc]
        def __getitem__(self, index: int) -> AmodalSample:
            sample = super().__getitem__(index)
            own = sample.query
            query = AmodalQuery(own.id, own.image_id, np.zeros_like(own.image), sample.visible, own.category)
            return AmodalSample(query, sample.amodal, sample.is_stuff)

    dataset: AnyDataset = Black(base.location, base.split, base.options)
    return dataset


@pytest.mark.parametrize(("folder", "count"), [("cocoa_val3", 23), ("photo_composites", 40)])
@pytest.mark.parametrize("format", [format for format in REAL if format in FORMATS])
def test_real_coco_a_comes_back(format: str, folder: str, count: int, real_data: Path, tmp_path: Path) -> None:
    dataset = source("coco_a", real_data / folder, "val")
    if folder == "photo_composites":
        dataset = black(dataset)
    trip = travel(dataset, format, tmp_path / "out", limit=count)
    assert (trip.funnel.read, trip.funnel.kept) == (count, count)
    check(trip, format)


def test_real_coco_a_keeps_every_id_and_order(real_data: Path, tmp_path: Path) -> None:
    dataset = source("coco_a", real_data / "cocoa_val3", "val")
    trip = travel(dataset, "coco_a", tmp_path / "out")
    assert list(trip.ids.values()) == list(trip.ids) == list(trip.target.ids()) == list(dataset.ids())
    assert trip.target.whole.funnel.noted == dataset.funnel.noted


@pytest.mark.parametrize("folder", ["cocoa_val3", "photo_composites"])
def test_the_order_of_real_regions_is_found_again(folder: str, real_data: Path, tmp_path: Path) -> None:
    """Through a layout that has no order: every visible mask is the amodal one less what lies in front."""
    dataset = black(source("coco_a", real_data / folder, "val"))
    plain = travel(dataset, "cocoa_cls", tmp_path / "plain").target.whole
    trip = travel(plain, "coco_a", tmp_path / "ordered")
    assert trip.target.whole.funnel.noted.total() == 0
    assert len(trip.ids) == len(plain)


def test_real_fish_come_back_through_sailvos(real_data: Path, tmp_path: Path) -> None:
    fish = source("fishbowl", real_data / "fishbowl_mini", "test")
    trip = travel(fish, "sailvos-json", tmp_path / "out")
    check(trip, "sailvos-json")
    assert [len(list(g)) for _, g in itertools.groupby(trip.target.ids(), key=trip.target.whole.group)] == [
        len(list(g)) for _, g in itertools.groupby(fish.ids(), key=fish.group)
    ]
    assert {parse_id(id).annotation for id in fish.ids()} == {parse_id(id).annotation for id in trip.target.ids()}
