"""What happens to a run's folder, its disk, its clock and its data while commands work on it."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random

from ground import COUNT, Ground, Violation, digests, is_refusal
from kills import Blow, struck, watch

PART = "parts/[!.]*.parquet"


class Skipped(Exception):
    """This machine cannot have that happen; says what it lacks."""


def full_disk(ground: Ground, rng: Random) -> str:
    """The disk fills up under a run: it says so and ends with 1; with room again it goes on."""
    small_disk(ground)
    command = ground.start("--workers", str(rng.randint(1, 2)))
    ground.wait_for(PART, command)
    ballast = ground.results.parent / "ballast"
    fill(ballast)
    code = command.check_code((1,))
    command.check_no_orphans()
    kept = ground.finished()
    ground.start(pace=0.0).check_code((1, 2))
    ground.finished()
    ballast.unlink()
    ground.complete()
    return f"full after the first part: exit code {code}, {kept} rows kept"


def read_only(ground: Ground, rng: Random) -> str:
    """Results that nobody may write to: a run that is half done is refused, a complete one is shown."""
    if os.geteuid() == 0:  # whom the rights of a file do not stop
        small_disk(ground)
    command = ground.start()
    ground.wait_for(PART, command)
    struck(ground, command, Blow("TERM", "command"), rng)
    for complete in (False, True):
        with written_by_nobody(ground.results):
            command = ground.start(pace=0.0)
            command.check_code((0 if complete else 2,))
            if not complete and not is_refusal(command):
                raise Violation(f"refused without a word\n{command.said}")
        if not complete:
            ground.complete()
    return "half done: refused; complete: shown"


def copied(ground: Ground, rng: Random) -> str:
    """A folder is copied while a command works on it; the copy goes on to the same bytes, and so does the original."""
    command = ground.start("--workers", str(rng.randint(1, 2)))
    ground.wait_for("run.json", command)
    watch(ground, command, rng.uniform(0, 5))
    copy = Ground(ground.home / "copy", ground.home / "copied results", commands=ground.commands)
    subprocess.run(["cp", "-a", ground.results, copy.results], check=False, stderr=subprocess.DEVNULL)
    had = copy.finished()
    copy.complete("--workers", str(rng.randint(1, 2)))
    ground.check_true(command, command.check_code((0,)))
    copy.check_end(digests(ground.folder))
    return f"copied with {had} of {COUNT} rows"


def clock_set_back(ground: Ground, rng: Random) -> str:
    """The clock goes back by a day in the middle of a run, and again before the next: all files are from tomorrow."""
    command = ground.start("--workers", str(rng.randint(1, 2)))
    ground.wait_for(PART, command)
    put_ahead(ground.folder.path, days=1)
    watch(ground, command, rng.uniform(0, 2))
    struck(ground, command, Blow(rng.choice(("KILL", "TERM", "STOP, CONT")), "group"), rng)
    put_ahead(ground.folder.path, days=2)
    for command in (ground.start(), ground.start()):
        ground.check_true(command, command.check_code((0,)))
    ground.complete()
    return "files from tomorrow while a command works, and before the next two"


def data_changed(ground: Ground, rng: Random) -> str:
    """The annotations change while a command reads them: no run holds rows of both, and each can be completed."""
    root = ground.home / "data"
    old, new = (changeable(ground, root, shift) for shift in (0, 1))
    wanted = []
    for index, one in enumerate((old, new)):
        draw(root, index)
        alone = changeable(ground, root, index, ground.home / f"undisturbed {index}")
        alone.complete()
        one.key = alone.folder.path.name
        wanted.append(digests(alone.folder))
    if old.key == new.key:
        raise Violation("other annotations, but the same key")
    draw(root, 0)
    command = old.start("--workers", str(rng.randint(1, 3)))
    seconds = rng.uniform(0, 4)
    time.sleep(seconds)
    draw(root, 1)
    code = command.check_code((0, 1, 2))
    command.check_no_orphans()
    for index, one in ((1, new), (0, old)):
        draw(root, index)
        one.complete()
        one.check_end(wanted[index])
    return f"changed after {seconds:.1f} s: exit code {code}; both versions completed, each under its key"


def edited(ground: Ground, rng: Random) -> str:
    """run.json is deleted or says what is not so, of a run that is complete or not: no row is lost."""
    told = []
    for limit in (30, COUNT):
        command = ground.start(f"--limit={limit}", pace=0.0)
        command.check_code((0,))
        path = ground.folder.path / "run.json"
        status = rng.choice(("", "running", "partial", "errors", "complete"))
        if status:
            path.write_text(json.dumps({**json.loads(path.read_text()), "status": status}))
        else:
            path.unlink()
        ground.finished()
        told.append(f"{status or 'deleted'} at {limit}")
    ground.complete()
    return ", ".join(told)


def poison(ground: Ground, rng: Random) -> str:
    """One image kills whoever predicts it, or takes for ever: its rows are errors, all others are finished."""
    how, workers = rng.choice(("segv", "kill", "exit", "hang")), rng.randint(1, 2)
    ground.method, ground.options = "deadly", (f"--set=how={how}", "--instance-timeout=2")
    command = ground.start("--workers", str(workers))
    ground.check_true(command, command.check_code((1,)))
    command.check_no_orphans()
    counts = ground.folder.record()["counts"]
    if (counts["done"], counts["error"]) != (21, 3):
        raise Violation(f"21 finished and 3 failed rows were expected, got {counts}\n{command.said}")
    ground.finished()
    cured = Ground(ground.home / "cured", ground.home / "undisturbed", ground.options, {"DEADLY_CURED": "1"}, "deadly")
    cured.commands = ground.commands
    cured.complete()
    ground.environment |= cured.environment
    ground.complete()
    ground.check_end(digests(cured.folder))
    return f"{how} at one image, workers {workers}: 3 error rows; cured: the same bytes"


def small_disk(ground: Ground, megabytes: int = 2) -> None:
    """Have the results on a disk of their own, of this size."""
    disk = ground.home / "disk"
    disk.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(command, check=False, capture_output=True).returncode:
        raise Skipped("a small disk: run as root, where mount works")
    ground.afterwards.callback(subprocess.run, ["umount", str(disk)], check=True)
    ground.results = disk / "results"


def fill(path: Path) -> None:
    """Write until the disk is full."""
    try:
        with path.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
    except OSError:
        return


@contextmanager
def written_by_nobody(folder: Path) -> Iterator[None]:
    """Results that are read-only for a while: by the rights of their folders, for root by their disk."""
    if os.geteuid() == 0:
        to, back = (["mount", "-o", f"remount,{how}", str(folder.parent)] for how in ("ro", "rw"))
    else:
        to, back = (["chmod", "-R", how, str(folder)] for how in ("a-w", "u+w"))
    subprocess.run(to, check=True)
    try:
        yield
    finally:
        subprocess.run(back, check=True)


def put_ahead(folder: Path, days: int) -> None:
    """Date all files of a folder so many days from now."""
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            os.utime(path, (time.time() + 86400 * days,) * 2)


def changeable(ground: Ground, root: Path, version: int, home: Path | None = None) -> Ground:
    """A run of the dataset that lies at `root`."""
    results = home / "results" if home else ground.results
    return Ground(
        home or ground.home / f"version {version}",
        results,
        (f"--root={root}",),
        dataset="boxes",
        commands=ground.commands,
    )


def draw(root: Path, shift: int) -> None:
    """Write the annotations of `boxes`, all moved by so many pixels; the file is replaced as a whole."""
    root.mkdir(parents=True, exist_ok=True)
    boxes = [[shift + k % 7, k % 5, 9 + k % 7 + shift, 12, k % 6] for k in range(COUNT)]
    (root / "new.json").write_text(json.dumps(boxes))
    (root / "new.json").replace(root / "boxes.json")
