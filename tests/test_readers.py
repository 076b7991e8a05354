"""Runs that can be read but are not whole, or not of the same data: what every reader makes of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

import amodal_bench as ab
from amodal_bench.errors import Refused
from tests.conftest import Cli
from tests.damages import Damage, damaged, healthy, record, replaced, table

DETECTOR = "predicted:0123456789abcdef"


@dataclass(frozen=True)
class Kind:
    """How a run is made unlike the others; its state and what is said of that; where it is of other data, in what."""

    change: Damage
    state: str = "complete"
    flag: str = ""
    unlike: str = ""


def rows(count: int, **changes: object) -> Damage:
    """A run of which so many rows are there, with these parts of the record."""

    def change(run: Path) -> None:
        table(lambda t: t.slice(0, count))(run)
        record(lambda r: (r["counts"].update(asked=count, done=count), r.update(changes)))(run)

    return change


def with_errors(run: Path) -> None:
    replaced("status", lambda values: ["error"] * 3 + values[3:])(run)
    for name in (f"v{k}" for k in range(8)):
        replaced(name, lambda values: [None] * 3 + values[3:])(run)
    record(lambda r: (r.update(status="errors"), r["counts"].update(done=21, error=3)))(run)


def at_work_over_a_finished_limit(run: Path) -> None:
    """As a full run that was begun over the tables of an earlier one with --limit 4: its counts are not told yet."""
    rows(4, status="running")(run)
    record(lambda r: r["counts"].update(asked=24, done=0))(run)


def spec(**changes: object) -> Damage:
    return record(lambda r: r["spec"].update(changes))


KINDS: Mapping[str, Kind] = {
    "at-work": Kind(at_work_over_a_finished_limit, "running", "running: 4 of 24"),
    "cut-short": Kind(rows(9, status="partial"), "partial", "partial: 9 of 24"),
    "failing": Kind(with_errors, "errors", "3 errors"),
    "detected": Kind(spec(visible=DETECTOR), unlike=f"visible masks that the method was given (gt and {DETECTOR})"),
    "other-options": Kind(spec(options={"count": 12}), unlike="dataset options ("),
    "other-files": Kind(spec(fingerprint="f" * 64), unlike="fingerprint of the files ("),
    "other-plugin": Kind(spec(dataset_source="e" * 64), unlike="source of the dataset's plugin ("),
}


@pytest.fixture(scope="module", params=KINDS)
def label(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def results(label: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The golden runs and one of a kind."""
    folder = healthy(tmp_path_factory.mktemp("readers") / "results")
    damaged(folder, label, KINDS[label].change)
    return folder


@pytest.fixture
def kind(label: str) -> Kind:
    return KINDS[label]


@pytest.fixture
def run(results: Path, label: str) -> Path:
    return next((results / "squares" / "test" / label).iterdir())


@pytest.fixture
def said(cli: Cli) -> Callable[..., str]:
    """All that a command says that ends well, in one line."""

    def call(*arguments: str | Path, code: int = 0) -> str:
        done = cli(*map(str, arguments))
        assert done.returncode == code, done.stdout + done.stderr
        return " ".join((done.stdout + done.stderr).split())

    return call


def test_in_python_it_has_a_state(run: Path, kind: Kind) -> None:
    opened = ab.open_run(run)
    assert (opened.state, opened.flag, opened.ranked) == (kind.state, kind.flag, not kind.flag)
    assert len(opened.frame()) == opened.n_finished
    assert opened.planned == 24


def test_score_shows_it_apart_or_flagged(results: Path, label: str, kind: Kind, said: Callable[..., str]) -> None:
    told = said("score", results)
    assert (f"{label} {kind.state}" if kind.state in ("running", "partial") else label) in told
    assert told.count("protocol instance-mean/1") == (2 if kind.unlike else 1)
    if kind.state in ("running", "partial"):
        assert f"({label} {kind.flag.split(': ')[1]})" in told


def test_compare_refuses_other_data_and_says_what_is_not_complete(
    results: Path, label: str, kind: Kind, said: Callable[..., str]
) -> None:
    arguments = ("compare", "visible", label, "--results", results, "--draws", "20")
    if kind.unlike:
        assert kind.unlike in said(*arguments, code=2)
    else:
        assert f"{label} is not complete ({kind.flag}): only what it has is compared" in said(*arguments)


def test_tables_put_it_in_a_column_of_its_own_or_flag_its_cells(
    results: Path, label: str, kind: Kind, said: Callable[..., str]
) -> None:
    told = said("table", "--results", results)
    (line,) = [line for line in told.split("| ") if line.startswith(label)]
    assert line
    assert f"({kind.flag})" in told if kind.flag else "partial" not in told
    assert told.count("mIoU_full ↑") == (2 if kind.unlike else 1)
    assert "cells measured" in said("tables", "--results", results, "--out", results.parent / "tables")


def test_the_report_says_its_state(results: Path, kind: Kind, said: Callable[..., str]) -> None:
    said("report", "--results", results, "--draws", "10", "--gallery", "0", "--protocol", "pooled/1")
    page = (results / "report" / "index.html").read_text()
    assert kind.flag in page
    assert ('"data":["squares/test"]' in page) == (not kind.unlike)


@pytest.mark.parametrize("label", ["at-work", "failing", "detected", "other-options"], indirect=True)
def test_figures_draw_other_data_apart(results: Path, kind: Kind, said: Callable[..., str]) -> None:
    written = said("figure", "curve", "--results", results).split()
    assert len([name for name in written if name.endswith(".png")]) == (2 if kind.unlike else 1)


def test_commands_on_one_run_say_that_it_is_not_complete(
    run: Path, kind: Kind, said: Callable[..., str], tmp_path: Path
) -> None:
    for told in (said("audit", run), said("export-run", run, "--out", tmp_path / "run.json")):
        assert (f"the run is not complete ({kind.flag})" in told) == bool(kind.flag)


def test_seeds_on_unlike_instances_are_not_averaged(tmp_path: Path, said: Callable[..., str]) -> None:
    results = tmp_path / "results"
    healthy(results)
    source = next((results / "squares" / "test" / "dilate").iterdir())
    record(lambda r: r["spec"].update(seed=0))(source)
    twin = damaged(results, "dilate-seed-1", rows(8, status="partial"))
    record(lambda r: (r.update(preset="dilate"), r["spec"].update(seed=1)))(twin)
    sentence = "dilate on squares/test: seeds on unlike instances are not averaged: seed 1 has 8, seed 0 24"
    for told in (said("table", "--results", results), said("score", results)):
        assert sentence in told
        assert "of 2 seeds" not in told


def test_seeds_on_the_same_instances_are_averaged(tmp_path: Path, said: Callable[..., str]) -> None:
    results = tmp_path / "results"
    healthy(results)
    twin = damaged(results, "dilate-seed-1", lambda run: None)
    record(lambda r: (r.update(preset="dilate"), r["spec"].update(seed=1)))(twin)
    assert "mean and sd of 2 seeds" in said("table", "--results", results)
    assert "dilate, mean ± sd of 2 seeds" in said("score", results)


@pytest.mark.parametrize("depth", [0, 1, 2, 3, 4])
def test_any_folder_above_runs_is_scored(depth: int, tmp_path: Path, said: Callable[..., str]) -> None:
    run = next((healthy(tmp_path / "results") / "squares" / "test" / "dilate").iterdir())
    above = [run, *run.parents][depth]
    assert "dilate" in said("score", above)


def test_a_folder_without_runs_is_named(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="holds no run: name a folder results/DATASET/SPLIT/METHOD/KEY"):
        ab.open_run(tmp_path)


def test_ties_are_best_together(tmp_path: Path, said: Callable[..., str]) -> None:
    results = tmp_path / "results"
    healthy(results)
    damaged(results, "copy", lambda run: None)
    told = said("table", "--results", results, "--method", "dilate,copy", "--metrics", "mIoU_full", "--no-floor")
    assert told.count("**55.7**") == 2
