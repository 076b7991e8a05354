"""What people's annotation files do, in every adapter: files made here, each fault with one outcome."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from pycocotools import mask as coco

import amodal_bench as ab
from amodal_bench.errors import DatasetNotReady
from amodal_bench.formats import depth_order as _order
from amodal_bench.masks import rle
from amodal_bench.types import Mask

HEIGHT, WIDTH = 24, 32
COPY, OUTSIDE = "identical copy of another annotation", "visible mask lies wholly outside the amodal mask"
HIDDEN_LESS = "no visible mask: it is the amodal one less the invisible one"
FRONT_LESS = "no visible mask: it is the amodal one less what lies in front"
UNTOLD = "no visible mask, and neither invisible_mask nor the depth order tells what is seen"
NOT_THE_RATE = "no visible mask, and the depth order does not give the declared occlusion rate"


def box(left: int, top: int, right: int, bottom: int) -> Mask:
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
    mask[top:bottom, left:right] = True
    return mask


def spelled(mask: Mask) -> dict[str, Any]:
    code = rle.encode(mask)
    return {"size": code["size"], "counts": code["counts"].decode()}


BOX, CUP = box(12, 10, 32, 24), box(4, 4, 24, 20)
SEEN, HIDDEN, FAR = CUP & ~BOX, CUP & BOX, box(0, 22, 3, 24)


def write(root: Path, file: str, images: str, content: Any, pack: Callable[[bytes], bytes] = bytes) -> None:
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    (root / file).write_bytes(pack(json.dumps(content).encode()))
    (root / images).mkdir(parents=True, exist_ok=True)
    PIL.Image.new("RGB", (WIDTH, HEIGHT)).save(root / images / "7.png")


def entry(id: Any = 7) -> dict[str, Any]:
    return {"id": id, "file_name": "7.png", "height": HEIGHT, "width": WIDTH}


def dropped(dataset: Any) -> Any:
    return dataset.funnel.as_dict()["dropped"]


REGIONS = {
    "coco_a": ("annotations/COCO_amodal_val2014.json", "val2014"),
    "bsds_a": ("annotations/BSDS_amodal_test.json", "BSR/BSDS500/data/images/test"),
}
FLAT = {
    "cocoa_cls": ("annotations/COCO_amodal_val2014_with_classes.json", "val2014"),
    "d2sa": ("d2s_amodal_annotations_v1/D2S_amodal_validation.json", "d2s_amodal_images_v1/images"),
    "sailvos": ("valid.json", "scene/images"),
}


def regions(root: Path, dataset: str, *drawn: dict[str, Any], images: list[Any] | None = None, **more: Any) -> Any:
    content = {"images": images or [entry()], "annotations": [{"id": 1, "image_id": 7, "regions": list(drawn)}]}
    write(root, *REGIONS[dataset], content, **more)
    return ab.load_dataset(dataset, root=root)


def flat(root: Path, dataset: str, *annotations: dict[str, Any], **more: Any) -> Any:
    image = entry() | ({"file_name": "scene/images/7.png"} if dataset == "sailvos" else {})
    found = [{"id": k, "image_id": 7, "category_id": 4} | annotation for k, annotation in enumerate(annotations)]
    content = {"images": [image], "annotations": found, "categories": [{"id": 4, "name": "cup"}]}
    write(root, *FLAT[dataset], content, **more)
    return ab.load_dataset(dataset, root=root)


def front(**facts: Any) -> dict[str, Any]:
    return {"segmentation": spelled(BOX), "order": 1, **facts}


def behind(**facts: Any) -> dict[str, Any]:
    return {"segmentation": spelled(CUP), "order": 2, **facts}


@pytest.mark.parametrize("dataset", REGIONS)
@pytest.mark.parametrize("nothing", [None, {}, [], [[]], "", False])
@pytest.mark.parametrize(
    ("facts", "noted"),
    [
        ({"invisible_mask": spelled(HIDDEN), "occlude_rate": 0.375}, HIDDEN_LESS),
        ({"invisible_mask": spelled(HIDDEN)}, HIDDEN_LESS),
        ({"occlude_rate": 0.375}, FRONT_LESS),
        ({"occlude_rate": None}, FRONT_LESS),
        ({}, FRONT_LESS),
    ],
)
def test_what_is_seen_of_a_region_without_visible_mask_is_derived_and_said(
    tmp_path: Path, dataset: str, nothing: Any, facts: dict[str, Any], noted: str
) -> None:
    found = regions(tmp_path, dataset, front(), behind(visible_mask=nothing, **facts))
    assert [np.array_equal(s.visible, mask) for s, mask in zip(found, (BOX, SEEN), strict=True)] == [True, True]
    assert found.funnel.as_dict()["noted"] == {noted: 1}


@pytest.mark.parametrize("dataset", REGIONS)
@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        (front(segmentation=spelled(FAR)), behind(occlude_rate=0.375), NOT_THE_RATE),
        (front(), behind(occlude_rate=0.9), NOT_THE_RATE),
        (front(segmentation=[1, 2, 3]), behind(occlude_rate=0.375), UNTOLD),
        (front(segmentation=[1, 2, 3]), behind(), UNTOLD),
        (front(order=None), behind(occlude_rate=0.375), UNTOLD),
        (front(), behind(segmentation=spelled(box(14, 12, 20, 18))), "visible mask is empty"),
        (front(), behind(invisible_mask=spelled(CUP)), "visible mask is empty"),
        (front(), behind(invisible_mask=spelled(FAR)), "invisible mask lies wholly outside the amodal mask"),
        (front(), behind(visible_mask=spelled(FAR), occlude_rate=0.375), OUTSIDE),
    ],
)
def test_an_occluded_region_of_which_nothing_tells_what_is_seen_is_left_out(
    tmp_path: Path, dataset: str, first: dict[str, Any], second: dict[str, Any], reason: str
) -> None:
    found = regions(tmp_path, dataset, first, second, behind(order=3, visible_mask=spelled(SEEN)))
    assert found.funnel.dropped[reason] == 1
    assert not any(id.endswith("0.2") for id in found.ids())
    assert any(id.endswith("0.3") for id in found.ids())


@pytest.mark.parametrize("dataset", REGIONS)
def test_a_region_that_is_declared_unoccluded_is_in_full_view(tmp_path: Path, dataset: str) -> None:
    found = regions(tmp_path, dataset, front(), behind(occlude_rate=0))
    np.testing.assert_array_equal(found[1].visible, CUP)
    assert found.funnel.as_dict()["noted"] == {"visible mask is not the amodal one less what lies in front": 1}


@pytest.mark.parametrize("dataset", FLAT)
@pytest.mark.parametrize("nothing", [{}, {"visible_mask": None}, {"visible_mask": {}}, {"visible_mask": []}])
def test_what_is_seen_follows_from_the_invisible_mask(tmp_path: Path, dataset: str, nothing: dict[str, Any]) -> None:
    cup = {"segmentation": spelled(CUP), "occlude_rate": 0.375, **nothing}
    found = flat(tmp_path, dataset, cup | {"invisible_mask": spelled(HIDDEN)}, cup)
    np.testing.assert_array_equal(found[0].visible, SEEN)
    assert found.funnel.as_dict()["noted"] == {HIDDEN_LESS: 1}
    assert (len(found), found.funnel.dropped.total()) == (1, 1)


@pytest.mark.parametrize("dataset", FLAT)
def test_masks_that_do_not_meet_are_left_out_and_told(tmp_path: Path, dataset: str) -> None:
    good = {"segmentation": spelled(CUP), "visible_mask": spelled(SEEN)}
    found = flat(tmp_path, dataset, good, good | {"visible_mask": spelled(FAR)})
    assert (len(found), dropped(found)) == (1, {OUTSIDE: 1})
    assert ["320 amodal and 6 visible pixels" in f.detail for f in found.faults() if f.kind == OUTSIDE] == [True]


@pytest.mark.parametrize("dataset", FLAT)
def test_of_identical_copies_one_stays_and_others_are_none(tmp_path: Path, dataset: str) -> None:
    cup = {"id": 5, "segmentation": spelled(CUP), "visible_mask": spelled(SEEN)}
    found = flat(tmp_path, dataset, cup, cup, {**cup, "id": 6})
    assert (len(found), found.funnel.dropped.total()) == (2, 1)
    if dataset != "sailvos":  # there the first of an object in a frame counts
        assert dropped(found) == {COPY: 1}
        found = flat(tmp_path, dataset, cup, cup | {"segmentation": spelled(SEEN)}, {**cup, "id": 6})
        assert (len(found), dropped(found)) == (1, {"another annotation has the same id": 2})
        assert [fault.detail for fault in found.faults()] == [
            f"{Path(FLAT[dataset][0]).name}: image 7, annotation 5"
        ] * 2


@pytest.mark.parametrize("dataset", REGIONS)
def test_of_identical_regions_and_images_one_stays(tmp_path: Path, dataset: str) -> None:
    drawn = front(), behind(visible_mask=spelled(SEEN))
    found = regions(tmp_path, dataset, *drawn, drawn[1], images=[entry(), entry("7")])
    assert (len(found), found.funnel.read) == (2, 4)
    assert dropped(found) == {COPY: 1, "identical copy of another image entry": 1}
    other = [entry(), entry() | {"file_name": "8.png"}]
    with pytest.raises(DatasetNotReady, match=r"several images have the id of its image .*7\.png and 8\.png"):
        regions(tmp_path, dataset, *drawn, images=other)


@pytest.mark.parametrize("spell", [int, float, str, "img_{}".format, "scene/{:06d}".format, lambda k: 10**18 + k])
def test_ids_may_be_numbers_or_words(tmp_path: Path, spell: Callable[[int], Any]) -> None:
    id = spell(7)
    content = {"images": [entry(id)], "annotations": [{"image_id": id, "regions": [front(), behind(occlude_rate=0)]}]}
    write(tmp_path, *REGIONS["coco_a"], content)
    found = ab.load_dataset("coco_a", root=tmp_path)
    image = "7" if spell in (int, float, str) else id
    assert found.ids() == [f"coco_a/val/{image}/0.1", f"coco_a/val/{image}/0.2"]
    assert [found.group(id) for id in found.ids()] == [f"{image}"] * 2


@pytest.mark.parametrize("pack", [gzip.compress, lambda text: b"\xef\xbb\xbf" + text])
def test_a_packed_file_and_one_with_a_mark_are_read_by_their_contents(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    drawn = front(), behind(visible_mask=spelled(SEEN))
    for dataset in REGIONS:
        assert len(regions(tmp_path / dataset, dataset, *drawn, pack=pack)) == 2
    for dataset in FLAT:
        cup = {"segmentation": spelled(CUP), "visible_mask": spelled(SEEN)}
        assert len(flat(tmp_path / dataset, dataset, cup, pack=pack)) == 1


def test_the_size_of_an_image_may_come_from_its_masks(tmp_path: Path) -> None:
    cup = {"segmentation": spelled(CUP), "visible_mask": spelled(SEEN)}
    content = {"images": [{"id": 7, "file_name": "7.png"}], "annotations": [{"id": 1, "image_id": 7, **cup}]}
    content["annotations"].append({"id": 2, "image_id": 7, **cup, "segmentation": [[1, 1, 9, 1, 9, 9]]})
    write(tmp_path, *FLAT["cocoa_cls"], content)
    found = ab.load_dataset("cocoa_cls", root=tmp_path)
    np.testing.assert_array_equal(found[0].amodal, CUP)
    assert dropped(found) == {"the size of its image is not stated": 1}


def test_a_gigantic_image_has_no_instances(tmp_path: Path) -> None:
    big = entry() | {"height": 30_000, "width": 30_000}
    seen = behind(visible_mask=spelled(SEEN))
    found = regions(tmp_path, "coco_a", front(segmentation=[1.0, 1.0, 9.0, 1.0, 9.0, 9.0]), seen, images=[big])
    assert (len(found), dropped(found)) == (0, {"malformed mask": 2})
    assert "an image of 30000 x 30000 pixels; at most 50,000,000 are read" in next(found.faults()).detail


def scene_by_loop(masks: list[Mask], orders: list[int]) -> list[Mask]:
    return [
        mask & ~np.logical_or.reduce([m for m, o in zip(masks, orders, strict=True) if o < order] or [mask & ~mask])
        for mask, order in zip(masks, orders, strict=True)
    ]


def test_what_the_depth_order_tells_is_what_a_loop_over_pixels_says(tmp_path: Path, rng: np.random.Generator) -> None:
    corners = [np.sort(rng.integers(0, [[WIDTH, HEIGHT]], (2, 2)), axis=0) for _ in range(60)]
    masks = [box(*map(int, low), *map(int, high + 1)) for low, high in corners]
    orders = [int(order) for order in rng.permutation(60)]
    drawn = [{"segmentation": spelled(m), "order": o} for m, o in zip(masks, orders, strict=True)]
    found = regions(tmp_path, "coco_a", *drawn)
    expected = {f"coco_a/val/7/0.{o}": v for o, v in zip(orders, scene_by_loop(masks, orders), strict=True)}
    visible = {sample.query.id: sample.visible for sample in found}
    assert visible.keys() == {id for id, mask in expected.items() if mask.any()}
    assert all(np.array_equal(mask, expected[id]) for id, mask in visible.items())
    seen = scene_by_loop(masks, orders)
    given = [region | {"visible_mask": spelled(mask)} for region, mask in zip(drawn, seen, strict=True)]
    assert not regions(tmp_path / "given", "coco_a", *given).funnel.as_dict()["noted"]


def test_the_order_of_many_regions_is_walked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    merged: list[int] = []

    class Counting:
        area = staticmethod(coco.area)

        @staticmethod
        def merge(codes: list[Any], intersect: bool = False) -> Any:
            merged.append(len(codes))
            return coco.merge(codes, intersect)

    monkeypatch.setattr(_order, "coco", Counting)
    drawn = [{"segmentation": spelled(box(k % 30, k % 20, k % 30 + 2, k % 20 + 3)), "order": k} for k in range(400)]
    given = [region | {"visible_mask": region["segmentation"]} for region in drawn]
    found = regions(tmp_path, "coco_a", *given)
    assert found.funnel.read == 400
    assert sum(merged) < 10 * 400


def test_three_thousand_masks_of_one_image_are_what_numpy_says(tmp_path: Path, rng: np.random.Generator) -> None:
    masks = rng.random((3000, HEIGHT, WIDTH)) < rng.random((3000, 1, 1))
    masks[:, 5, 5] = True
    halves = [mask & (np.arange(WIDTH) < 16) for mask in masks]
    annotations = [
        {"segmentation": spelled(mask), "visible_mask": spelled(half)} for mask, half in zip(masks, halves, strict=True)
    ]
    found = flat(tmp_path, "cocoa_cls", *annotations)
    assert len(found) == 3000
    for (_, amodal, visible), mask, half in zip(found.codes(), masks, halves, strict=True):
        assert np.array_equal(coco.decode(amodal), mask)
        assert np.array_equal(coco.decode(visible), half)
