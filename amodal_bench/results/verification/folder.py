"""What a run's record says of its folder: key, digests, how many rows there are and how it ended."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from amodal_bench.errors import Refused, RunDamaged
from amodal_bench.store.folder import RunFolder
from amodal_bench.store.lock import HOLDER, FolderLock
from amodal_bench.store.rows import FINISHED
from amodal_bench.store.sources import TABLES, PartFile, file_sha256


def refuse_at_work(folder: RunFolder) -> None:
    """Raise `Refused` while a process works on the run: what would be said of it is over when it is said."""
    holder = FolderLock(folder.path).holder()
    at_work = [str(entry) for entry in folder.workers()]
    if holder and holder.alive(folder.path / HOLDER):
        at_work.insert(0, str(holder))
    if at_work:
        raise Refused(f"it is being worked on by {at_work[0]}: verify it when that has ended")


def check_key(folder: RunFolder, record: dict[str, Any]) -> Iterator[str]:
    """The spec gives the key, and the key names the folder."""
    key = folder.spec().key()
    if record["key"] != key:
        yield f"run.json: its spec has the key {key}, it says {record['key']}: one of them was edited"
    name = folder.path.absolute().name
    if name != key:
        yield f"run.json: its spec has the key {key}, the folder is called {name}"


def check_digests(folder: RunFolder, record: dict[str, Any]) -> Iterator[str]:
    """The bytes of the merged tables are those that run.json has, and every table is there."""
    known = record.get("tables", {})
    for name in TABLES:
        path = folder.path / f"{name}.parquet"
        if not path.is_file():
            yield f"{path.name} is lost" + (": no score depends on it" if name == "timings" else "")
        elif name in known and (found := file_sha256(path)) != known[name]:
            yield (
                f"{path.name}: its bytes are not those that the run ended with "
                f"(sha256 expected {known[name][:16]}..., found {found[:16]}...)"
            )


def sound_parts(folder: RunFolder) -> tuple[list[Path], list[str]]:
    """The parts that can be read and whose bytes are those that their names say, and what is wrong with the others."""
    sound, faults = [], []
    for name in sorted(folder.parts()):
        path = folder.path / "parts" / name
        try:
            for _ in PartFile(path).chunks():
                continue
            sound.append(path)
        except RunDamaged as error:
            faults.append(str(error))
    return sound, faults


def check_lengths(found: dict[str, int]) -> Iterator[str]:
    """All tables have as many rows as instances.parquet."""
    expected = found.get("instances.parquet")
    for name, length in found.items():
        if expected is not None and length != expected:
            yield f"{name} has {length} rows, instances.parquet {expected}"


def check_counts(record: dict[str, Any], planned: int | None, statuses: Counter[str]) -> Iterator[str]:
    """run.json counts the rows that there are, and tells how the run ended."""
    counts = record["counts"]
    failed = statuses.total() - statuses[FINISHED]
    found = {"planned": planned, "done": statuses[FINISHED], "error": failed}
    for name, number in found.items():
        if number is not None and counts[name] != number:
            rows = "plan.parquet" if name == "planned" else "instances.parquet"
            yield f"run.json counts {name} {counts[name]}, {rows} has {number}"
    whole = statuses.total() == (counts["planned"] if planned is None else planned)
    status = "partial" if not whole else "errors" if failed else "complete"
    if record["status"] != status:
        yield f"run.json says {record['status']}, its rows are those of a run that is {status}"
