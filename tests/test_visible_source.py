"""Masks of a detector for the method, the truth for the metric."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import amodal_bench as ab
from amodal_bench.errors import Refused
from amodal_bench.formats.visible_entries import read_entries
from amodal_bench.masks import rle
from amodal_bench.metrics.protocol import find_protocol
from amodal_bench.metrics.scores import metrics
from amodal_bench.resolve.job import Request, prepare
from amodal_bench.resolve.predicted_visible import absolute, spelled, with_visible
from amodal_bench.results.coco_results import average_precision, coco_results
from amodal_bench.types import parse_id


@pytest.fixture
def squares(plugins: Path, tmp_path: Path) -> Any:
    return prepare(
        Request(method="visible", dataset="squares", plugins=(plugins / "squares.py",), results=tmp_path / "r")
    ).dataset


def detections(dataset: Any) -> list[dict[str, Any]]:
    """The visible masks moved one pixel down; none for the last instance; image and annotation ids as text or int."""
    found = []
    for sample in list(dataset)[:-1]:
        id = parse_id(sample.query.id)
        code = rle.encode(np.roll(sample.visible, 1, axis=0))
        segmentation = {"size": code["size"], "counts": code["counts"].decode()}
        found.append({"image_id": id.image, "ann_id": int(id.annotation), "segmentation": segmentation, "score": 0.9})
    return found


def test_the_method_gets_the_detection_and_the_metric_keeps_the_truth(
    squares: Any, plugins: Path, tmp_path: Path
) -> None:
    file = tmp_path / "detections.json"
    file.write_text(json.dumps(detections(squares)))
    arguments: dict[str, Any] = {"plugins": (plugins / "squares.py",), "results": tmp_path / "r"}
    truth = ab.bench("visible", "squares", **arguments)
    given = ab.bench("visible", "squares", visible=f"predicted:{file}", **arguments)
    assert given.path != truth.path
    assert re.fullmatch(r"predicted:[0-9a-f]{64},iou=0\.5,class_aware=false", given.record["spec"]["visible"])
    assert given.record["funnel"]["dropped"] == {}
    assert given.record["funnel"]["noted"] == {"no predicted visible mask": 1}
    frame = given.frame()
    expected = truth.frame().set_index("id").loc[frame["id"]]
    assert frame["rate"].tolist() == expected["rate"].tolist()  # of the truth, not of the detection
    matched = frame["iou_full"].notna()
    assert frame["id"][~matched].tolist() == [list(squares.ids())[-1]]
    # A row of each square is missed, and one is added.
    assert frame["iou_full"][matched].lt(expected["iou_full"].to_numpy()[matched]).all()
    assert frame["v8"].notna().all()
    counts = frame.loc[matched, [f"v{k}" for k in range(16)]].to_numpy()
    given_pixels = counts[:, 8:].sum(axis=1)
    assert given_pixels.tolist() == [mask["v"] for mask in _areas(squares, frame[matched])]


def _areas(dataset: Any, frame: pd.DataFrame) -> list[dict[str, int]]:
    by_id = {sample.query.id: int(sample.visible.sum()) for sample in dataset}
    return [{"v": by_id[id]} for id in frame["id"]]


def test_a_parquet_table_is_read_alike(squares: Any, tmp_path: Path) -> None:
    found = detections(squares)
    columns = {
        "image_id": [d["image_id"] for d in found],
        "ann_id": [str(d["ann_id"]) for d in found],
        "size": [d["segmentation"]["size"] for d in found],
        "counts": [d["segmentation"]["counts"].encode() for d in found],
    }
    pq.write_table(pa.table(columns), tmp_path / "d.parquet")
    (tmp_path / "d.json").write_text(json.dumps(found))
    one, two = (with_visible(squares, f"predicted:{tmp_path / name}") for name in ("d.parquet", "d.json"))
    assert list(one.ids()) == list(two.ids())
    assert all(np.array_equal(a.query.visible, b.query.visible) for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[{", "d.json: not valid JSON: it ends before its last bracket"),
        ("{}", "d.json: must hold a list of masks, holds dict"),
        ('[{"image_id": 1}]', "d.json: entry 0 needs image_id and segmentation"),
        (json.dumps([{"image_id": 1, "ann_id": 2, "segmentation": []}] * 2), "entry 1: a second mask for image 1"),
        (
            json.dumps([{"image_id": 1, "ann_id": 2, "segmentation": []}, {"image_id": 1, "segmentation": []}]),
            "entry 1 has no ann_id, but others have: give it to all, or to none",
        ),
        ('[{"image_id": 1, "segmentation": [], "score": "high"}]', "entry 0: score must be a number, got 'high'"),
    ],
)
def test_a_broken_file_is_refused(squares: Any, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "d.json").write_text(text)
    with pytest.raises(Refused, match=message):
        with_visible(squares, f"predicted:{tmp_path / 'd.json'}")


def test_another_form_or_a_missing_file_is_refused(squares: Any) -> None:
    with pytest.raises(Refused, match="--visible takes gt or predicted:FILE, got 'detector'"):
        with_visible(squares, "detector")
    with pytest.raises(Refused, match=r"--visible predicted:none.json: no such file"):
        with_visible(squares, "predicted:none.json")


# Ordinary detector output: no ids of instances.


def results(dataset: Any, *, wanted: Any = lambda index: True, lost: int = 1) -> list[dict[str, Any]]:
    """COCO results of the visible masks less their first row, of the first one `lost`, in reverse; no `ann_id`."""
    found = []
    for index, sample in enumerate(dataset):
        mask = sample.visible.copy()
        top = int(np.argmax(mask.any(axis=1)))
        mask[top : top + (1 if index else lost)] = False
        code = rle.encode(mask)
        segmentation = {"size": code["size"], "counts": code["counts"].decode()}
        image = parse_id(sample.query.id).image
        if wanted(index):
            found.append({"image_id": int(image), "category_id": 1, "segmentation": segmentation, "score": 0.5})
    return found[::-1]


def write(path: Path, entries: list[dict[str, Any]]) -> Path:
    path.write_text(json.dumps(entries))
    return path


def test_entries_without_ids_are_matched_and_the_rest_is_a_row_that_a_protocol_counts_or_not(
    squares: Any, plugins: Path, tmp_path: Path
) -> None:
    file = write(tmp_path / "d.json", results(squares, wanted=lambda index: index % 4))
    arguments: dict[str, Any] = {"plugins": (plugins / "squares.py",), "results": tmp_path / "r"}
    run_ = ab.bench("visible", "squares", visible=f"predicted:{file}", **arguments)
    record, frame = run_.record, run_.frame()
    assert (record["status"], record["counts"]) == ("complete", {"planned": 24, "asked": 24, "done": 24, "error": 0})
    assert record["funnel"]["noted"] == {"no detection matched (IoU >= 0.5)": 6}
    missed = frame["iou_full"].isna()
    assert frame["id"][missed].tolist() == list(squares.ids())[::4]
    assert frame.loc[missed, [f"v{k}" for k in (1, 3, 5, 7, *range(8, 16))]].to_numpy().sum() == 0
    left, zero = (metrics(frame, find_protocol(name), draws=0) for name in ("instance-mean/1", "end-to-end/1"))
    assert (left["n"].iloc[0], zero["n"].iloc[0]) == (18, 24)
    assert zero["value"].iloc[0] == pytest.approx(left["value"].iloc[0] * 18 / 24)
    with_ids = write(tmp_path / "ids.json", [d for k, d in enumerate(ids_of(squares)) if k % 4])
    same = ab.bench("visible", "squares", visible=f"predicted:{with_ids}", batch_size=7, **arguments)
    pd.testing.assert_frame_equal(same.frame(), frame)


def ids_of(dataset: Any) -> list[dict[str, Any]]:
    """`results` in the dataset's order, with `ann_id`."""
    return [
        {**entry, "image_id": parse_id(id).image, "ann_id": parse_id(id).annotation}
        for id, entry in zip(dataset.ids(), results(dataset)[::-1], strict=True)
    ]


def test_the_table_says_what_was_unmatched(squares: Any, cli: Any, plugins: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "d.json", results(squares, wanted=lambda index: index % 4))
    common = ("--dataset", "squares", "--plugin", plugins / "squares.py", "--results", tmp_path / "r")
    told = cli("bench", "--method", "visible", *common, "--visible", f"predicted:{file}", COLUMNS="200").stdout
    assert re.search(r"n +n_occluded +n_unmatched +n_error", told)
    assert re.search(r"visible .* 18 +\d+ +6 +0 ", told)
    assert "n_unmatched instances were given no visible mask; by this protocol they are left out" in told
    assert "partial" not in told
    (path,) = (tmp_path / "r").glob("*/*/*/*/run.json")
    told = cli("score", path.parent, "--protocol", "end-to-end", COLUMNS="200").stdout
    assert re.search(r"visible .* 24 +\d+ +6 +0 ", told)
    assert "by this protocol they score 0" in told


def test_parameters_of_the_matching_are_part_of_what_is_run(squares: Any, tmp_path: Path) -> None:
    file = write(tmp_path / "a,b.json", results(squares, lost=2))
    plain, strict = f"predicted:{file}", f"predicted:{file},iou=0.85"
    assert spelled(plain) != spelled(strict)
    assert spelled(plain) == spelled(f"{plain},class_aware=false")
    assert absolute(strict) == strict
    counts = [with_visible(squares, text).funnel.noted.total() for text in (plain, strict)]
    assert counts == [0, 1]  # of ten rows one is lost, of one square two
    for text, message in {
        f"{plain},iou=2": "iou = '2': input should be less than or equal to 1",
        f"{plain},iuo=0.5": "unknown parameter of --visible predicted:FILE,KEY=VALUE 'iuo'. Did you mean 'iou'",
        f"predicted:{write(tmp_path / 'i.json', ids_of(squares))},iou=.6": "its entries have ann_id, so nothing is",
    }.items():
        with pytest.raises(Refused, match=re.escape(message)):
            with_visible(squares, text)


def test_a_file_of_other_images_is_refused(squares: Any, tmp_path: Path) -> None:
    entries = [{**entry, "image_id": 7000} for entry in results(squares)]
    with pytest.raises(
        Refused, match=r"no instance of Squares behind bars test has a mask here: .*24 of them in images"
    ):
        with_visible(squares, f"predicted:{write(tmp_path / 'd.json', entries)}")


def test_a_malformed_detection_is_left_out_and_named(squares: Any, tmp_path: Path) -> None:
    entries = results(squares)
    entries[3]["segmentation"] = {"size": [2, 2], "counts": "04"}
    given = with_visible(squares, f"predicted:{write(tmp_path / 'd.json', entries)}")
    assert given.funnel.noted == {"no detection matched (IoU >= 0.5)": 1}
    matched, malformed = given.remarks()
    assert "23 of 24 instances have one; of 24 detections 1 are left over, 0 of them in images that are not" in matched
    assert re.search(r"left out: 1 detections, the first: .*d\.json: entry 3: RLE of size \[2, 2\]", malformed)


def test_categories_by_name_keep_others_apart(squares: Any, tmp_path: Path) -> None:
    entries = results(squares)
    for entry, sample in zip(entries, list(squares)[::-1], strict=True):
        entry["category"] = "left" if sample.query.category == "middle" else sample.query.category
    given = with_visible(squares, f"predicted:{write(tmp_path / 'd.json', entries)},class_aware=true")
    assert given.funnel.noted == {"no detection matched (IoU >= 0.5, equal category)": 8}
    for entry in entries:
        entry["category"] = "thing"
    with pytest.raises(
        Refused, match=r"no entry has a category of the dataset \(which has left, middle, right; the file"
    ):
        with_visible(squares, f"predicted:{write(tmp_path / 'e.json', entries)},class_aware=true")


def test_results_of_the_bop_benchmark_name_an_image_by_its_scene(tmp_path: Path) -> None:
    entry = {"scene_id": 2, "image_id": 3, "category_id": 1, "segmentation": [], "score": 1, "bbox": [], "time": -1}
    assert read_entries(write(tmp_path / "d.json", [entry]))[0].image == "2:3"


def test_no_prediction_is_exported_for_what_was_unmatched(squares: Any, plugins: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "d.json", results(squares, wanted=lambda index: index % 4))
    request = {"plugins": (plugins / "squares.py",), "results": tmp_path / "r", "visible": f"predicted:{file}"}
    run_ = ab.bench("visible", "squares", **request)
    rows = run_.folder.instances()
    entries = coco_results(rows, run_.folder.predictions())
    assert [entry["id"] for entry in entries] == [id for k, id in enumerate(sorted(squares.ids())) if k % 4]
    everything = average_precision(rows)[0]
    assert (everything.n, everything.ap50 < 80) == (24, True)  # what was missed is in the recall


@pytest.mark.parametrize("what", ["name", "text"])
def test_a_parquet_table_that_holds_no_utf8_is_refused(what: str, squares: Any, tmp_path: Path) -> None:
    path = tmp_path / "d.parquet"
    columns = {"image_id": ["00"], "size": [[24, 32]], "counts": [b"0"], "scene_id": ["abcdefgh"]}
    pq.write_table(pa.table(columns), path, compression="none", use_dictionary=False, write_statistics=False)
    whole, part = path.read_bytes(), b"scene_id" if what == "name" else b"abcdefgh"
    path.write_bytes(whole.replace(part, b"\xff" * 8))
    with pytest.raises(Refused, match=r"d\.parquet: cannot be read as Parquet with image_id, size, counts"):
        with_visible(squares, f"predicted:{path}")
