"""Small valid datasets of every layout, to be damaged."""

import json
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq

from amodal_bench.masks import rle
from amodal_bench.plugin import AnyDataset
from amodal_bench.resolve.job import open_dataset
from amodal_bench.resolve.locate import DataFlags
from amodal_bench.resolve.predicted_visible import spelled, with_visible
from amodal_bench.resolve.registry import Registry
from amodal_bench.running.export import TABLE, export, find_format, format_names, prepare
from amodal_bench.types import Mask

ROOT = Path(__file__).parent.parent.parent
SQUARES = ROOT / "tests" / "plugins" / "squares.py"
INSTANCES = 6
HEIGHT, WIDTH = 20, 32


@dataclass(frozen=True, slots=True)
class Sample:
    """A layout: the dataset that reads it, how, and how a valid one is written into a folder.

    `visible`: the file below the folder that is given as `--visible predicted:FILE`.
    """

    dataset: str
    make: Callable[[Path], None]
    options: Mapping[str, Any] = field(default_factory=dict)
    visible: str | None = None
    split: str | None = None

    def open(self, root: Path) -> AnyDataset:
        """The dataset in a folder; raises `Refused`."""
        dataset, _, _ = open_dataset(self.dataset, Registry(), self.split, dict(self.options), DataFlags(root=root))
        if not self.visible:
            return dataset
        asked = f"predicted:{root / self.visible}"
        spelled(asked)  # as every run does
        return with_visible(dataset, asked)

    def check(self, root: Path) -> None:
        """Write a valid one and open it."""
        self.make(root)
        dataset = self.open(root)
        if not [sample.query.id for sample in dataset]:
            raise SystemExit(f"{self.dataset}: nothing to damage in {root}")


def samples() -> dict[str, Sample]:
    """All layouts by the names that `--only` takes."""
    registry = Registry([SQUARES])
    exported = {
        name: Sample(find_format(name, registry).dataset, _exporter(name, registry)) for name in format_names(registry)
    }
    return exported | {
        "pix2gestalt-val": replace(exported["pix2gestalt"], split="val"),
        "coco-modal": Sample("coco", _modal),
        "fishbowl-savos": Sample("fishbowl", _savos),
        "folder-maps": Sample("folder", _id_maps, {"id_maps": True}),
        "kins-c2f": Sample("kins", _kins_c2f, {"release": "c2f", "visible": "predicted"}),
        "cocoa_cls-c2f": Sample("cocoa_cls", _cocoa_c2f, {"release": "c2f", "visible": "predicted"}),
        "labelme": Sample("labelme", _labelme),
        "sailvos-clips": Sample("sailvos", _clips),
        "visible-json": Sample("coco", lambda root: _visible(root, "json"), visible="found.json"),
        "visible-parquet": Sample("coco", lambda root: _visible(root, "parquet"), visible="found.parquet"),
    }


def _exporter(format: str, registry: Registry) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        squares, _, _ = open_dataset("squares", registry, None, {"count": INSTANCES}, DataFlags(root=root))
        layout = find_format(format, registry)
        split = registry.dataset(layout.dataset).cls.card.default_split
        export(prepare(squares, layout, root, registry, split))
        (root / TABLE).unlink()

    return make


def _box(left: int, right: int) -> Mask:
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
    mask[5:15, left:right] = True
    return mask


def _code(mask: Mask) -> dict[str, Any]:
    code = rle.encode(mask)
    return {"size": code["size"], "counts": code["counts"].decode()}


def _outline(left: int, right: int) -> list[float]:
    return [left, 5.0, right, 5.0, right, 15.0, left, 15.0]


def _photo(path: Path, grey: int = 90) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("RGB", (WIDTH, HEIGHT), (grey, 9, 7)).save(path)


def _write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def _image(id: Any, name: str) -> dict[str, Any]:
    return {"id": id, "file_name": name, "height": HEIGHT, "width": WIDTH}


def _own(annotations: list[dict[str, Any]]) -> dict[str, Any]:
    numbered = [{"id": k + 1, "image_id": 7 + k % 2, "category_id": 3, **own} for k, own in enumerate(annotations)]
    images = [_image(7, "a.png"), _image(8, "b.png")]
    return {"images": images, "annotations": numbered, "categories": [{"id": 3, "name": "car"}]}


def _modal(root: Path) -> None:
    shape = {"segmentation": [_outline(0, 6)], "order": 1, "isStuff": 0, "iscrowd": 0}
    drawn = [
        {**shape, "amodal_segm": _code(_box(0, 9)), "occlude_rate": 0.3},
        {**shape, "invisible_mask": [_outline(6, 9)], "order": 2},
        {**shape, "visib_fract": 1.0},
        {**shape, "segmentation": {"size": [HEIGHT, WIDTH], "counts": [100, 40, HEIGHT * WIDTH - 140]}},
    ]
    _write(root / "test.json", _own(drawn))
    _photo(root / "a.png")
    _photo(root / "b.png", 200)


def _savos(root: Path) -> None:
    def record(visible: Mask, amodal: Mask) -> dict[str, Any]:
        whole = {"FM": [rle.encode(amodal)], "FM_bx": [np.int64(0)] * 4, "fish_type": "BigFishB"}
        rate = np.float64(1 - visible.sum() / amodal.sum())
        return whole | ({"VM": [rle.encode(visible)], "OCC_R": rate} if visible.any() else {})

    fish = {1: record(_box(0, 8), _box(0, 8)), 2: record(_box(4, 8), _box(4, 12)), 3: record(_box(8, 8), _box(8, 16))}
    for frame in range(4):
        _photo(root / "test_data" / "test_frames" / "00007" / f"{frame:05d}.png", frame)
    (root / "test_data" / "test_data.pkl").write_bytes(pickle.dumps({"7_3": fish, "7_4": {2: fish[2]}}))


def _id_maps(root: Path) -> None:
    for name in ("a", "day/b"):
        _photo(root / "image" / f"{name}.jpg")
        for kind, right in (("visible", 6), ("amodal", 9)):
            path = root / kind / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            PIL.Image.fromarray((_box(0, right) + 2 * _box(16, 16 + right)).astype(np.uint8)).save(path)


def _found(left: int, right: int) -> dict[str, Any]:
    middle = (left + right) // 2
    return {
        "gt_full_mask": [_outline(left, right)],
        "gt_visible_mask": rle.encode(_box(left, middle)),
        "pred_visible_mask": rle.encode(_box(left, middle + 1)),
        "pred_visible_mask_bbox": np.array([0, 0, 3, 3]),
        "occlude_rate": np.float64(0.5),
    }


def _kins_c2f(root: Path) -> None:
    objects = {7: {0: _found(0, 6), 4: _found(6, 12)}, np.int64(8): {np.int64(1): _found(8, 20)}}
    (root / "kins_intersection.pkl").write_bytes(pickle.dumps(objects))
    (root / "kins_intersection_list.txt").write_text("7_0\n7_4\n8_1\n")
    images = [_image(7, "000007.png"), _image(8, "000008.png")]
    _write(root / "instances_val_upate.json", {"images": images, "annotations": []})
    for image in images:
        _photo(root / "testing" / "image_2" / image["file_name"])


def _cocoa_c2f(root: Path) -> None:
    objects = {"aisformer_7": {0: _found(0, 6)}, "vrsp_8": {1: _found(8, 20)}}
    (root / "fusion_test.pkl").write_bytes(pickle.dumps(objects))
    rows = ["aisformer,7,0", "vrsp,8,1", "0,val2014/COCO_val2014_000000000007.jpg"]
    (root / "c2f_seg_test_list.txt").write_text("\n".join(rows) + "\n")
    whole = {"id": 1, "image_id": 7, "category_id": 3, "segmentation": _code(_box(0, 9))}
    images = [_image(k, f"COCO_val2014_{k:012d}.jpg") for k in (7, 8)]
    content = {"images": images, "annotations": [whole], "categories": [{"id": 3, "name": "car"}]}
    _write(root / "annotations" / "COCO_amodal_val2014_with_classes.json", content)
    for image in images:
        _photo(root / "val2014" / image["file_name"])


def _labelme(root: Path) -> None:
    def shape(label: str, points: list[list[float]], **more: Any) -> dict[str, Any]:
        plain = {"label": label, "points": points, "group_id": None, "description": "", "shape_type": "polygon"}
        return plain | {"flags": {}, "mask": None, **more}

    def corners(left: int, right: int) -> list[list[float]]:
        return [[left, 5], [right, 5], [right, 15], [left, 15]]

    square = "iVBORw0KGgoAAAANSUhEUgAAAAMAAAADCAAAAABzQ+pjAAAAD0lEQVR4nGP4DwQMUBIANfoL9Vt8HC8AAAAASUVORK5CYII="
    first = [
        shape("cup", corners(0, 12), group_id=1),
        shape("cup_visible", corners(0, 6), group_id=1),
        shape("ball", [[20, 10], [24, 10]], shape_type="circle"),
        shape("ball hidden", [[20, 6], [28, 14]], shape_type="rectangle"),
    ]
    second = [shape("dot", [[4, 4], [6, 6]], shape_type="mask", mask=square), shape("cup", corners(8, 12))]
    for name, shapes in (("a", first), ("day/b", second)):
        facts: dict[str, Any] = {
            "version": "5.5.0",
            "flags": {},
            "imagePath": f"{Path(name).name}.png",
            "imageData": None,
        }
        _write(root / f"{name}.json", {**facts, "shapes": shapes, "imageHeight": HEIGHT, "imageWidth": WIDTH})
        _photo(root / f"{name}.png")


def _clips(root: Path) -> None:
    frames = [f"scene_a/images/{k:06d}.bmp" for k in range(3)]
    masks = {"segmentation": [_code(_box(0, 9))] * 3, "visible_mask": [_code(_box(0, 6))] * 3}
    clip = {**masks, "image_file_names": frames, "category_id": 1}
    _write(root / "valid.json", [{**clip, "obj_id": 4}, {**clip, "obj_id": 5}])
    for frame in frames:
        _photo(root / frame)


def _visible(root: Path, kind: str) -> None:
    _modal(root)
    found: list[dict[str, Any]] = [
        {"image_id": 7 + k % 2, "score": 0.9, "category_id": 3, "segmentation": _code(_box(0, 6))} for k in range(3)
    ]
    if kind == "json":
        _write(root / "found.json", found)
        return
    rows = pa.Table.from_pylist([{**one.pop("segmentation"), **one} for one in found])
    pq.write_table(rows, root / "found.parquet")
