"""Finished runs as figures and the report take them: read once, named so that no two are called alike."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from amodal_bench.errors import Refused, UnknownName
from amodal_bench.results.reading import finished_rows, nothing_left, readable
from amodal_bench.store.folder import RunFolder, find_runs, open_folder

_COLUMNS = ("id", "rate", "a", "b")  # of the tables that hold runs by their label: no run may be called so there


@dataclass(frozen=True, slots=True, eq=False)
class LoadedRun:
    """A run and its rows without errors. `label` tells it from its neighbours, `data` names its instances."""

    folder: RunFolder
    record: dict[str, Any]
    frame: pd.DataFrame
    errors: int
    label: str
    data: str

    @property
    def name(self) -> str:
        """The preset's name."""
        return str(self.record["preset"])

    @property
    def dataset(self) -> str:
        """The dataset's key."""
        return str(self.record["spec"]["dataset"])

    @property
    def split(self) -> str:
        """The split's name."""
        return str(self.record["spec"]["split"])

    @property
    def key(self) -> str:
        """12 hex digits of the spec."""
        return str(self.record["key"])

    @property
    def partial(self) -> bool:
        """Whether instances of the split are missing."""
        return len(self.frame) + self.errors < int(self.record["counts"]["planned"])

    @property
    def ranked(self) -> bool:
        """Whether it may be best or second best: whole and without errors."""
        return bool(self.record["status"] == "complete")


def load_run(folder: RunFolder) -> LoadedRun:
    """Read one run; raises `RunUnfinished` where it has no table yet, `RunDamaged` where it cannot be read."""
    record = folder.record()
    rows = finished_rows(folder, record)
    good = rows[rows["status"] == "ok"].reset_index(drop=True)
    spec = record["spec"]
    return LoadedRun(
        folder, record, good, len(rows) - len(good), record["preset"], f"{spec['dataset']}/{spec['split']}"
    )


def load_runs(folders: Sequence[RunFolder]) -> tuple[list[LoadedRun], list[str]]:
    """Every run that can be read, with labels that differ inside a data block, and a line for each that cannot."""
    runs, left_out = readable(folders, load_run)
    return labelled(runs), left_out


def labelled(runs: Sequence[LoadedRun]) -> list[LoadedRun]:
    """Runs with `data` that differs where the instances differ, and `label` that differs inside the same data."""
    sets = {run.data: {instances(other) for other in runs if other.data == run.data} for run in runs}
    runs = [
        r if len(sets[r.data]) == 1 else replace(r, data=f"{r.data} ({_difference(r, sets[r.data])})") for r in runs
    ]
    twins = Counter((run.data, run.label) for run in runs)
    named = [r if twins[r.data, r.label] == 1 else replace(r, label=f"{r.label} seed {_seed(r)}") for r in runs]
    twins = Counter((run.data, run.label) for run in named)
    clear = [twins[run.data, run.label] == 1 and run.label not in _COLUMNS for run in named]
    return [r if c else replace(r, label=f"{r.label} {r.key[:6]}") for r, c in zip(named, clear, strict=True)]


def instances(run: LoadedRun) -> tuple[str, str, str]:
    """What must be equal for two runs to be compared: options, fingerprint, source of the visible masks."""
    spec = run.record["spec"]
    options = ", ".join(f"{name}={value}" for name, value in sorted(spec["options"].items()))
    return options, spec["fingerprint"][:8], spec.get("visible", "gt")


def _difference(run: LoadedRun, sets: set[tuple[str, str, str]]) -> str:
    """The parts of `instances` in which the data of one name differ."""
    names = ("", "files ", "visible ")
    parts = zip(names, instances(run), zip(*sets, strict=True), strict=True)
    return ", ".join(f"{name}{_short(mine)}" for name, mine, all_ in parts if len(set(all_)) > 1)


def _short(text: str) -> str:
    return text if len(text) < 60 else f"{text[:57]}..."


def _seed(run: LoadedRun) -> int:
    return int(run.record["spec"]["seed"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which runs a figure is about; None means all there are."""

    methods: Sequence[str] | None = None
    datasets: Sequence[str] | None = None
    split: str | None = None
    folders: Sequence[Path] = ()

    def matches(self, folder: RunFolder, results: Path) -> bool:
        """Whether a run's place in `results` fits."""
        dataset, split, method, _ = folder.path.relative_to(results).parts
        return (
            (self.datasets is None or dataset in self.datasets)
            and (self.split is None or split == self.split)
            and (self.methods is None or method in self.methods)
        )


def choose_runs(results: Path, wanted: Wanted, tell: Callable[[str], None] = lambda _: None) -> list[LoadedRun]:
    """The runs that fit, in the order of the asked methods; raises `Refused` or `UnknownName` where one is missing.

    `tell` hears a line for each that fits by its place and cannot be read. One that was named itself is refused.
    """
    if wanted.folders:
        return labelled([load_run(open_folder(path)) for path in wanted.folders])
    every = list(find_runs(results))
    if not every:
        raise Refused(
            f"{results} holds no run yet: `amodal-bench bench` makes some (or name their folder: --results DIR)"
        )
    places = [folder.path.relative_to(results).parts for folder in every]
    for what, names, known in (
        ("dataset with runs", wanted.datasets, {place[0] for place in places}),
        ("method with runs", wanted.methods, {place[2] for place in places}),
    ):
        for name in names or ():
            if name not in known:
                raise UnknownName(what, name, known)
    found = [folder for folder in every if wanted.matches(folder, results)]
    if not found:
        raise Refused(f"{results} holds {len(every)} runs, but none of these methods, datasets and split together")
    runs, left_out = load_runs(found)
    if not runs:
        raise nothing_left(f"{results} holds no run of what was asked for that can be read", left_out)
    for line in left_out:
        tell(line)
    order = {name: place for place, name in enumerate(wanted.methods or ())}
    return sorted(runs, key=lambda run: order.get(run.name, 0))


def by_data(runs: Sequence[LoadedRun]) -> dict[str, list[LoadedRun]]:
    """Runs that may be compared, under the name of their instances."""
    blocks: dict[str, list[LoadedRun]] = {}
    for run in runs:
        blocks.setdefault(run.data, []).append(run)
    return blocks
