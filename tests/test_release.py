"""Whether a run's files are the published ones: said by `bench`, kept in the record, out of papers' tables."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from amodal_bench.formats.release import release_of, unlike_published
from amodal_bench.resolve.job import open_dataset
from amodal_bench.resolve.locate import DataFlags
from amodal_bench.resolve.registry import Registry
from amodal_bench.results.select import results_runs
from amodal_bench.tables.paper import PaperTable
from amodal_bench.tables.render import to_markdown
from amodal_bench.tables.spec import find_table
from tests.conftest import Cli

OTHER = "not the published data (images: 3, published 7,517)"
PLUGINS = Path(__file__).parent / "plugins"


@pytest.fixture
def squares_as_kins(tmp_path: Path, cli: Cli) -> Path:
    """Made scenes in KINS' layout, three images of the split test."""
    out = tmp_path / "kins"
    arguments = ("export", "squares", "--plugin", PLUGINS / "squares.py", "--format", "kins-2020", "--limit", "8")
    done = cli(*arguments, "--split", "test", "--target-split", "test", "--out", out)
    assert done.returncode == 0, done.stderr
    return out


def test_files_in_a_published_layout_fill_no_cell_unmarked(squares_as_kins: Path, tmp_path: Path, cli: Cli) -> None:
    results = ("--results", tmp_path / "results")
    done = cli("bench", "-m", "visible", "-d", "kins", "--root", squares_as_kins, *results)
    assert done.returncode == 0, done.stderr
    assert f"{OTHER}; it fills no cell of a paper's table" in " ".join(done.stdout.split())
    assert f"visible: {OTHER}" in cli("score", tmp_path / "results").stdout
    (run,) = results_runs(tmp_path / "results").runs
    assert (run.state, run.other_data) == ("complete", OTHER)
    assert f"{run.address} is on {OTHER}." in cli("table", *results).stdout
    cli("report", *results, "--gallery", "0", "--draws", "10", "--protocol", "pooled/1")
    assert OTHER in (tmp_path / "results" / "report" / "index.html").read_text()
    told = cli("tables", "conddiff-3", *results, "--out", tmp_path / "tables").stdout
    assert f"visible on KINS: not shown, {run.address} is on {OTHER}" in " ".join(told.split())
    assert "0 of" in told
    assert "2 of" in cli("tables", "conddiff-3", "--other-data", *results, "--out", tmp_path / "tables").stdout
    table = PaperTable(find_table("conddiff-3"), results_runs(tmp_path / "results"), other_data=True)
    assert "(other data)" in to_markdown(table.sheet())
    assert all(cell.rank == "" for _, cells in table.sheet().rows for cell in cells if cell.flag)


def of_card(dataset: Any, **facts: Any) -> Any:
    dataset.card = dataclasses.replace(dataset.card, **{"embedded": False, **facts})
    return dataset


@pytest.mark.parametrize(
    ("published", "text"),
    [
        ({}, ""),
        ({"images": 8, "annotations": 24}, ""),
        ({"images": 8, "instances": 99}, ""),  # options leave instances out
        ({"images": 9}, "not the published data (images: 8, published 9)"),
        ({"images": 7}, "not the published data (images: 8, published 7)"),
        ({"annotations": 25}, "not the published data (annotations: 24, published 25)"),
        (
            {"images": 1000, "groups": 900},
            "not the published data (images: 8, published 1,000; groups: 8, published 900)",
        ),
    ],
)
def test_counts_tell_where_no_release_is_known(published: dict[str, int], text: str) -> None:
    dataset = of_card(squares(), splits={"test": published})
    assert unlike_published(dataset) == text
    known = of_card(squares(), splits={"test": published}, releases={dataset.fingerprint()[:8]: "of 2020"})
    assert (release_of(known), unlike_published(known)) == ("of 2020", "")
    assert unlike_published(of_card(squares(), splits={"test": published}, embedded=True)) == ""


def test_a_tenth_of_the_images_may_have_no_instance_that_is_kept() -> None:
    dataset = of_card(squares(count=30), splits={"test": {"images": 11}})
    assert unlike_published(dataset) == ""


def squares(**options: Any) -> Any:
    dataset, _, _ = open_dataset("squares", Registry([PLUGINS / "squares.py"]), "test", options, DataFlags())
    return dataset
