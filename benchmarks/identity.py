"""What does it cost to know a dataset by its contents? Against a plain loop of sha256 over the same files.

    python benchmarks/identity.py [FOLDER]        (about 1 GB there; default: a temporary folder)

100,000 files of up to 4 KB, like masks. Each figure is of a process of its own and the better of two rounds
in which the peers take turns; `cold` is after the system was asked to forget the files' pages. Bars: the first start
at most 1.5x the loop from memory and no slower than it from the disk, the second at most 0.5x. Then a set of
pix2gestalt's shape with 200,000 objects (3 GB of small files): opening it a second time lists no folder, and a training
of one step, weights written, takes at most 60 s where the listing and the digests are known.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from amodal_bench.files.cache import file_digests, manifest_digest

FOLDERS, FILES = 100, 1_000  # in each
OBJECTS = 200_000
SIDE = 32  # of their images
ROUNDS = 2


def write_files(root: Path) -> None:
    """Small files of random bytes."""
    rng = np.random.default_rng(0)
    for number in range(FOLDERS):
        folder = root / f"{number:03d}_object"
        folder.mkdir(parents=True)
        for size, k in zip(rng.integers(300, 4_000, FILES), range(FILES), strict=True):
            (folder / f"{k:06d}.png").write_bytes(rng.bytes(int(size)))


def write_release(root: Path) -> None:
    """The names of a pix2gestalt release; all objects are the same small one."""
    from amodal_bench.datasets.pix2gestalt.files import ENDINGS

    for kind, ending in ENDINGS.items():
        (root / kind).mkdir(parents=True)
        picture = small_png(kind)
        for number in range(OBJECTS):
            (root / kind / f"{number}{ending}.png").write_bytes(picture)


def small_png(kind: str) -> bytes:
    """A grey image, or a square as the mask: the visible one is its left half."""
    if kind in ("occlusion", "whole"):
        pixels = np.full((SIDE, SIDE, 3), 128, dtype=np.uint8)
    else:
        pixels = np.zeros((SIDE, SIDE), dtype=np.uint8)
        pixels[8:24, 8 : 16 if kind == "visible_object_mask" else 24] = 255
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def all_names(root: Path) -> list[str]:
    """Every file below, sorted."""
    return [f"{folder.name}/{file}" for folder in sorted(root.iterdir()) for file in sorted(os.listdir(folder))]  # noqa: PTH208


def plain(root: Path, _: Path) -> None:
    """What one writes without thinking."""
    names = all_names(root)
    manifest_digest((name, hashlib.sha256((root / name).read_bytes()).hexdigest()) for name in names)


def ours(root: Path, cache: Path) -> None:
    """The same digest, remembered."""
    names = all_names(root)
    manifest_digest((name, str(digest)) for name, digest in zip(names, file_digests(root, names, cache), strict=True))


def release(root: Path, _: Path) -> None:
    """Open both splits."""
    import amodal_bench as ab

    for split in ("train", "val"):
        ab.load_dataset("pix2gestalt", root=root, split=split)


def contents(root: Path, _: Path) -> None:
    """Open both splits and ask what they hold."""
    import amodal_bench as ab

    for split in ("train", "val"):
        ab.load_dataset("pix2gestalt", root=root, split=split).fingerprint()


def training(root: Path, cache: Path) -> None:
    """The command of a training of one step on it, weights written."""
    few = [f"--set=train.{key}" for key in ("epochs=1", "epoch_size=2", "batch_size=2", "val_limit=0")]
    command = [sys.executable, "-P", "-m", "amodal_bench", "train", "--method", "conddiff-nano"]
    command += ["--dataset", "pix2gestalt", "--root", str(root), *few]
    with tempfile.TemporaryDirectory(dir=cache) as weights:
        subprocess.run([*command, "--weights", weights], check=True, stdout=subprocess.DEVNULL)


TASKS: dict[str, Callable[[Path, Path], None]] = {f.__name__: f for f in (plain, ours, release, contents, training)}


def measure(task: str, root: Path, cache: Path) -> float:
    """Seconds of a task in a process of its own, without starting Python."""
    command = [sys.executable, "-P", __file__, "--task", task, str(root), str(cache)]
    environment = {**os.environ, "AMODAL_BENCH_CACHE": str(cache)}
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def have(state: str, root: Path) -> None:
    """Have the files' pages in memory (warm), or ask the system to drop them (cold)."""
    advice = os.POSIX_FADV_WILLNEED if state == "warm" else os.POSIX_FADV_DONTNEED
    for name in all_names(root):
        file = os.open(root / name, os.O_RDONLY)
        os.posix_fadvise(file, 0, 0, advice)
        if state == "warm":
            os.read(file, 1 << 20)
        os.close(file)


def digest_table(root: Path, folder: Path) -> Table:
    """First and second start against the loop."""
    write_files(root)
    os.sync()
    times: dict[str, list[float]] = {}
    for number in range(ROUNDS):
        for state in ("warm", "cold"):
            for what, task in (("plain loop", "plain"), ("first start", "ours"), ("second start", "ours")):
                if what == "plain loop" or state == "cold":
                    have(state, root)
                cache = folder / f"cache-{number}-{state}"
                times.setdefault(f"{what}, {state}", []).append(measure(task, root, cache))
    table = Table(title=f"{FOLDERS * FILES:,} files, {sum(p.stat().st_size for p in root.rglob('*.png')) / 1e6:.0f} MB")
    for name in ("what", "s", "us a file", "of the loop", "bar"):
        table.add_column(name, justify="left" if name == "what" else "right")
    bars = {"first start, warm": "<= 1.5", "first start, cold": "<= 1", "second start, warm": "<= 0.5"}
    for what, seconds in times.items():
        loop = min(times[f"plain loop, {what.rpartition(' ')[2]}"])
        share, each = min(seconds) / loop, min(seconds) / (FOLDERS * FILES) * 1e6
        table.add_row(what, f"{min(seconds):.2f}", f"{each:.1f}", f"{share:.2f}", bars.get(what, ""))
    return table


def release_table(root: Path, folder: Path) -> Table:
    """Both splits of a pix2gestalt release."""
    write_release(root)
    table = Table(title=f"pix2gestalt, {OBJECTS:,} objects in four folders, both splits")
    for name in ("what", "first, s", "second, s"):
        table.add_column(name, justify="left" if name == "what" else "right")
    names = {"release": "open", "contents": "open, and what they hold", "training": "one step of a training"}
    for task, what in names.items():
        pairs = [[measure(task, root, folder / f"{task}-{k}") for _ in range(2)] for k in range(ROUNDS)]
        table.add_row(what, *(f"{min(times):.2f}" for times in zip(*pairs, strict=True)))
    return table


def main(folder: Path) -> None:
    """Make the files and print both tables."""
    console = Console(width=120)
    console.print(digest_table(folder / "files", folder))
    console.print(release_table(folder / "release", folder))


if __name__ == "__main__":
    if "--task" in sys.argv:
        name, root, cache = sys.argv[2:]
        start = time.perf_counter()
        TASKS[name](Path(root), Path(cache))
        print(json.dumps(time.perf_counter() - start))
    elif len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
