"""Masks of a detector for the method, the truth for the metric."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import amodal_bench as ab
from amodal_bench import rle
from amodal_bench.errors import Refused
from amodal_bench.job import Request, prepare
from amodal_bench.types import parse_id
from amodal_bench.visible_source import read_masks, with_visible


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
    assert given.record()["spec"]["visible"].startswith("predicted:sha256:"[:10])
    assert str(file) not in json.dumps(given.record()["spec"])
    assert given.record()["funnel"]["dropped"] == {"no predicted visible mask": 1}
    frame = given.frame()
    expected = truth.frame().set_index("id").loc[frame["id"]]
    assert frame["rate"].tolist() == expected["rate"].tolist()  # of the truth, not of the detection
    assert frame["iou_full"].lt(expected["iou_full"].to_numpy()).all()  # a row of each square is missed, one is added
    assert frame["v8"].notna().all()
    counts = frame[[f"v{k}" for k in range(16)]].to_numpy()
    given_pixels = counts[:, 8:].sum(axis=1)
    assert given_pixels.tolist() == [mask["v"] for mask in _areas(squares, frame)]


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
        ('[{"image_id": 1}]', "d.json: entry 0 needs image_id, ann_id and segmentation"),
        (json.dumps([{"image_id": 1, "ann_id": 2, "segmentation": []}] * 2), "entry 1: a second mask for image 1"),
    ],
)
def test_a_broken_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "d.json").write_text(text)
    with pytest.raises(Refused, match=message):
        read_masks(tmp_path / "d.json")


def test_another_form_or_a_missing_file_is_refused(squares: Any) -> None:
    with pytest.raises(Refused, match="--visible takes gt or predicted:FILE, got 'detector'"):
        with_visible(squares, "detector")
    with pytest.raises(Refused, match=r"--visible predicted:none.json: no such file"):
        with_visible(squares, "predicted:none.json")
