"""The embedded dataset: the same masks everywhere and for ever, an even spread of occlusion, a sound cache."""

import hashlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import ndimage

from amodal_bench.datasets.synthetic import Synthetic, SyntheticOptions, render_object, render_scene
from amodal_bench.datasets.synthetic.curves import TURN, hole, polygon, sine, solid
from amodal_bench.datasets.synthetic.families import FAMILIES
from amodal_bench.datasets.synthetic.layout import SceneLayout, outline, plan, wanted_rate
from amodal_bench.datasets.synthetic.raster import FRAME, Box, fill, to_frame
from amodal_bench.datasets.synthetic.scene import SceneObject, scene_objects
from amodal_bench.datasets.synthetic.store import CHUNK, Store, render_rows
from amodal_bench.errors import UnknownName
from amodal_bench.plugin import Location

# Weights were trained on these masks. If one of these changes, raise GENERATOR_VERSION and train anew.
DIGESTS = {
    64: "d664f6e2113e9ba314d3380e9abd536f71d11fc4c143727b6f62496275ea4cd0",
    256: "53fd6f2edd0ff5aee2b9b6bc6d65860e89822885f6f8cb82a5e54f60d92e9d57",
}
# Mean red, green and blue of test scenes at 64 pixels: a change of the looks is a new version, too.
LOOKS = {0: (138.82, 135.96, 124.73), 7: (136.3, 114.68, 129.88), 100: (129.4, 117.46, 102.65)}


@pytest.fixture(scope="module")
def plans() -> list[SceneLayout]:
    return [plan("test", index) for index in range(300)]


@pytest.fixture(scope="module")
def targets(plans: list[SceneLayout]) -> dict[int, list[SceneObject]]:
    return {size: [scene_objects(layout, size)[layout.target] for layout in plans] for size in DIGESTS}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def opened(cache: Path, split: str = "test", resolution: int = 64, size: int = 20_000) -> Synthetic:
    options = SyntheticOptions.model_validate({"resolution": resolution, "size": size})
    return Synthetic(Location(name="synthetic", root=cache, cache=cache), split, options)


def rates(objects: Sequence[SceneObject]) -> np.ndarray:
    return np.array([1 - o.visible.sum() / o.amodal.sum() for o in objects])


@pytest.mark.parametrize("resolution", DIGESTS)
def test_the_masks_of_the_test_split_never_change(targets: dict[int, list[SceneObject]], resolution: int) -> None:
    digest = hashlib.sha256()
    for target in targets[resolution]:
        digest.update(np.packbits(target.amodal).tobytes())
        digest.update(np.packbits(target.visible).tobytes())
    assert digest.hexdigest() == DIGESTS[resolution]


@pytest.mark.parametrize("index", LOOKS)
def test_the_looks_do_not_change(index: int) -> None:
    assert render_scene("test", index, 64).image.mean(axis=(0, 1)) == pytest.approx(LOOKS[index], abs=0.1)


@pytest.mark.parametrize("resolution", DIGESTS)
def test_occlusion_rates_are_spread_evenly(targets: dict[int, list[SceneObject]], resolution: int) -> None:
    found = rates(targets[resolution])
    assert 0.10 < (found == 0).mean() < 0.20
    occluded = found[found > 0]
    assert occluded.max() < 0.9
    counts = np.histogram(occluded, bins=np.linspace(0, 0.9, 10))[0]
    share = len(occluded) / 9
    assert (counts > 0.6 * share).all()
    assert (counts < 1.4 * share).all()


def test_rates_are_what_was_asked_for_at_every_resolution(targets: dict[int, list[SceneObject]]) -> None:
    wanted = np.array([wanted_rate("test", index) / 1000 for index in range(300)])
    assert np.abs(rates(targets[64]) - wanted).max() < 0.03
    assert np.abs(rates(targets[256]) - rates(targets[64])).max() < 0.05


def test_masks_are_sound(targets: dict[int, list[SceneObject]]) -> None:
    for resolution, objects in targets.items():
        for target in objects:
            assert not (target.visible & ~target.amodal).any()
            assert target.visible.mean() > 0.006
            assert 0.04 < target.amodal.mean() < 0.45
            assert target.amodal.shape == (resolution, resolution)


def test_every_family_appears_with_holes_pieces_and_cut_by_the_frame(targets: dict[int, list[SceneObject]]) -> None:
    assert {target.category for target in targets[256]} == {family.name for family in FAMILIES}
    masks = [(target.category, target.amodal) for target in targets[256]]
    holed = {name for name, mask in masks if ndimage.label(np.pad(~mask, 1, constant_values=True))[1] > 1}
    pieces = {name for name, mask in masks if ndimage.label(mask)[1] > 1}
    assert holed >= {"mug", "gear", "ring", "glasses", "key", "chair", "wrench", "teapot"}
    assert pieces >= {"paw", "sun"}
    cut = [mask for _, mask in masks if mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any()]
    assert 30 < len(cut) < 150


def test_complete_targets_are_the_same_scenes_without_what_hides_them(cache: Path) -> None:
    location = Location(name="synthetic", root=cache, cache=cache)
    whole = Synthetic(location, "train", SyntheticOptions(resolution=64, size=31, complete=True))
    occluded = opened(cache, "train", size=31)
    assert whole.ids() == occluded.ids()
    assert whole.fingerprint() != occluded.fingerprint()
    for index in (0, 3, 30):
        sample, hidden = whole[index], occluded[index]
        image, mask = render_object("train", index, 64)
        assert np.array_equal(sample.query.image, image)
        assert np.array_equal(sample.amodal, mask)
        assert np.array_equal(sample.visible, mask)
        assert np.array_equal(hidden.amodal, mask)
        assert sample.query.category == hidden.query.category


def test_what_is_seen_of_all_objects_of_a_scene(cache: Path) -> None:
    location = Location(name="synthetic", root=cache, cache=cache)
    whole = Synthetic(location, "train", SyntheticOptions(resolution=64, size=31, complete=True))
    dataset = opened(cache, "train", size=31)
    for index in (0, 3, 30):
        scene, found = render_scene("train", index, 64), dataset.seen(index)
        assert np.array_equal(found.things, np.logical_or.reduce([thing.visible for thing in scene.objects]))
        assert np.array_equal(found.query.visible, dataset[index].visible)
        assert (found.things & ~found.query.visible).any()
        behind = [thing.amodal for thing in scene.objects[: scene.target]]
        assert np.array_equal(whole.seen(index).things, np.logical_or.reduce([*behind, whole[index].visible]))


def test_a_scene_is_the_same_alone_and_in_any_order() -> None:
    first = [render_scene("val", index, 64) for index in (0, 1, 2)]
    for index in (2, 0, 1):
        again = render_scene("val", index, 64)
        np.testing.assert_array_equal(again.image, first[index].image)
        np.testing.assert_array_equal(again.objects[again.target].amodal, first[index].objects[again.target].amodal)
    assert not np.array_equal(render_scene("train", 0, 64).image, first[0].image)


def test_the_whole_object_is_the_scene_without_what_hides_it() -> None:
    index = next(index for index in range(300) if wanted_rate("test", index) > 500)
    scene = render_scene("test", index, 64)
    target = scene.objects[scene.target]
    image, mask = render_object("test", index, 64)
    np.testing.assert_array_equal(mask, target.amodal)
    before = np.abs(image.astype(int) - scene.image).mean(axis=2)
    assert before[target.amodal & ~target.visible].mean() > 10
    last, _ = render_object("test", index, 64, len(scene.objects) - 1)
    np.testing.assert_array_equal(last, scene.image)


def test_resolutions_show_the_same_picture() -> None:
    small, large = (render_scene("test", 7, size).image.astype(float) for size in (64, 256))
    shrunk = large.reshape(64, 4, 64, 4, 3).mean(axis=(1, 3))
    assert np.corrcoef(shrunk.ravel(), small.ravel())[0, 1] > 0.95


def test_parallel_and_single_process_give_the_same(cache: Path) -> None:
    dataset = opened(cache, "train", size=60)
    sample = dataset[59]
    names = {path.name for path in (cache / "synthetic" / "v1-train-64").iterdir()}
    assert names >= {"0000000-0000025.npy", "0000025-0000050.npy", "0000050-0000060.npy"}
    alone = render_rows("train", 59, 60, 64)[0]
    np.testing.assert_array_equal(sample.query.image, alone["image"])
    np.testing.assert_array_equal(np.packbits(sample.amodal), alone["amodal"])
    np.testing.assert_array_equal(np.packbits(sample.visible), alone["visible"])
    assert sample.query.id == "synthetic/train/000059/0"
    assert sample.query.image_id == "000059"
    assert sample.query.category in {family.name for family in FAMILIES}


def test_a_second_use_reads_the_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = opened(cache, "train", size=60)[5]
    monkeypatch.setattr(Store, "render", None)
    np.testing.assert_array_equal(opened(cache, "train", size=60)[5].query.image, first.query.image)


@pytest.mark.parametrize("damage", ["cut", "garbage", "bit"])
def test_a_damaged_chunk_is_rendered_anew(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    good = opened(tmp_path, "train", size=3)[1]
    (path,) = (tmp_path / "synthetic" / "v1-train-64").iterdir()
    whole = path.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 4]) + whole[middle + 1 :]
    path.write_bytes({"cut": whole[:middle], "garbage": b"nothing", "bit": flipped}[damage])
    again = opened(tmp_path, "train", size=3)[1]
    np.testing.assert_array_equal(again.query.image, good.query.image)
    assert path.read_bytes() == whole
    assert "rendered anew" in caplog.text


def test_a_failing_worker_leaves_its_work_to_the_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert len(opened(tmp_path, "train", size=CHUNK + 1)[CHUNK].query.visible) == 64


def test_train_scenes_do_not_depend_on_its_size(tmp_path: Path) -> None:
    small, large = opened(tmp_path, "train", size=2), opened(tmp_path, "train", size=5)
    np.testing.assert_array_equal(small[1].query.image, large[1].query.image)
    assert small.fingerprint() != large.fingerprint()
    assert (len(large), large.ids()[-1]) == (5, "synthetic/train/000004/0")


def test_opening_is_cheap_and_writes_nothing(tmp_path: Path) -> None:
    dataset = opened(tmp_path, "train")
    assert (len(dataset), dataset.funnel.read, dataset.funnel.kept) == (20_000, 20_000, 20_000)
    assert dataset.fingerprint() == opened(tmp_path, "train").fingerprint()
    assert dataset.fingerprint() != opened(tmp_path, "train", resolution=128).fingerprint()
    assert dataset.group(dataset.ids()[17]) == "000017"
    assert not list(tmp_path.iterdir())
    with pytest.raises(IndexError):
        dataset[20_000]


def test_bad_names_and_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"unknown split of Synthetic \(embedded\) 'tset'\. Did you mean 'test'\?"):
        opened(tmp_path, "tset")
    with pytest.raises(ValidationError, match="64, 128 or 256"):
        opened(tmp_path, resolution=100)
    with pytest.raises(ValidationError, match="less than or equal to 1000000"):
        opened(tmp_path, size=2_000_000)


def test_importing_needs_neither_torch_nor_opencv() -> None:
    code = "import sys, amodal_bench.datasets.synthetic; sys.exit(bool({'torch', 'cv2'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(filter(None, sys.path))})


def test_the_sine_table_is_the_sine() -> None:
    angles = np.arange(TURN)
    table = np.array([sine(int(angle)) for angle in angles])
    np.testing.assert_array_equal(table, np.rint(2**14 * np.sin(2 * np.pi * angles / TURN)).astype(int))


def test_scanlines_agree_with_a_winding_number_at_each_centre() -> None:
    """Against the definition, counted pixel by pixel in Python's whole numbers."""
    random = np.random.default_rng(0)
    step = FRAME // 16
    for _ in range(20):
        rings = [random.integers(-FRAME // 4, FRAME * 5 // 4, (n, 2)) for n in (3, 7)]
        mask = fill(rings, 16, Box(0, 0, 16, 16))
        for row, column in np.ndindex(16, 16):
            x, y = (2 * column + 1) * step // 2, (2 * row + 1) * step // 2
            assert mask[row, column] == (_winding(rings, x, y) != 0)


def _winding(rings: Sequence[np.ndarray], x: int, y: int) -> int:
    turns = 0
    for ring in rings:
        points = [(int(a), int(b)) for a, b in ring]
        for (ax, ay), (bx, by) in zip(points, points[1:] + points[:1], strict=True):
            side = (bx - ax) * (y - ay) - (x - ax) * (by - ay)
            if ay <= y < by and side <= 0:
                turns += 1
            elif by <= y < ay and side >= 0:
                turns -= 1
    return turns


def test_a_silhouette_is_the_union_of_the_painted_parts(plans: list[SceneLayout]) -> None:
    """It is filled in one go, which is the same only while every hole lies inside its own part."""
    frame = Box(0, 0, 128, 128)
    for thing in (thing for layout in plans[:60] for thing in layout.things):
        union = np.zeros((128, 128), dtype=np.bool_)
        for part in thing.parts:
            union |= fill(to_frame(part.rings, thing.pose), 128, frame)
        np.testing.assert_array_equal(fill(outline(thing.parts, thing.pose), 128, frame), union)


def test_a_hole_takes_area_away_whichever_way_it_was_drawn() -> None:
    square = polygon([(0, 0), (4, 0), (4, 4), (0, 4)]) * 64
    inner = polygon([(1, 1), (3, 1), (3, 3), (1, 3)]) * 64
    for ring in (inner, inner[::-1]):
        mask = fill([solid(square), hole(ring)], FRAME // 1024, Box(0, 0, 4, 4))
        assert mask.sum() == 12
        assert not mask[1:3, 1:3].any()
