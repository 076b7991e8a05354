"""Figures: which rows they choose, that what is drawn is what was scored, and what they refuse."""

import copy
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import PIL.Image
import pytest
from matplotlib.text import Text

from amodal_bench.cli import application
from amodal_bench.errors import DatasetNotReady, Refused, UnknownName
from amodal_bench.figures import pictures, style
from amodal_bench.figures.bars import bar_figure
from amodal_bench.figures.curves import TENTHS, curve_figure, points
from amodal_bench.figures.grid import grid_figure, scores
from amodal_bench.figures.pick import choose, parse_rules
from amodal_bench.figures.scatter import paired, scatter_figure
from amodal_bench.figures.source import SampleSource, open_source, predicted_masks
from amodal_bench.metrics.protocol import find_protocol, with_buckets
from amodal_bench.metrics.scores import by_instance, metrics
from amodal_bench.resolve.locate import DataFlags
from amodal_bench.results.finished import FinishedRun
from amodal_bench.results.select import RunQuery, labelled, results_runs
from amodal_bench.text.printable import printable
from amodal_bench.types import AmodalQuery, AmodalSample

Cli = Callable[..., subprocess.CompletedProcess[str]]
MEAN = find_protocol("instance-mean/1")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The golden runs on squares."""
    folder = tmp_path_factory.mktemp("figures") / "results"
    shutil.copytree(Path(__file__).parent / "data" / "runs" / "squares", folder / "squares")
    return folder


@pytest.fixture
def runs(results: Path) -> list[FinishedRun]:
    return labelled(results_runs(results).select(RunQuery(methods=["visible", "convex_hull"])).runs)


@pytest.fixture
def source(runs: list[FinishedRun], plugins: Path) -> SampleSource:
    return open_source(runs[0], DataFlags(), [plugins / "squares.py"])


TABLE = pd.DataFrame(
    {
        "id": ["d/s/i/0", "d/s/i/1", "d/s/i/2", "d/s/i/3", "d/s/i/4"],
        "a": [50.0, 10.0, 90.0, np.nan, 55.0],
        "b": [50.0, 80.0, 85.0, 10.0, 50.0],
    }
)

app = application()


@pytest.mark.parametrize(
    ("rules", "wanted"),
    [
        ("worst:2", "10"),
        ("best:2", "24"),
        ("median:3", "042"),
        ("difference:2", "12"),
        ("worst:1,best:1,d/s/i/3", "123"),
        ("best:9", "2401"),
        ("best:1,worst:9", "2104"),
    ],
)
def test_rows_are_chosen_by_rule(rules: str, wanted: str) -> None:
    assert [id[-1] for id in choose(parse_rules(rules), TABLE)] == list(wanted)


def test_random_rows_depend_on_the_seed_and_the_id_alone() -> None:
    first = choose(parse_rules("random:3"), TABLE, seed=1)
    assert first == choose(parse_rules("random:3"), TABLE[::-1], seed=1)
    assert {tuple(choose(parse_rules("random:2"), TABLE, seed=seed)) for seed in range(8)} != {tuple(first[:2])}


@pytest.mark.parametrize("text", ["worst", "worst:0", "nicest:3", "", "worst:3,"])
def test_other_rows_are_refused(text: str) -> None:
    with pytest.raises(Refused, match=r"--rows takes worst:K, best:K.*got"):
        parse_rules(text)


def test_rows_that_are_not_there_are_refused() -> None:
    with pytest.raises(Refused, match="--rows a/b/c/9: not among the 5 instances that all the shown runs have"):
        choose(parse_rules("a/b/c/9"), TABLE)
    with pytest.raises(Refused, match="difference:K needs two methods: --method A,B"):
        choose(parse_rules("difference:2"), TABLE.drop(columns="b"))


def test_runs_come_in_the_order_of_the_methods(results: Path) -> None:
    query = RunQuery(methods=["visible", "convex_hull"], datasets=["squares"], split="test")
    chosen = results_runs(results).select(query).runs
    assert [run.label for run in chosen] == ["visible", "convex_hull"]


def test_runs_that_are_not_there_are_refused(results: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"unknown method among the runs .* 'visibel'. Did you mean 'visible'\?"):
        results_runs(results).select(RunQuery(methods=["visibel"]))
    with pytest.raises(Refused, match="no finished run of any method split val, of 3 that can be read"):
        results_runs(results).select(RunQuery(split="val"))
    with pytest.raises(Refused, match="holds no run yet: `amodal-bench bench` makes some"):
        app(["figure", "bars", "--results", str(tmp_path)], standalone_mode=False)


def test_a_curve_draws_the_scores_of_its_buckets(runs: list[FinishedRun]) -> None:
    protocol = with_buckets(MEAN, TENTHS)
    figure = curve_figure(runs, protocol, ["mIoU_full", "mIoU_inv"])
    table = metrics(runs[1].instances, protocol)
    full = table[(table["metric"] == "mIoU_full") & (table["subset"] == "bucket") & (table["n"] > 0)]
    line = figure.axes[0].lines[1]
    assert line.get_label() == "convex_hull"
    np.testing.assert_allclose(np.asarray(line.get_ydata(), dtype=float), full["value"])
    assert np.asarray(line.get_xdata(), dtype=float)[0] == 0
    assert points(runs[0], MEAN)["rate"].iloc[-1] == pytest.approx(0.8)


def test_a_scatter_pairs_instances_by_id(runs: list[FinishedRun]) -> None:
    table = paired(runs[0], runs[1], MEAN, "mIoU_inv")
    assert len(table) == 21  # three of the 24 are in full view
    figure = scatter_figure(runs[0], runs[1], MEAN, "mIoU_full")
    assert figure.axes[0].get_xlabel() == "visible: IoU (%)\nmean 60.0, better in 0 %"
    assert figure.axes[0].get_ylabel() == "convex_hull: IoU (%)\nmean 75.0, better in 42 %"


def test_names_are_written_out(runs: list[FinishedRun], tmp_path: Path) -> None:
    """No formula, no control character; a name that begins with an underscore has its place in the legend."""
    hostile = [run.called(f"_{k} $\\frac{{$ \x1b", "a$b$\n\u202ec") for k, run in enumerate(runs)]
    name, data = "_{} \\$\\frac{{\\$ \\x1b", "a\\$b\\$\\n\\u202ec"
    figures = {
        "curve": curve_figure(hostile, MEAN, ["mIoU_full"]),
        "bars": bar_figure(hostile, MEAN, ["mIoU_full"]),
        "scatter": scatter_figure(hostile[0], hostile[1], MEAN, "mIoU_full"),
    }
    for kind, figure in figures.items():
        style.save(figure, tmp_path / f"{kind}.png", 50)
        texts = [text.get_text() for text in figure.findobj(Text)]
        assert all(any(text.startswith(name.format(k)) for text in texts) for k in (0, 1))
        assert any(text.startswith(data) for text in texts)
        assert [text for text in texts if text != printable(text, keep="\n")] == []


def test_many_instances_are_drawn_as_density(runs: list[FinishedRun], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("amodal_bench.figures.scatter.MANY", 5)
    figure = scatter_figure(runs[0], runs[1], MEAN, "mIoU_full")
    assert figure.axes[1].get_ylabel() == "instances"


def test_bars_have_the_height_of_the_score(runs: list[FinishedRun]) -> None:
    axes = bar_figure(runs, MEAN, ["mIoU_full", "mIoU_inv"]).axes
    heights = [[bar.get_height() for bar in panel.patches] for panel in axes]  # type: ignore[attr-defined]
    assert np.round(heights, 2).tolist() == [[60.0, 75.0], [0.0, 47.62]]


def test_a_grid_has_a_row_an_instance_and_says_its_score(runs: list[FinishedRun], source: SampleSource) -> None:
    figure = grid_figure(runs, source, MEAN, "mIoU_full", parse_rules("worst:1,best:1"))
    titles = [axes.get_title() for axes in figure.axes[:7]]
    assert titles == ["image", "given: visible", "visible", "convex_hull", "truth", "errors: visible",
                      "errors: convex_hull"]  # fmt: skip
    assert len(figure.axes) == 14
    assert figure.axes[2].get_xlabel() == "IoU 10.0"


def test_the_error_map_has_one_colour_a_kind() -> None:
    picture = np.full((4, 5, 3), 255, dtype=np.uint8)
    amodal = np.array([[1, 1, 1, 1, 0]] * 4, dtype=np.bool_)
    visible = np.array([[1, 1, 0, 0, 0]] * 4, dtype=np.bool_)
    predicted = np.array([[1, 0, 1, 0, 1]] * 4, dtype=np.bool_)
    row = pictures.error_map(picture, predicted, amodal, visible)[3]
    wanted = [pictures.ERRORS[name] for name in
              ("visible, found", "visible, missed", "hidden, found", "hidden, missed", "spill")]  # fmt: skip
    assert np.abs(row - np.asarray(wanted, dtype=float)).max() <= 0.12 * 255 + 1


@pytest.mark.parametrize("shape", [(40, 90), (90, 40), (12, 12), (1, 1)])
@pytest.mark.parametrize("pixel", [(0, 0), (-1, -1)])
def test_a_crop_holds_the_object_whole(shape: tuple[int, int], pixel: tuple[int, int]) -> None:
    mask = np.zeros(shape, dtype=np.bool_)
    mask[pixel] = True
    crop = pictures.crop_around(mask)
    window = pictures.cut_mask(mask, crop, crop.side)
    assert window.sum() == 1
    image = np.repeat(mask[..., None], 3, axis=2).astype(np.uint8) * 255
    assert pictures.cut(image, crop, 64).shape == (64, 64, 3)


def test_panels_show_the_mask_that_was_given() -> None:
    image = np.zeros((20, 20, 3), dtype=np.uint8)
    amodal, given = np.zeros((2, 20, 20), dtype=np.bool_)
    amodal[5:15, 5:15] = given[5:15, 5:8] = True
    query = AmodalQuery("d/s/i/0", "i", image, given)
    shown = pictures.panels(AmodalSample(query, amodal, true_visible=amodal), {"m": amodal}, 64)
    assert 0 < (shown.visible != 0).any(axis=2).sum() < (shown.truth != 0).any(axis=2).sum()
    assert set(shown.predicted) == set(shown.errors) == {"m"}


def test_the_same_figure_gives_the_same_bytes(runs: list[FinishedRun], tmp_path: Path) -> None:
    files = [style.save(bar_figure(runs, MEAN, ["mIoU_full"]), tmp_path / name / "f") for name in "ab"]
    assert [path.suffix for path in files[0]] == [".png", ".pdf"]
    for one, other in zip(*files, strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_other_data_than_the_run_had_are_refused(runs: list[FinishedRun], plugins: Path) -> None:
    runs[0].record["spec"]["fingerprint"] = "0" * 64
    with pytest.raises(DatasetNotReady, match=r"fingerprint c015154f, the run has 00000000\): name the right ones"):
        open_source(runs[0], DataFlags(), [plugins / "squares.py"])


def test_a_sample_or_prediction_that_is_not_there_is_refused(runs: list[FinishedRun], source: SampleSource) -> None:
    with pytest.raises(DatasetNotReady, match="Squares behind bars test has no instance squares/test/99/0 here"):
        source.sample("squares/test/99/0")
    with pytest.raises(Refused, match="holds no prediction for squares/test/99/0: give its bench command again"):
        predicted_masks(runs[0], ["squares/test/99/0"])


def test_the_command_writes_png_and_pdf_into_the_report(cli: Cli, results: Path, plugins: Path) -> None:
    done = cli("figure", "grid", "-m", "visible,dilate", "--rows", "difference:2", "--results", results,
               "--plugin", plugins / "squares.py")  # fmt: skip
    assert done.returncode == 0, done.stderr
    folder = results / "report" / "figures"
    assert done.stdout.split() == [str(folder / f"grid-squares-test.{kind}") for kind in ("png", "pdf")]
    with PIL.Image.open(folder / "grid-squares-test.png") as picture:
        assert picture.width > 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("scatter",), "a scatter takes two runs of one dataset, got 3 (convex_hull, dilate, visible)"),
        (("curve", "--metric", "miou"), "unknown metric 'miou'. Did you mean 'mIoU'?"),
        (
            ("bars", "--protocol", "deocclusion/1", "--metric", "mIoU_inv"),
            "deocclusion/1 has no mIoU_inv: take another --protocol, or a metric that it has: mIoU_full, Dice",
        ),
        (("bars", "--out", "x.svg"), "--out x.svg: a figure is .png or .pdf (without a suffix: both), got .svg"),
    ],
)
def test_the_command_refuses_with_the_way_out(results: Path, arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(Refused) as caught:
        app(["figure", *arguments, "--results", str(results)], standalone_mode=False)
    assert message in str(caught.value)


def renamed(run: FinishedRun, preset: str) -> FinishedRun:
    other = copy.copy(run)
    other.record = {**run.record, "preset": preset}
    return other


@pytest.mark.parametrize("label", ["a", "b", "rate", "id"])
def test_a_run_that_is_called_like_a_column_keeps_its_own_scores(label: str, runs: list[FinishedRun]) -> None:
    named = labelled([renamed(runs[0], "first"), renamed(runs[1], label)])
    table = scores(named, MEAN, "mIoU_full").set_index("id")
    for run in named:
        own = by_instance(run.instances, MEAN).set_index("id")["iou_full"] * 100
        assert table[run.label].tolist() == own.loc[table.index].tolist()
