"""How fast do datasets open? On files that it makes itself, each figure beside its peer in the same run.

    python benchmarks/datasets.py [FOLDER]        (about 1 GB there; default: a temporary folder)

Bars, for a KINS-2020-sized JSON (7,500 images, 95,000 annotations, about 200 MB): from the file to all masks as
run-length codes, cold, at least 1.5x faster than `pycocotools.coco.COCO(file)` and its calls in a loop (the first
opening follows every mask); ready for the first sample, warm, at least 5x faster; peak memory below its peak. A
SAIL-VOS-sized index (500,000 objects) opens in under 60 s and 3 GiB. FishBowl of 1,000 clips x 128 frames is
indexed without decoding a frame.
"""

import json
import math
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from rich.console import Console
from rich.table import Table

HEIGHT, WIDTH = 375, 1242
IMAGES, ANNOTATIONS, POINTS = 7_500, 95_000, 62
SAIL_OBJECTS, SAIL_FRAMES = 500_000, 26_000
CLIPS, FRAMES, FISH = 1_000, 128, 3
GIB = 2**30


def outline(rng: np.random.Generator, points: int) -> list[float]:
    """A wavy closed outline somewhere in the frame, as people draw them."""
    angles = np.linspace(0, 2 * np.pi, points, endpoint=False)
    radius = rng.uniform(8, 120) * (1 + 0.15 * np.sin(angles * rng.integers(2, 9)))
    x, y = rng.uniform(0, WIDTH), rng.uniform(0, HEIGHT)
    corners = np.stack([x + radius * np.cos(angles), y + 0.6 * radius * np.sin(angles)], axis=1)
    return [round(float(c), 2) for c in np.clip(corners, 0, [WIDTH, HEIGHT]).ravel()]


def left_part(shape: list[float]) -> list[float]:
    """What is seen of an object whose right side is hidden."""
    middle = sum(shape[::2]) / len(shape[::2])
    return [round(min(c, middle), 2) if index % 2 == 0 else c for index, c in enumerate(shape)]


def write_kins(root: Path) -> Path:
    """A KINS 2020 file, with the image of its first annotation."""
    rng = np.random.default_rng(0)
    shapes = [outline(rng, POINTS) for _ in range(2_000)]
    annotations = []
    for index in range(ANNOTATIONS):
        amodal = shapes[int(rng.integers(len(shapes)))]
        annotations.append(
            {"id": index + 1, "image_id": index * IMAGES // ANNOTATIONS, "category_id": 4, "iscrowd": 0,
             "a_segm": [amodal], "a_bbox": [0, 0, 9, 9], "a_area": 9, "i_segm": [left_part(amodal)],
             "i_bbox": [0, 0, 9, 9], "i_area": 9, "oco_id": 1, "ico_id": 0}
        )  # fmt: skip
    images = [{"id": k, "file_name": f"{k:06d}.png", "height": HEIGHT, "width": WIDTH} for k in range(IMAGES)]
    categories = [{"id": 4, "name": "car", "supercategory": "vehicle"}]
    root.mkdir(parents=True, exist_ok=True)
    path = root / "update_test_2020.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    (root / "testing" / "image_2").mkdir(parents=True)
    PIL.Image.new("RGB", (WIDTH, HEIGHT)).save(root / "testing" / "image_2" / "000000.png")
    return path


def write_sailvos(root: Path) -> None:
    """A SAIL-VOS JSON of the COCO-like kind with short codes, and one frame."""
    pixels = 800 * 1280
    blob = {"size": [800, 1280], "counts": [pixels // 2, *[20, 780] * 20, pixels // 2 - 16_000]}
    names = [f"scene_{k % 200:03d}/images/{k // 200:06d}.bmp" for k in range(SAIL_FRAMES)]
    images = [{"id": k, "file_name": n, "height": 800, "width": 1280, "video_id": k % 200} for k, n in enumerate(names)]
    annotations = [
        {"id": k, "image_id": k * SAIL_FRAMES // SAIL_OBJECTS, "category_id": 1 + k % 24, "video_id": 0, "iscrowd": 0,
         "segmentation": blob, "visible_mask": blob, "bbox": [0, 0, 9, 9], "area": 400, "occlude_rate": 0.0}
        for k in range(SAIL_OBJECTS)
    ]  # fmt: skip
    categories = [{"id": k, "name": f"class {k}"} for k in range(1, 25)]
    root.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"images": images, "annotations": annotations, "categories": categories})
    (root / "val.json").write_text(text)
    (root / "scene_000" / "images").mkdir(parents=True)
    PIL.Image.new("RGB", (1280, 800)).save(root / names[0])


def write_fishbowl(root: Path) -> None:
    """Clips in the official layout; the videos are empty files, so that decoding one would fail."""
    total = 320 * 480
    masks = [{"size": [320, 480], "counts": [k * 900, 500, total - k * 900 - 500]} for k in range(FRAMES)]
    fish = [{"id": k, "type_id": 0, "type_name": "SmallFishA", "masks": masks} for k in range(FISH)]
    whole, single = json.dumps(fish), [json.dumps([one]) for one in fish]
    for clip in range(CLIPS):
        folder = root / f"{clip:05d}"
        folder.mkdir(parents=True)
        (folder / "objects.json").write_text(whole)
        (folder / "video.mp4").touch()
        for k, text in enumerate(single):
            alone = root / f"{clip:05d}_object{k}"
            alone.mkdir()
            (alone / "objects.json").write_text(text)


def ours(name: str, split: str, root: Path, what: str) -> Any:
    """Open a dataset and do a task with it."""
    import amodal_bench as ab

    start = time.perf_counter()
    dataset: Any = ab.load_dataset(name, root=root, split=split)
    opened = time.perf_counter() - start
    tasks: dict[str, Callable[[], object]] = {
        "open": lambda: None,
        "first": lambda: dataset[0],
        "codes": lambda: sum(1 for _ in dataset.codes()),
    }
    done = _seconds(tasks[what])
    return {
        "seconds": done if what == "codes" else opened + done,
        "from_file": opened + done,
        "instances": len(dataset),
    }


def peer(path: Path, task: str) -> Any:
    """The same with pycocotools: COCO(file), and its calls in a loop."""
    from pycocotools import mask as coco
    from pycocotools.coco import COCO

    start = time.perf_counter()
    file = COCO(str(path))

    def pair(annotation: dict[str, Any]) -> tuple[Any, Any]:
        image = file.imgs[annotation["image_id"]]
        size = image["height"], image["width"]
        amodal, visible = (coco.merge(coco.frPyObjects(annotation[k], *size)) for k in ("a_segm", "i_segm"))
        return amodal, visible

    opened = time.perf_counter() - start
    if task == "codes":
        done = _seconds(lambda: sum(1 for a in file.anns.values() if pair(a)))
        return {"seconds": done, "from_file": opened + done}
    first = file.loadAnns([1])[0]
    np.asarray(PIL.Image.open(path.parent / "testing" / "image_2" / "000000.png").convert("RGB"))
    coco.decode(list(pair(first)))
    return {"seconds": time.perf_counter() - start}


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def measure(*arguments: str | Path, cache: Path) -> dict[str, float]:
    """Run a task in a process of its own: {seconds, peak (bytes, of it and of what it started)}."""
    command = [sys.executable, "-P", __file__, "--task", *map(str, arguments)]
    environment = {**os.environ, "AMODAL_BENCH_CACHE": str(cache)}
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def kins_table(root: Path, cache: Path) -> Table:
    """The KINS-sized file against pycocotools; the best of two runs each."""
    path = write_kins(root)
    size = path.stat().st_size / 1e6
    table = Table(title=f"KINS 2020: {IMAGES:,} images, {ANNOTATIONS:,} annotations, {size:.0f} MB")
    for name in ("what", "ours, s", "pycocotools, s", "faster", "bar", "peak GiB", "its peak"):
        table.add_column(name, justify="left" if name == "what" else "right")
    reference = {task: measure("peer", path, task, cache=cache) for task in ("first", "codes")}

    def row(what: str, found: dict[str, float], task: str, bar: str, key: str = "seconds") -> None:
        base = reference[task]
        times = f"{found[key]:.2f}", f"{base[key]:.2f}", f"{base[key] / found[key]:.1f}x"
        table.add_row(what, *times, bar, f"{found['peak'] / GIB:.2f}", f"{base['peak'] / GIB:.2f}")

    shutil.rmtree(cache, ignore_errors=True)
    found = measure("ours", "kins", "test", root, "codes", cache=cache)
    row("from the file to all masks, cold", found, "codes", ">= 1.5x", "from_file")
    row("first sample, warm", measure("ours", "kins", "test", root, "first", cache=cache), "first", ">= 5x")
    row("all masks as codes, warm", measure("ours", "kins", "test", root, "codes", cache=cache), "codes", "")
    return table


def scale_table(folder: Path, cache: Path) -> Table:
    """Datasets that are large in other ways."""
    table = Table(title="large indexes")
    for name in ("what", "instances", "s", "peak GiB", "bar"):
        table.add_column(name, justify="left" if name == "what" else "right")
    write_sailvos(folder / "sailvos")
    write_fishbowl(folder / "fishbowl")
    for what, name, split, bar in (
        (f"SAIL-VOS JSON, {SAIL_OBJECTS:,} objects, cold", "sailvos", "val", "< 60 s, 3 GiB"),
        ("the same, warm", "sailvos", "val", ""),
        (f"FishBowl, {CLIPS:,} clips x {FRAMES} frames, no frame decoded, cold", "fishbowl", "test", ""),
        ("the same, warm", "fishbowl", "test", ""),
    ):
        found = measure("ours", name, split, folder / name, "open", cache=cache)
        size, seconds, peak = int(found["instances"]), found["seconds"], found["peak"] / GIB
        table.add_row(what, f"{size:,}", f"{seconds:.1f}", f"{peak:.2f}", bar)
    return table


def main(folder: Path) -> None:
    """Make the files and print both tables."""
    console = Console(width=150)
    cache = folder / "cache"
    console.print(kins_table(folder / "kins", cache))
    console.print(scale_table(folder, cache))


def task(kind: str, *arguments: str) -> None:
    """One measurement, as JSON on the last line."""
    if kind == "peer":
        result = peer(Path(arguments[0]), arguments[1])
    else:
        name, split, root, what = arguments
        result = ours(name, split, Path(root), what)
    usage = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(json.dumps({**result, "peak": math.fsum(usage) * 1024}))


if __name__ == "__main__":
    if "--task" in sys.argv:
        task(*sys.argv[2:])
    elif len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
