"""Exports of a run, and COCO's AP against pycocotools on the masks themselves."""

import csv
import io
import json
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pycocotools import mask as coco
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from typer.testing import CliRunner, Result

from amodal_bench.cli import application
from amodal_bench.errors import Refused
from amodal_bench.masks import rle
from amodal_bench.masks.counts import COLUMNS, venn
from amodal_bench.metrics.protocol import find_protocol
from amodal_bench.metrics.scores import by_instance
from amodal_bench.results.coco_results import average_precision, coco_results, csv_rows, has_scores, write_json
from amodal_bench.store import folder as store
from amodal_bench.types import Mask

app = application()

RUNS = Path(__file__).parent / "data" / "runs"


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def dilate() -> store.RunFolder:
    return next(f for f in store.find_runs(RUNS) if f.record()["preset"] == "dilate")


def invented(rng: np.random.Generator) -> tuple[pd.DataFrame, list[tuple[str, Mask, Mask, float]]]:
    """30 images of one to three far-apart objects, predictions of differing quality, scores of little worth."""
    rows, masks = [], []
    for image in range(30):
        for index in range(int(rng.integers(1, 4))):
            amodal = np.zeros((40, 120), dtype=np.bool_)
            amodal[5:35, 40 * index + 4 : 40 * index + 34] = True
            visible = amodal.copy()
            visible[:, : 40 * index + 4 + int(rng.integers(0, 25))] = False
            predicted = np.roll(amodal, int(rng.integers(-9, 10)), axis=1)
            score = float(rng.random())
            id = f"x/test/{image}/{index}"
            counts = dict(zip(COLUMNS, venn(predicted, amodal, visible), strict=True))
            facts = {"id": id, "image_id": str(image), "ann_id": str(index), "group_id": str(image), "status": "ok"}
            rows.append({**facts, "score": score, **counts})
            masks.append((str(image), predicted, amodal, score))
    return pd.DataFrame(rows), masks


def reference(masks: list[tuple[str, Mask, Mask, float]], ignored: set[int]) -> list[float]:
    """AP, AP50, AP75, AR by pycocotools on the masks; `ignored` truths as crowds without the crowd's IoU."""
    truth = [
        {"id": k + 1, "image_id": int(i), "category_id": 1, "segmentation": rle.encode(a), "iscrowd": 0,
         "area": 1e9 if k in ignored else float(a.sum())}
        for k, (i, _, a, _) in enumerate(masks)
    ]  # fmt: skip
    guesses = [
        {"image_id": int(i), "category_id": 1, "segmentation": rle.encode(p), "score": s} for i, p, _, s in masks
    ]
    with redirect_stdout(io.StringIO()):
        index = COCO()
        images = [{"id": image, "height": 40, "width": 120} for image in sorted({int(i) for i, *_ in masks})]
        index.dataset = {"images": images, "annotations": truth, "categories": [{"id": 1, "name": "x"}]}
        index.createIndex()
        evaluation = COCOeval(index, index.loadRes(guesses), "segm")
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e8]], ["all"]  # an area of 1e9 is ignored
        evaluation.evaluate()
        evaluation.accumulate()
    precision, recall = evaluation.eval["precision"][..., 0, -1], evaluation.eval["recall"][..., 0, -1]
    return [100 * float(v.mean()) for v in (precision, precision[0], precision[5], recall)]


def test_averages_are_those_of_pycocotools_on_the_masks(rng: np.random.Generator) -> None:
    rows, masks = invented(rng)
    rates = by_instance(rows, find_protocol("instance-mean/1"))["rate"]
    for name, average in zip(
        ("all", "heavy"), average_precision(rows, {"all": "[0, 1]", "heavy": "[0.25, 1]"}), strict=True
    ):
        ignored = set() if name == "all" else set(np.flatnonzero(rates < 0.25).tolist())
        found = [average.ap, average.ap50, average.ap75, average.ar]
        assert found == pytest.approx(reference(masks, ignored), abs=1e-9), name
        assert average.n == len(masks) - len(ignored)
        assert 20 < average.ap < 95


def test_perfect_predictions_have_100_and_an_empty_range_has_none(rng: np.random.Generator) -> None:
    _, masks = invented(rng)
    rows = pd.DataFrame(
        [
            {"id": str(k), "image_id": i, "status": "ok", "score": None, "group_id": i,
             **dict(zip(COLUMNS, venn(a, a, a), strict=True))}
            for k, (i, _, a, _) in enumerate(masks)
        ]
    )  # fmt: skip
    averages = {a.name: a for a in average_precision(rows)}
    assert [averages["all"].ap, averages["none"].ar] == [100.0, 100.0]
    assert np.isnan(averages["heavy"].ap)
    assert averages["heavy"].n == 0
    assert not has_scores(rows)


def test_coco_results_hold_the_masks_and_say_one_where_there_is_no_score() -> None:
    folder = dilate()
    rows, predictions = folder.instances(), folder.predictions()
    entries = json.loads(write_json(coco_results(rows, predictions)))
    assert [entry["id"] for entry in entries] == rows["id"].tolist()
    for entry, row in zip(entries, rows.to_dict("records"), strict=True):
        mask = coco.decode(entry["segmentation"])
        assert int(mask.sum()) == sum(row[f"v{k}"] for k in (1, 3, 5, 7))
        assert (entry["score"], entry["category_id"], str(entry["ann_id"])) == (1.0, 1, row["ann_id"])
    assert entries[0]["image_id"] == "00"  # no number that would be written otherwise


def test_instances_with_errors_are_left_out_of_coco_and_kept_without_scores_in_csv() -> None:
    folder = dilate()
    rows, predictions = folder.instances(), folder.predictions()
    rows.loc[3, ["status", "error"]] = ["error", 'it said "no", <b>']
    kept = coco_results(rows, pa.table(predictions))
    assert len(kept) == len(rows) - 1
    lines = list(csv.DictReader(io.StringIO(csv_rows(rows, find_protocol("instance-mean/1")))))
    assert len(lines) == len(rows)
    assert (lines[3]["iou_full"], lines[3]["error"]) == ("", 'it said "no", <b>')
    wanted = by_instance(folder.instances(), find_protocol("instance-mean/1"))
    assert float(lines[5]["iou_full"]) == pytest.approx(wanted["iou_full"][5], abs=1e-9)


def test_the_command_writes_files_and_prints_averages(tmp_path: Path) -> None:
    run = dilate().path
    out = tmp_path / "made" / "run.json"
    done = call("export-run", run, "--out", out, "--ap")
    assert done.exit_code == 0, done.output
    assert len(json.loads(out.read_text())) == 24
    assert "AP50" in done.output
    assert "the method gives no scores: all count as 1" in done.output
    assert call("export-run", run, "--format", "csv", "--out", tmp_path / "run.csv").exit_code == 0
    assert len((tmp_path / "run.csv").read_text().splitlines()) == 25


def test_the_command_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    run = dilate().path
    for arguments, message in (
        ([run], "nothing to do: give --out FILE, or --ap, or both"),
        ([run, "--format", "xml", "--out", "x"], "--format takes coco or csv, got 'xml'"),
        ([tmp_path, "--ap"], "holds no run"),
    ):
        done = call("export-run", *arguments)
        assert isinstance(done.exception, Refused)
        assert message in str(done.exception)
