"""Finished runs that are committed: they must open, score and come out of the harness as they did."""

import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pandas as pd
import pytest

import amodal_bench as ab
from amodal_bench.metrics import scores as scoring
from amodal_bench.metrics.protocol import protocols
from amodal_bench.store import folder as store

DATA = Path(__file__).parent / "data"
RUNS = {f.record()["preset"]: f for f in store.find_runs(DATA / "runs") if f.spec().dataset == "squares"}
AGAIN = "python -P tests/data/make_golden.py makes them anew, if the numbers are meant to change"

Cli = Callable[..., CompletedProcess[str]]


def test_there_are_three_whole_runs() -> None:
    assert sorted(RUNS) == ["convex_hull", "dilate", "visible"]
    assert {folder.record()["status"] for folder in RUNS.values()} == {"complete"}


@pytest.mark.parametrize("method", sorted(RUNS))
def test_a_stored_spec_still_has_its_key(method: str) -> None:
    folder = RUNS[method]
    assert folder.spec().key() == folder.path.name == folder.record()["key"]


@pytest.mark.parametrize("method", sorted(RUNS))
def test_scores_of_every_protocol_are_equal_to_nine_decimals(method: str) -> None:
    wanted = pd.read_csv(
        DATA / "golden" / f"{method}.csv", keep_default_na=False, na_values={"value": "", "low": "", "high": ""}
    )
    table = scoring.metrics(RUNS[method].instances(), list(protocols().values()))
    labels = ["protocol", "subset", "rates", "metric", "n", "n_undefined"]
    pd.testing.assert_frame_equal(table[labels], wanted[labels], check_dtype=False, obj=f"{method} ({AGAIN})")
    for column in ("value", "low", "high"):
        np.testing.assert_allclose(table[column], wanted[column], rtol=0, atol=1.01e-9, err_msg=f"{column}: {AGAIN}")


@pytest.mark.parametrize("method", sorted(RUNS))
def test_the_harness_finds_the_same_masks_and_counts_again(method: str, plugins: Path, tmp_path: Path) -> None:
    files = (plugins / "squares.py", plugins / "dilate.py")
    again = ab.bench(method, "squares", plugins=files, results=tmp_path, batch_size=5).folder
    pd.testing.assert_frame_equal(again.instances(), RUNS[method].instances(), obj=AGAIN)
    assert again.predictions().equals(RUNS[method].predictions()), AGAIN


def test_score_prints_the_headline_of_a_copied_run(cli: Cli, tmp_path: Path) -> None:
    shutil.copytree(RUNS["visible"].path, tmp_path / "copied")
    done = cli("score", tmp_path / "copied", "--protocol", "instance-mean/1,pooled/1")
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if line.split()[:1] == ["visible"]]
    # Rates 0, .1, ... .9, twice, and 0 to .3 once more: the mean of 1 - rate is 14.4 / 24.
    assert [row[1] for row in rows if len(row) > 8] == ["60.00", "60.00"]
