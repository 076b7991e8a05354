"""Composites: which objects are whole, where something is pasted, and that each is the same for ever."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from amodal_bench.datasets.composites import Composites, CompositesOptions
from amodal_bench.datasets.composites.cutouts import Cutout
from amodal_bench.datasets.composites.paste import Look, Pasting, composed, overlaps
from amodal_bench.datasets.composites.whole import shape_of
from amodal_bench.errors import DatasetNotReady
from amodal_bench.masks import rle
from amodal_bench.plugin import Location

Mask = NDArray[np.bool_]
HEIGHT, WIDTH, PHOTOS = 90, 120, 40


def disc(row: float, column: float, radius: float) -> Mask:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.asarray((y - row) ** 2 + (x - column) ** 2 < radius**2)


def coded(mask: Mask) -> dict[str, Any]:
    code = rle.encode(mask)
    return {"size": code["size"], "counts": code["counts"].decode()}


def ring() -> Mask:
    return disc(45, 60, 30) & ~disc(45, 60, 22)


def write(root: Path, masks: Callable[[int], list[Mask]], **keys: Callable[[int], Any]) -> None:
    """A COCO instances file of `PHOTOS` photos, each of its own grey; `keys` are further ones of an annotation."""
    (root / "images").mkdir(parents=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for photo in range(PHOTOS):
        picture = np.full((HEIGHT, WIDTH, 3), 5 * photo, dtype=np.uint8)
        PIL.Image.fromarray(picture).save(root / "images" / f"{photo}.png")
        images.append({"id": photo, "file_name": f"{photo}.png", "height": HEIGHT, "width": WIDTH})
        for mask in masks(photo):
            entry = {"id": len(annotations), "image_id": photo, "category_id": 1 + photo % 2}
            extra = {name: value(photo) for name, value in keys.items()}
            annotations.append({**entry, "segmentation": coded(mask), "iscrowd": 0, **extra})
    names = [{"id": 1, "name": "disc"}, {"id": 2, "name": "ball"}]
    (root / "instances.json").write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": names})
    )


def opened(root: Path, split: str = "train", **options: Any) -> Composites:
    location = Location(name="composites", root=root, cache=root.parent / "cache")
    return Composites(location, split, CompositesOptions.model_validate(options))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path / "data", lambda photo: [disc(45, 55 + photo % 7, 22)])
    return tmp_path / "data"


def test_a_composite_depends_on_its_number_alone(root: Path) -> None:
    few, many = opened(root, size=3), opened(root, size=50)
    assert (len(few), len(many), len(opened(root, "val"))) == (3, 50, 300)
    assert few.ids() == ["composites/train/0000000/0", "composites/train/0000001/0", "composites/train/0000002/0"]
    many[7]
    for before, after in zip(few, many, strict=False):
        assert np.array_equal(before.query.image, after.query.image)
        assert np.array_equal(before.amodal, after.amodal)
        assert np.array_equal(before.visible, after.visible)
    assert not np.array_equal(few[0].query.image, few[1].query.image)
    assert few.fingerprint() != many.fingerprint() != opened(root, size=50, look={"soft": 0}).fingerprint()


def test_amodal_is_what_the_photo_had_and_visible_what_is_left(root: Path) -> None:
    seen = []
    for sample in opened(root, size=60):
        assert sample.query.image.shape == (HEIGHT, WIDTH, 3)
        assert not (sample.visible & ~sample.amodal).any()
        assert sample.amodal.sum() == pytest.approx(disc(45, 58, 22).sum(), rel=0.02)
        own = np.median(sample.query.image[sample.visible])
        hidden = sample.amodal & ~sample.visible
        if hidden.any():  # of another photo, hence of another grey
            assert (abs(sample.query.image[hidden].astype(int) - own) > 1).mean() > 0.8
        seen.append(sample.occlusion_rate)
    rates = np.array(seen)
    assert 8 <= (rates == 0).sum() <= 30, rates
    assert (np.histogram(rates[rates > 0], [0, 0.3, 0.6, 0.95])[0] >= 6).all(), rates


def test_rates_and_the_share_in_view_are_as_asked(root: Path) -> None:
    narrow = opened(root, size=40, paste={"in_view": 0, "rates": [0.4, 0.5]})
    assert all(0.3 < sample.occlusion_rate < 0.6 for sample in narrow)
    whole = opened(root, size=40, paste={"in_view": 1})
    assert all(np.array_equal(sample.visible, sample.amodal) for sample in whole)
    with_something = sum(len(np.unique(sample.query.image)) > 1 for sample in whole)
    assert 10 < with_something < 40  # beside it or behind it, else nothing


def test_no_photo_is_in_two_splits_nor_hides_itself(root: Path) -> None:
    def greys(split: str) -> set[int]:
        looks = {"look": {"soft": 0}, "paste": {"scale": [0.8, 1.2]}}
        found: set[int] = set()
        for sample in opened(root, split, size=150, **looks):
            values = set(np.unique(sample.query.image).tolist())
            assert len(values) == 2 or sample.occlusion_rate == 0
            found |= values
        return found

    train, val = greys("train"), greys("val")
    assert len(train) > 5 * len(val) > 5
    assert not train & val


def test_annotations_that_say_so_decide_what_is_whole(tmp_path: Path) -> None:
    write(tmp_path / "data", lambda _: [disc(45, 60, 25)], whole=lambda photo: photo % 2)
    dataset = opened(tmp_path / "data", size=40)
    assert dataset.funnel.noted == {"annotation is no target: not stated to be whole": PHOTOS // 2}
    assert {sample.query.category for sample in dataset} == {"ball"}  # photos with odd numbers
    by_rules = opened(tmp_path / "data", size=40, whole={"by": "rules"})
    assert by_rules.funnel.noted == {}
    assert {sample.query.category for sample in by_rules} == {"disc", "ball"}


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (disc(45, 60, 13), "smaller than min_area"),
        (disc(45, 10, 20), "at the photo's edge"),
        (disc(45, 30, 20) | disc(45, 90, 10), "in several pieces"),
        (ring(), "of low solidity"),
    ],
)
def test_rules_leave_out_what_may_not_be_whole(tmp_path: Path, mask: Mask, reason: str) -> None:
    write(tmp_path / "data", lambda photo: [mask, disc(45, 60, 25)] if photo < 10 else [disc(45, 60, 25)])
    assert opened(tmp_path / "data").funnel.noted == {f"annotation is no target: {reason}": 10}


def test_crowds_are_nothing_and_what_is_not_whole_can_hide(tmp_path: Path) -> None:
    write(tmp_path / "crowd", lambda _: [disc(45, 60, 25)], iscrowd=lambda photo: int(photo > 30))
    assert opened(tmp_path / "crowd").funnel.noted == {"annotation is no target: crowd": 9}
    write(tmp_path / "rings", lambda photo: [ring() if photo % 2 else disc(45, 60, 25)])
    dataset = opened(tmp_path / "rings", size=40, look={"soft": 0}, paste={"in_view": 0})
    assert {sample.query.category for sample in dataset} == {"disc"}
    greys = {int(value) // 5 for sample in dataset for value in np.unique(sample.query.image)}
    assert any(grey % 2 for grey in greys)  # a ring's photo hid something


def test_too_little_is_refused_with_the_reasons(tmp_path: Path) -> None:
    write(tmp_path / "data", lambda _: [ring()])
    with pytest.raises(DatasetNotReady) as caught:
        opened(tmp_path / "data")
    text = str(caught.value)
    assert (
        "instances.json: of 40 objects, 0 can be targets in the split 'train', and those of 2 photos are needed" in text
    )
    assert text.endswith("Left out: of low solidity 40. The rules are --set dataset.whole.KEY=VALUE")


def test_two_files_are_refused(root: Path) -> None:
    (root / "annotations").mkdir()
    (root / "annotations" / "instances_val2017.json").write_text("{}")
    with pytest.raises(DatasetNotReady, match=r"holds instances.json, annotations/instances_val2017.json: which"):
        opened(root)
    assert len(opened(root / "instances.json", size=5)) == 5


def test_what_is_seen_of_target_pasted_object_and_all_else_in_the_photo(tmp_path: Path) -> None:
    dot = disc(8, 12, 6)
    write(tmp_path / "data", lambda photo: [disc(45, 70 + photo % 7, 22), dot])
    data = opened(tmp_path / "data", size=30, whole={"min_area": 800, "min_occluder": 800}, look={"soft": 0})
    mirrored = pasted = 0
    for index in range(30):
        sample, found = data[index], data.seen(index)
        assert found.query.id == sample.query.id
        assert np.array_equal(found.query.image, sample.query.image)
        flipped = not (found.things | ~dot).all()
        mirrored += flipped
        here = dot[:, ::-1] if flipped else dot
        assert (found.things | ~here).all()
        own = sample.query.image[sample.visible][0]  # a photo is of one grey
        changed = (sample.query.image != own).any(axis=2)
        pasted += changed.any()
        assert (found.things | ~changed).all()
        if not changed.any():
            assert np.array_equal(found.things, sample.amodal | here)
    assert 5 < mirrored < 25
    assert pasted > 15


def test_overlap_at_every_place_is_what_pasting_there_hides() -> None:
    target, occluder = disc(45, 60, 20), disc(45, 60, 12)[30:60, 45:75]
    shares, step = overlaps(target, occluder)
    assert step == 1
    assert shares.max() == pytest.approx(occluder.sum() / target.sum(), abs=1e-6)
    top, left = 26, 41  # of the target's box
    for row, column in ((10, 40), (35, 20), (60, 60)):
        start = top + row - occluder.shape[0] + 1, left + column - occluder.shape[1] + 1
        frame = np.zeros_like(target)
        frame[start[0] : start[0] + occluder.shape[0], start[1] : start[1] + occluder.shape[1]] = occluder
        assert shares[row, column] == pytest.approx((frame & target).sum() / target.sum(), abs=1e-6)


def test_edges_are_softened_and_colours_moved_only_as_asked() -> None:
    grey = np.full((HEIGHT, WIDTH, 3), 100, dtype=np.uint8)
    target = Cutout(grey, disc(45, 60, 25), None)
    other = Cutout(np.full_like(grey, 200), disc(45, 60, 20), None)
    always = Pasting(in_view=0, flip=0)

    def values(look: Look) -> set[int]:
        image = composed(target, lambda: other, always, look, np.random.default_rng(3)).image
        return set(np.unique(image).tolist())

    assert values(Look(soft=0)) == {100, 200}
    assert len(values(Look(soft=3))) > 10
    assert values(Look(soft=0, colour=1)) == {100}
    assert values(Look(soft=0, colour=0.5)) == {100, 150}


def test_shape_of_a_disc_and_of_a_ring() -> None:
    margin, largest, solidity = shape_of(disc(45, 60, 25))
    assert (margin, largest) == (20, 1)
    assert solidity == 1
    assert shape_of(ring())[2] < 0.6


def test_real_cut_outs_make_pairs(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "cutouts"
    location = Location(name="composites", root=folder, cache=tmp_path)
    counts, photos = {}, []
    for split in ("train", "val", "test"):
        dataset = Composites(location, split, CompositesOptions(size=30))
        assert dataset.funnel.noted == {"annotation is no target: not stated to be whole": 1135}
        counts[split] = len(dataset._targets)
        photos.append(set(dataset._cutouts.photo_names[dataset._occluders]))
        samples = [dataset[index] for index in range(10)]
        assert any(0 < sample.occlusion_rate < 0.95 for sample in samples)
        assert all(sample.visible.sum() >= 48 for sample in samples)
    assert sum(counts.values()) == 556
    assert not photos[0] & photos[1] | photos[0] & photos[2] | photos[1] & photos[2]
