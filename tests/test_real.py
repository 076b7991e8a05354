"""Known answers on real files: the visible mask as the prediction."""

from pathlib import Path

import pandas as pd
import pytest

import amodal_bench as ab

COLUMNS = ("n", "occluded", "rate", "mean", "mean_occluded", "pooled", "pooled_occluded", "buckets")
ANSWERS = {
    "cocoa_val3": (23, 10, 0.129242, 0.870758, 0.702743, 0.821157, 0.675618, [13, 4, 4, 1, 1]),
    "photo_composites": (196, 98, 0.205130, 0.794870, 0.589740, 0.763389, 0.607487, [98, 21, 30, 36, 11]),
    "photo_composites, order 2": (98, 98, 0.410260, 0.589740, 0.589740, 0.607487, 0.607487, [0, 21, 30, 36, 11]),
    "lmo_amodal": (831, 277, None, 0.938105, None, 0.948088, None, [554, 188, 55, 21, 13]),
    "fishbowl_mini": (267, 56, 0.043465, 0.956535, 0.792763, 0.928599, 0.745753, [211, 37, 5, 13, 1]),
}


def value(frame: pd.DataFrame, protocol: str) -> float:
    return float(ab.score(frame, protocol).query("metric == 'mIoU_full' and subset == 'all'")["value"].item()) / 100


@pytest.mark.parametrize("name", ANSWERS)
def test_the_visible_mask_scores_what_is_known(real_data: Path, tmp_path: Path, name: str) -> None:
    folder = name.split(",")[0]
    root = real_data / folder
    dataset = "fishbowl" if "fishbowl" in name else "coco_a"
    if "lmo" in name:  # everybody's own JSON, with no option but the file
        dataset, root = "coco", root / "annotations_ok.json"
    run = ab.bench("visible", dataset, root=root, results=tmp_path)
    frame = run.frame("instance-mean/1")
    if "order 2" in name:
        frame = frame[frame["ann_id"] == "0.2"]
    occluded = frame[frame["occluded"]]
    buckets = ab.score(frame).query("subset == 'bucket' and metric == 'mIoU_full'")["n"].tolist()
    found = (
        len(frame), len(occluded), frame["rate"].mean(), frame["iou_full"].mean(), occluded["iou_full"].mean(),
        value(frame, "pooled/1"), value(occluded, "pooled/1"), buckets,
    )  # fmt: skip
    for column, measured, known in zip(COLUMNS, found, ANSWERS[name], strict=True):
        if known is not None:
            assert measured == pytest.approx(known, abs=5e-7), column
    assert value(frame, "instance-mean/1") == pytest.approx(ANSWERS[name][3], abs=5e-7)
    assert run.record["status"] == "complete"
    assert frame.loc[frame["occluded"], "iou_inv"].eq(0).all()


def test_categories_of_real_files_are_kept(real_data: Path) -> None:
    dataset = ab.load_dataset("coco_a", root=real_data / "photo_composites")
    by_category = pd.Series([s.query.category for s in dataset]).value_counts()
    assert by_category.sum() == 196
    assert by_category.index.is_unique
