"""Which runs a command is about: found below folders and by name; what cannot be read is left out and named."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from amodal_bench.errors import Refused, RunDamaged, RunUnfinished, UnknownName
from amodal_bench.results.data import block_names
from amodal_bench.results.finished import FinishedRun, load
from amodal_bench.store.folder import find_runs, runs_below

R = TypeVar("R")
T = TypeVar("T")
_COLUMNS = ("id", "rate", "a", "b")  # of tables that hold runs by their label: no run may be called so there


@dataclass(frozen=True, slots=True, kw_only=True)
class RunQuery:
    """Runs by name, dataset, split and seed; None means all there are."""

    methods: Sequence[str] | None = None
    datasets: Sequence[str] | None = None
    split: str | None = None
    seed: int | None = None

    def __str__(self) -> str:
        methods, datasets = (", ".join(names or ()) for names in (self.methods, self.datasets))
        parts = [
            methods or "any method",
            f"on {datasets}" if datasets else "",
            f"split {self.split}" if self.split else "",
            "" if self.seed is None else f"seed {self.seed}",
        ]
        return " ".join(filter(None, parts))

    def matches(self, run: FinishedRun) -> bool:
        """Whether a run fits."""
        return (
            (self.methods is None or run.name in self.methods)
            and (self.datasets is None or run.data.dataset in self.datasets)
            and self.split in (None, run.data.split)
            and self.seed in (None, run.seed)
        )


@dataclass(frozen=True, slots=True)
class Selection:
    """Runs that can be read, and a line for each that is left out and why."""

    runs: list[FinishedRun]
    left_out: list[str] = field(default_factory=list)

    def named(self, name: str, dataset: str, split: str | None = None) -> list[FinishedRun]:
        """Runs under a label on a dataset."""
        query = RunQuery(methods=[name], datasets=[dataset], split=split)
        return [run for run in self.runs if query.matches(run)]

    def select(self, query: RunQuery) -> "Selection":
        """The runs that fit, in the order of the asked methods; raises `Refused` or `UnknownName` where none does."""
        for what, asked, known in (
            ("method", query.methods, {run.name for run in self.runs}),
            ("dataset", query.datasets, {run.data.dataset for run in self.runs}),
        ):
            for name in asked or ():
                if name not in known:
                    raise nothing_left(
                        UnknownName(f"{what} among the runs that can be read", name, known), self.left_out
                    )
        found = [run for run in self.runs if query.matches(run)]
        if not found:
            raise nothing_left(f"no finished run of {query}, of {len(self.runs)} that can be read", self.left_out)
        order = {name: index for index, name in enumerate(query.methods or ())}
        return Selection(sorted(found, key=lambda run: order.get(run.name, 0)), self.left_out)


def open_runs(paths: Iterable[Path]) -> Selection:
    """Every run in or below some folders.

    A folder that is itself a run must be readable; of those below a folder, what cannot be read is left out. Raises
    `Refused` where a folder holds no run, or none of all can be read.
    """
    runs, left_out = list[FinishedRun](), list[str]()
    for path in paths:
        folders = runs_below(path)
        if folders[0].path == path:
            runs.append(load(folders[0]))
            continue
        found, lines = readable(folders, load)
        runs += found
        left_out += lines
    if not runs:
        raise nothing_left("none of these runs can be read", left_out)
    return Selection(runs, left_out)


def results_runs(results: Path) -> Selection:
    """Every run of a results folder, which may have none."""
    return Selection(*readable(find_runs(results), load))


def readable(runs: Iterable[R], read: Callable[[R], T]) -> tuple[list[T], list[str]]:
    """What `read` makes of every run that it can read, and a line for each that is left out and why."""
    found, left_out = [], []
    for run in runs:
        try:
            found.append(read(run))
        except (RunDamaged, RunUnfinished) as error:
            left_out.append(" ".join(str(error).split()))
    return found, left_out


def nothing_left(fault: object, left_out: Iterable[str]) -> Refused:
    """The error where no run is left to show, with all reasons."""
    lines = list(left_out)
    if isinstance(fault, Refused) and not lines:
        return fault
    return Refused("\n".join([str(fault), *lines]))


def labelled(runs: Sequence[FinishedRun]) -> list[FinishedRun]:
    """Runs under names that no two have inside the same data: seed and key are added where they are needed."""
    names = block_names(run.data for run in runs)
    runs = [run.called(run.name, names[run.data]) for run in runs]
    runs = _told_apart(runs, lambda run: f"{run.label} seed {run.seed}", ())
    return _told_apart(runs, lambda run: f"{run.label} {run.key[:6]}", _COLUMNS)


def by_data(runs: Sequence[FinishedRun]) -> dict[str, list[FinishedRun]]:
    """Runs that may be compared, under the name of their instances."""
    blocks: dict[str, list[FinishedRun]] = {}
    for run in runs:
        blocks.setdefault(run.block, []).append(run)
    return blocks


def _told_apart(
    runs: Sequence[FinishedRun], longer: Callable[[FinishedRun], str], taken: Sequence[str]
) -> list[FinishedRun]:
    times = Counter((run.block, run.label) for run in runs)
    clear = [times[run.block, run.label] == 1 and run.label not in taken for run in runs]
    return [run if c else run.called(longer(run), run.block) for run, c in zip(runs, clear, strict=True)]
