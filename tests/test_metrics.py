"""The table of metrics: each entry against a loop over pixels, and one more entry is all that one more metric takes."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from typer.testing import CliRunner

import amodal_bench as ab
from amodal_bench.cli import application
from amodal_bench.errors import Refused, UnknownName
from amodal_bench.figures.curves import curve_figure
from amodal_bench.figures.scatter import paired
from amodal_bench.masks.counts import COLUMNS, GIVEN_COLUMNS, venn
from amodal_bench.metrics import table
from amodal_bench.metrics.compare import compare
from amodal_bench.metrics.protocol import Protocol, find_protocol
from amodal_bench.metrics.scores import by_instance, metrics, score
from amodal_bench.metrics.table import METRICS, A, Metric, P, V, find_metric, find_metrics, held, weights
from amodal_bench.report.numbers import cells
from amodal_bench.results.finished import load
from amodal_bench.results.select import RunQuery, labelled, results_runs
from amodal_bench.store.folder import find_runs
from amodal_bench.tables.measured import TableRequest, build
from amodal_bench.types import Mask

RUNS = Path(__file__).parent / "data" / "runs"
MEAN = find_protocol("instance-mean/1")
KINDS: dict[
    str, Callable[[bool, bool, bool], tuple[int, int]]
] = {  # of a pixel that is predicted, amodal and visible: what it adds to the numerator and to the denominator
    "mIoU_full": lambda p, a, v: (p and a, p or a),
    "mIoU_inv": lambda p, a, v: (p and a and not v, (p or a) and not v),
    "hidden_recall": lambda p, a, v: (p and a and not v, a and not v),
    "hidden_precision": lambda p, a, v: (p and a and not v, p and not v),
    "Dice_full": lambda p, a, v: (2 * (p and a), int(p) + int(a)),
    "found": lambda p, a, v: (p and a, p or a),
    "visible_missed": lambda p, a, v: (a and v and not p, p or a),
    "hidden_missed": lambda p, a, v: (a and not v and not p, p or a),
    "spill": lambda p, a, v: (p and not a, p or a),
}
COUNTED = [metric for metric in METRICS if not metric.measure]
Masks = arrays.arrays(np.bool_, (4, 4, 5))  # predicted, amodal, visible, given


def frame_of(masks: Mask, wide: bool) -> pd.DataFrame:
    """One instance of masks (4, H, W)."""
    counts = venn(masks[0], masks[1], masks[2], masks[3] if wide else None)
    names = [*COLUMNS, *(GIVEN_COLUMNS if wide else ())]
    return pd.DataFrame([counts], columns=names).assign(group_id="0", id="d/s/0/0")


def by_pixel(masks: Mask, wide: bool, rules: Protocol, name: str) -> float:
    """The loop over pixels; NaN where undefined."""
    top = bottom = 0
    for p, a, v, given_here in masks.reshape(4, -1).T.tolist():
        p = p or (rules.paste and (given_here if wide else v))
        v = v and (a or not rules.clip_visible)
        numerator, denominator = KINDS[name](p, a, v)
        top, bottom = top + numerator, bottom + denominator
    if bottom == 0 and rules.undefined == "one" and find_metric(name).counts == "full":
        return float(find_metric(name).higher_is_better)
    return top / bottom if bottom else math.nan


def test_every_metric_has_a_loop_and_its_line_in_the_documents() -> None:
    assert list(KINDS) == [metric.name for metric in COUNTED]
    page = (Path(__file__).parent.parent / "docs" / "metrics.md").read_text()
    names = [m.name if m.higher_is_better else f"{m.name} ↓" for m in METRICS]
    texts = [m.text.replace("|", r"\|") for m in METRICS]
    lines = [
        f"| {name} | {m.column} | {text} | {m.counts} |" for name, text, m in zip(names, texts, METRICS, strict=True)
    ]
    assert [line for line in page.splitlines() if line.startswith("| ")][2:] == lines


@pytest.mark.parametrize("wide", [False, True])
@given(
    masks=Masks,
    paste=st.booleans(),
    clip=st.booleans(),
    undefined=st.sampled_from(["skip", "one"]),
    aggregate=st.sampled_from(["mean", "pooled"]),
)
def test_every_metric_is_a_loop_over_pixels(
    wide: bool, masks: Mask, paste: bool, clip: bool, undefined: str, aggregate: str
) -> None:
    update = {"paste": paste, "clip_visible": clip, "undefined": undefined, "aggregate": aggregate, "invisible": "all"}
    rules = MEAN.model_copy(update={**update, "unmatched": "zero"})
    frame = frame_of(masks, wide)
    scores = score(frame, rules)
    columns = by_instance(frame, rules, COUNTED)
    rows = metrics(frame, rules, draws=0, metrics=COUNTED).query("subset == 'all'").set_index("metric")
    for metric in COUNTED:
        wanted = by_pixel(masks, wide, rules, metric.name)
        for found in (scores.values(metric)[0], columns[metric.column].item(), rows["value"][metric.name] / 100):
            assert found == pytest.approx(wanted, nan_ok=True, abs=1e-12), metric.name
        assert rows["n"][metric.name] == (not math.isnan(wanted))


def test_a_metric_of_the_hidden_part_counts_who_the_protocol_says(rng: np.random.Generator) -> None:
    masks = rng.random((4, 6, 6)) < 0.5
    masks[2] = masks[1]  # in full view
    frame = frame_of(masks, wide=False)
    asked = ["hidden_precision", "Dice_full"]
    assert metrics(frame, MEAN, draws=0, metrics=asked).query("subset == 'all'")["n"].tolist() == [0, 1]
    everyone = MEAN.model_copy(update={"invisible": "all"})
    assert metrics(frame, everyone, draws=0, metrics=asked).query("subset == 'all'")["n"].tolist() == [1, 1]
    assert by_instance(frame, MEAN, asked)["hidden_precision"].isna().all()


def test_weights_add_up_areas() -> None:
    assert weights(P & A) == (0, 0, 0, 1, 0, 0, 0, 1)
    assert weights(P, A) == (0, 1, 1, 2, 0, 1, 1, 2)
    assert weights(P & A & ~V) == (0, 0, 0, 1, 0, 0, 0, 0)


def test_names_of_other_papers_and_unknown_ones() -> None:
    assert find_metrics(["mIoU", "mIoU_occ", "inv_mIoU", "mIoU_full"]) == find_metrics(None)
    with pytest.raises(
        UnknownName, match=r"unknown metric 'hidden_recal'. Did you mean 'hidden_recall'\? Known: Dice_"
    ):
        ab.score(pd.DataFrame(), metrics=["hidden_recal"])
    with pytest.raises(
        Refused,
        match="protocol deocclusion/1 has no mIoU_inv and no hidden_recall: take another --protocol, or a metric that "
        "it has: mIoU_full, Dice_full, found, visible_missed, hidden_missed, spill",
    ):
        held(find_metrics(["mIoU_inv", "hidden_recall"]), find_protocol("deocclusion/1"))


def call(*arguments: str | Path) -> str:
    done = CliRunner().invoke(application(), [str(argument) for argument in arguments], env={"COLUMNS": "200"})
    if done.exception:
        raise done.exception
    return done.output


@pytest.mark.parametrize("command", [("score", RUNS), ("compare", "visible", "dilate", "-d", "squares")])
def test_commands_refuse_metrics_that_are_not_there(command: tuple[str | Path, ...]) -> None:
    more = ("--results", RUNS) if command[0] == "compare" else ()
    with pytest.raises(UnknownName, match="Did you mean 'spill'"):
        call(*command, *more, "--metrics", "spil")
    with pytest.raises(Refused, match="protocol deocclusion/1 has no hidden_recall: take another --protocol"):
        call(*command, *more, "--metrics", "hidden_recall", "--protocol", "deocclusion/1")


def test_a_lower_share_of_errors_is_better() -> None:
    runs = {run.name: run.instances for run in results_runs(RUNS).runs if run.spec["dataset"] == "squares"}
    found = compare(runs["convex_hull"], runs["visible"], MEAN, draws=100, metrics=["hidden_missed"]).metrics.iloc[0]
    assert found["difference"] == pytest.approx(-15)
    assert (found["wins"], found["losses"]) == (10, 0)
    sheet = build(
        results_runs(RUNS),
        TableRequest([MEAN], query=RunQuery(datasets=["squares"]), metrics=["hidden_missed"], floor=False),
    )
    ranks = {labels[0]: cells[0].rank for labels, cells in sheet.rows}
    assert ranks == {"convex_hull": "second", "dilate": "best", "visible": ""}
    assert not sheet.columns[0].higher_is_better
    assert "hidden_missed ↓" in call("score", RUNS, "--metrics", "hidden_missed")


@pytest.fixture
def jaccard_distance(monkeypatch: pytest.MonkeyPatch) -> Metric:
    """One more entry: 1 - IoU, which is easily told from the others."""
    entry = Metric(
        "distance", "jaccard", "Jaccard distance", weights((P | A) & ~(P & A)), weights(P | A), higher_is_better=False
    )
    monkeypatch.setattr(table, "METRICS", (*table.METRICS, entry))
    return entry


def test_one_entry_is_all_that_a_new_metric_takes(jaccard_distance: Metric) -> None:
    run = next(folder for folder in find_runs(RUNS) if folder.record()["preset"] == "dilate")
    frame = ab.open_run(run.path).frame(metrics=["mIoU_full", "distance"])
    assert (1 - frame["iou_full"]).tolist() == pytest.approx(frame["jaccard"].tolist())
    full = ab.score(frame)["value"][0]
    assert ab.score(frame, metrics=["distance"])["value"][0] == pytest.approx(100 - full)
    text = f"{100 - full:.2f}"
    assert text in call("score", run.path, "--metrics", "distance")
    found = call("compare", "dilate", "visible", "-d", "squares", "--results", RUNS, "--metrics", "distance")
    assert text in found
    in_table = call("table", "--results", RUNS, "-d", "squares", "--metrics", "mIoU,distance", "--digits", "2")
    assert text in in_table


def test_figures_and_report_draw_the_new_entry(jaccard_distance: Metric, tmp_path: Path) -> None:
    presets = {folder.record()["preset"]: folder for folder in find_runs(RUNS) if folder.spec().dataset == "squares"}
    runs = labelled([load(presets[name]) for name in ("dilate", "visible")])
    frame = runs[0].instances
    wanted = 100 * by_instance(frame, MEAN, ["distance"])["jaccard"]
    assert paired(runs[0], runs[1], MEAN, "distance")["a"].tolist() == pytest.approx(wanted.tolist())
    (axes, _) = curve_figure(runs, MEAN, ["distance"]).axes
    assert axes.get_title(loc="left") == "distance (%)"
    done = call("figure", "bars", "--results", RUNS, "--metric", "distance", "--out", tmp_path / "bars.png")
    assert (tmp_path / "bars.png").is_file(), done
    cell = cells(runs[0], [MEAN], draws=50)["instance-mean/1"]["all"]["distance"]
    assert cell[0] == f"{wanted.mean():.2f}"
    assert float(cell[1]) < float(cell[0]) < float(cell[2])
