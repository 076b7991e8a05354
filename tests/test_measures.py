"""`measure`: the second loop over a run against loops over pixels; it is resumable, and stays beside the run."""

import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

import amodal_bench as ab
from amodal_bench.cli import application
from amodal_bench.errors import Incomplete, Refused, RunDamaged, UnknownName
from amodal_bench.masks import rle
from amodal_bench.metrics.pixels import MEASURES, Measure
from amodal_bench.metrics.protocol import find_protocol
from amodal_bench.metrics.scores import metrics
from amodal_bench.metrics.table import find_metrics
from amodal_bench.plugin import AnyDataset
from amodal_bench.progress import Silent
from amodal_bench.report.numbers import cells
from amodal_bench.resolve.job import Request, prepare
from amodal_bench.results.finished import load
from amodal_bench.results.measures import loop
from amodal_bench.results.measures.pieces import measure_piece
from amodal_bench.results.select import results_runs
from amodal_bench.results.verification.means import Means
from amodal_bench.running.predict import planned_sample
from amodal_bench.store.folder import RunFolder
from amodal_bench.tables.measured import TableRequest, build
from tests.pixel_loops import by_loop

PLUGINS = Path(__file__).parent / "plugins"
FILES = tuple(PLUGINS / f"{name}.py" for name in ("squares", "dilate"))
MEAN = find_protocol("instance-mean/1")
MEASURED = ["boundary_IoU_full", "boundary_IoU_inv", "eroded_IoU_inv"]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of `dilate` on `squares`."""
    return ab.bench("dilate", "squares", plugins=FILES, results=tmp_path_factory.mktemp("measured")).path


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A copy, in its place under a results folder."""
    path = tmp_path / "results" / "squares" / "test" / "dilate" / made.name
    shutil.copytree(made, path)
    return path


def measure(run: Path, *names: str, **means: Any) -> None:
    ab.measure(run, names or tuple(MEASURES), plugins=FILES, **means)


def by_hand(run: Path) -> dict[str, dict[str, tuple[int, int]]]:
    """Every instance of the run measured from its files by the loops above."""
    dataset = prepare(Request(method="visible", dataset="squares", plugins=FILES)).dataset
    masks = {row["id"]: row for row in RunFolder(run).predictions().to_pylist()}
    found = {}
    for sample in dataset:
        row = masks[sample.query.id]
        predicted = rle.decode({"size": row["size"], "counts": row["counts"]})
        found[sample.query.id] = by_loop(predicted, sample.amodal, sample.visible & sample.amodal)
    return found


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_is_measured_and_scored(run: Path, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "PIECE", 7)
    measure(run, workers=workers)
    assert sorted(path.name for path in (run / "measures").glob("[!.]*")) == [
        "boundary.parquet", "ceilings.parquet", "eroded.parquet",
    ]  # fmt: skip
    frame = ab.open_run(run).frame(metrics=["mIoU_full", *MEASURED])
    wanted = by_hand(run)
    for kind, name in (("full", "boundary_full"), ("hidden", "boundary_hidden"), ("eroded", "eroded_hidden")):
        found = list(zip(frame[f"{name}_numerator"], frame[f"{name}_denominator"], strict=True))
        assert found == [wanted[id][kind] for id in frame["id"]]
    top, bottom = zip(*(wanted[id]["full"] for id in frame["id"]), strict=True)
    mean = 100 * np.mean(np.array(top) / np.array(bottom))
    table = ab.score(frame, metrics=MEASURED).query("subset == 'all'").set_index("metric")
    assert table["value"]["boundary_IoU_full"] == pytest.approx(mean)
    assert table["low"]["boundary_IoU_full"] < mean < table["high"]["boundary_IoU_full"]
    pooled = metrics(frame, find_protocol("pooled/1"), draws=0, metrics=["boundary_IoU_full"])
    assert pooled["value"][0] == pytest.approx(100 * sum(top) / sum(bottom))


def test_every_command_reads_a_measure(run: Path, made: Path, tmp_path: Path) -> None:
    results = run.parents[3]
    call("measure", run, "--plugin", FILES[0], "--metric", "boundary")
    value = ab.score(ab.open_run(run).frame(metrics=["boundary_IoU_full"]), metrics=["boundary_IoU_full"])["value"][0]
    assert f"{value:.2f}" in call("score", run, "--metrics", "boundary_IoU_full")
    other = results / "squares" / "test" / "other" / run.name
    shutil.copytree(run, other)
    assert f"{value:.2f}" in call("compare", run, other, "--metrics", "boundary_IoU_full")
    call("figure", "bars", "--run", run, "--metric", "boundary_IoU_full", "--out", tmp_path / "x.png")
    assert (tmp_path / "x.png").is_file()
    shutil.rmtree(other)
    sheet = build(results_runs(results), TableRequest([MEAN], metrics=["mIoU_full", "boundary_IoU_full"]))
    assert sheet.rows[0][1][1].value == pytest.approx(value)
    assert [labels[0] for labels, _ in sheet.rows][1:] == ["visible mask (from the counts)"]
    assert math.isnan(sheet.rows[1][1][1].value)
    assert cells(load(RunFolder(run)), [MEAN], 20)["instance-mean/1"]["all"]["boundary_IoU_full"][0] == f"{value:.2f}"
    assert "boundary_IoU_full" not in cells(load(RunFolder(made)), [MEAN], 20)["instance-mean/1"]["all"]


def call(*arguments: str | Path) -> str:
    done = CliRunner().invoke(application(), [str(argument) for argument in arguments], env={"COLUMNS": "200"})
    if done.exception:
        raise done.exception
    return done.output


def test_what_was_not_measured_is_refused_with_the_command(run: Path) -> None:
    for arguments in (("score", run), ("figure", "bars", "--run", run)):
        option = "--metrics" if arguments[0] == "score" else "--metric"
        with pytest.raises(Refused, match="has no measure eroded: make it with `amodal-bench measure") as caught:
            call(*arguments, option, "eroded_IoU_inv")
        assert f"{run} --metric eroded" in str(caught.value)
    frame = ab.open_run(run).frame()
    with pytest.raises(
        Refused, match=r"eroded_IoU_inv is measured from masks, and these rows have no column eroded_hidden_numerator: "
        r"make it with `amodal-bench measure RUN --metric eroded`; in Python, Run.frame\(metrics=\['eroded_IoU_inv'\]"
    ):  # fmt: skip
        ab.score(frame, metrics=["eroded_IoU_inv"])
    with pytest.raises(UnknownName, match=r"unknown measure 'bondary'\. Did you mean 'boundary'"):
        measure(run, "bondary")
    with pytest.raises(Refused, match="the run used the plugin squares"):
        ab.measure(run, ["boundary"])


def test_protocols_that_paste_or_do_not_clip_have_no_measure() -> None:
    (metric,) = find_metrics(["boundary_IoU_full"])
    assert [metric.within(find_protocol(name)) for name in ("pooled/1", "c2f-post/1", "c2f/1")] == [True, False, True]
    (metric,) = find_metrics(["boundary_IoU_inv"])
    assert [metric.within(find_protocol(name)) for name in ("pooled/1", "c2f-post/1", "c2f/1")] == [True, False, False]


class Cut(Silent):
    """A reporter that ends the loop after so many calls."""

    def __init__(self, after: int) -> None:
        self.left = after

    def advance(self, finished: int, failed: int) -> None:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt


def test_a_measure_that_was_cut_off_goes_on(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "PIECE", 5)
    means = Means(plugins=FILES, workers=1)
    with pytest.raises(KeyboardInterrupt):
        loop.measure(RunFolder(run), ["boundary"], means, Cut(2))
    parts = sorted((run / "measures" / "boundary.parts").iterdir())
    assert [path.name for path in parts] == [f"{start:010d}.parquet" for start in (0, 5, 10)]
    parts[1].write_bytes(b"cut")  # not whole: made again
    seen: list[int] = []

    def counted(dataset: AnyDataset, measures: Sequence[Measure], piece: pa.Table) -> pa.Table:
        seen.append(len(piece))
        return measure_piece(dataset, measures, piece)

    monkeypatch.setattr(loop, "measure_piece", counted)
    measure(run, "boundary", workers=1)
    assert sum(seen) == 24 - 10
    assert not (run / "measures" / "boundary.parts").exists()
    wanted = by_hand(run)
    frame = ab.open_run(run).frame(metrics=["boundary_IoU_full"])
    assert frame["boundary_full_denominator"].tolist() == [wanted[id]["full"][1] for id in frame["id"]]
    seen.clear()
    measure(run, "boundary", workers=1)  # nothing to do
    assert seen == []


def test_a_damaged_measure_is_named_and_made_again(run: Path) -> None:
    measure(run)
    path = run / "measures" / "eroded.parquet"
    path.write_bytes(path.read_bytes()[:-30])
    assert "boundary_IoU_full" in call("score", run, "--metrics", "boundary_IoU_full")
    with pytest.raises(RunDamaged) as caught:
        call("score", run, "--metrics", "eroded_IoU_inv")
    assert f"{path} cannot be read" in str(caught.value)
    assert f"make it again with `amodal-bench measure {run} --metric eroded`" in str(caught.value)
    measure(run)
    assert "eroded_IoU_inv" in call("score", run, "--metrics", "eroded_IoU_inv")


def test_a_measure_of_other_predictions_is_none_of_the_run(run: Path, tmp_path: Path) -> None:
    other = ab.bench("visible", "squares", plugins=FILES, results=tmp_path / "other").path
    measure(other)
    shutil.copytree(other / "measures", run / "measures")
    with pytest.raises(RunDamaged, match=r"boundary\.parquet is not of the predictions that its run has now"):
        ab.open_run(run).frame(metrics=["boundary_IoU_full"])
    measure(run)
    assert len(ab.open_run(run).frame(metrics=["boundary_IoU_full"])) == 24


def test_the_run_stays_what_it_was(run: Path) -> None:
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    assert ab.verify(run, plugins=FILES).ok
    measure(run)
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == before
    found = ab.verify(run, plugins=FILES)
    assert found.ok, found.differences
    assert RunFolder(run).complete
    assert not RunFolder(run).littered
    ab.bench("dilate", "squares", plugins=FILES, results=run.parents[3])  # nothing to do
    assert (run / "measures" / "boundary.parquet").is_file()


def test_instances_that_the_dataset_cannot_give_are_told_and_tried_again(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample_of = "amodal_bench.results.measures.pieces.planned_sample"
    monkeypatch.setattr("amodal_bench.results.measures.loop.PIECE", 6)

    def torn(dataset: Any, id: str, index: int) -> Any:
        if index == 7:
            raise OSError("torn")
        return planned_sample(dataset, id, index)

    monkeypatch.setattr(sample_of, torn)
    with pytest.raises(Incomplete, match=r"1 instances could not be measured, the first: squares/.*\(OSError: torn\)"):
        measure(run, "eroded", workers=1)
    assert len(list((run / "measures" / "eroded.parts").iterdir())) == 3
    monkeypatch.setattr(sample_of, planned_sample)
    measure(run, "eroded", workers=1)
    assert (run / "measures" / "eroded.parquet").is_file()
