"""A run in the forms that other tools read: COCO results, rows per instance; and COCO's own AP and AR of it."""

import json
import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pandas.api.types import is_numeric_dtype
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from amodal_bench.errors import BadRecord, RunDamaged
from amodal_bench.masks import rle
from amodal_bench.masks.rle import Code
from amodal_bench.metrics.cells import unmatched
from amodal_bench.metrics.protocol import DEFAULT, Interval, Protocol, find_protocol
from amodal_bench.metrics.scores import by_instance
from amodal_bench.text.csv_text import cell

CATEGORY = 1  # the one pseudo category: AP here asks for masks, not for classes
CONSTANT_SCORE = 1.0
RANGES = {"all": "[0, 1]", "none": "[0, 0.00001]", "partial": "[0.00001, 0.25]", "heavy": "[0.25, 1]"}
_WHOLE = re.compile(r"0|[1-9][0-9]*")


def coco_results(rows: pd.DataFrame, predictions: pa.Table) -> list[dict[str, Any]]:
    """COCO results, an entry a finished instance: image_id, category_id, segmentation (RLE), score, `id`, `ann_id`.

    An image id that is a whole number is one in the file too, as in COCO's own annotations. A score that the
    method did not give is 1. An instance that was given no visible mask from elsewhere has no entry.
    """
    codes = _codes(predictions)
    good = rows[rows["status"] == "ok"]
    good = good[~unmatched(good)]
    return [
        {
            "id": row["id"],
            "image_id": _number(row["image_id"]),
            "ann_id": _number(row["ann_id"]),
            "category_id": CATEGORY,
            "segmentation": _segmentation(codes, row),
            "score": CONSTANT_SCORE if pd.isna(row["score"]) else float(row["score"]),
        }
        for row in good.to_dict("records")
    ]


def _segmentation(codes: Mapping[str, Code], row: Mapping[Hashable, Any]) -> dict[str, Any]:
    """The mask of a row as JSON has it; raises `RunDamaged` where it is missing or is none of the image's size."""
    id = row["id"]
    if id not in codes:
        raise RunDamaged(f"predictions.parquet has no mask for {id}: copy the run again, or start over with --fresh")
    try:
        code = rle.from_annotation(codes[id], int(row["height"]), int(row["width"]), f"predictions.parquet: {id}")
    except BadRecord as error:
        raise RunDamaged(f"{error}: copy the run again, or start over with --fresh") from None
    return {"size": list(code["size"]), "counts": code["counts"].decode()}


def write_json(entries: Sequence[Mapping[str, Any]]) -> str:
    """One entry a line, so that large files can be looked at and compared."""
    return "[\n" + ",\n".join(json.dumps(entry) for entry in entries) + "\n]\n"


def csv_rows(rows: pd.DataFrame, protocol: Protocol) -> str:
    """instances.parquet as CSV with rate, occluded, iou_full and iou_inv (fractions) of a protocol, error rows too."""
    good = by_instance(rows[rows["status"] == "ok"], protocol)
    scores = good[["id", "rate", "occluded", "iou_full", "iou_inv"]]
    table = rows.merge(scores, on="id", how="left")
    for name in table.columns:
        if not is_numeric_dtype(table[name]):
            table[name] = table[name].map(cell, na_action="ignore")
    return table.to_csv(index=False, lineterminator="\n", float_format="%.9f")


@dataclass(frozen=True, slots=True)
class AveragePrecision:
    """AP and AR in percent over one range of occlusion rates; NaN where no instance lies in it."""

    name: str
    rates: str
    n: int
    ap: float
    ap50: float
    ap75: float
    ar: float


def average_precision(rows: pd.DataFrame, ranges: Mapping[str, str] = RANGES) -> list[AveragePrecision]:
    """COCO's AP (.50:.05:.95), AP50, AP75 and AR through one pseudo category, a line per range of rates.

    From the counts alone: a prediction can match the instance that it was asked for and no other, which is what
    COCOeval finds too unless a prediction covers a neighbour better than its own object. Instances outside a range
    are ignored, not removed: a prediction that matches one counts neither for nor against, one that misses it
    counts against (amodalAPI's protocol). Up to 1,000 predictions an image, as many as amodalAPI takes.

    Args:
        rows: of instances.parquet; only finished instances count. A missing score is 1.
        ranges: name -> interval of occlusion rates, ends as written.
    """
    good = by_instance(rows[rows["status"] == "ok"].reset_index(drop=True), find_protocol(DEFAULT))
    images = {name: number for number, name in enumerate(sorted(set(good["image_id"])))}
    found = []
    for name, text in ranges.items():
        inside = np.asarray(Interval.parse(text).contains(good["rate"].to_numpy(dtype=np.float64)))
        found.append(_evaluate(name, text, good, images, inside))
    return found


def has_scores(rows: pd.DataFrame) -> bool:
    """Whether the method scored all its masks: without, AP ranks nothing and tells little."""
    return bool(rows.loc[rows["status"] == "ok", "score"].notna().all()) and len(rows) > 0


def _evaluate(
    name: str, text: str, good: pd.DataFrame, images: Mapping[str, int], inside: NDArray[np.bool_]
) -> AveragePrecision:
    made = np.flatnonzero(~unmatched(good)).tolist()
    if not inside.any() or not made:
        nothing = 0.0 if inside.any() else float("nan")
        return AveragePrecision(name, text, int(inside.sum()), nothing, nothing, nothing, nothing)
    shared = {"category_id": CATEGORY, "bbox": [0, 0, 1, 1]}  # the IoU comes from the counts
    image_ids = [images[image] for image in good["image_id"]]
    truth = [
        {"id": k + 1, "image_id": image, "area": 1, "iscrowd": 0, "ignore": int(not inside[k]), **shared}
        for k, image in enumerate(image_ids)
    ]
    scores = good["score"].astype(float).fillna(CONSTANT_SCORE)
    guesses = [{"image_id": image_ids[k], "score": scores.iloc[k], **shared} for k in made]
    with redirect_stdout(StringIO()):  # pycocotools talks
        index = _index(truth, images.values())
        ious = good["iou_full"].fillna(0.0)
        evaluation = _Paired(index, index.loadRes(guesses), [(k + 1, ious.iloc[k]) for k in made])
        evaluation.evaluate()
        evaluation.accumulate()
    precision, recall = evaluation.eval["precision"][..., 0, -1], evaluation.eval["recall"][..., 0, -1]
    ap, ap50, ap75, ar = (100 * float(v.mean()) for v in (precision, precision[0], precision[5], recall))
    return AveragePrecision(name, text, int(inside.sum()), ap, ap50, ap75, ar)


def _index(truth: list[dict[str, Any]], images: Iterable[int]) -> COCO:
    index = COCO()
    index.dataset = {
        "images": [{"id": number} for number in images],
        "annotations": truth,
        "categories": [{"id": CATEGORY, "name": "object"}],
    }
    index.createIndex()
    return index


class _Paired(COCOeval):  # type: ignore[misc]
    """COCOeval with the IoU of each prediction with its own truth, and with ignore flags.

    `pairs` has the id of the truth and the IoU for each prediction, in the order of their ids.
    COCOeval itself overwrites `ignore` with `iscrowd`, which would change the IoU as well.
    """

    def __init__(self, truth: COCO, guesses: COCO, pairs: Sequence[tuple[int, float]]) -> None:
        super().__init__(truth, guesses, "bbox")
        self._pairs = pairs
        self._ignored = {a["id"] for a in truth.dataset["annotations"] if a["ignore"]}
        self.params.maxDets = [1000]
        self.params.areaRng, self.params.areaRngLbl = [[0, 1e15]], ["all"]

    def _prepare(self) -> None:
        super()._prepare()
        for annotations in self._gts.values():
            for annotation in annotations:
                annotation["ignore"] = int(annotation["id"] in self._ignored)

    def computeIoU(self, image: int, category: int) -> NDArray[np.float64] | list[object]:
        """(predictions by falling score, truths) of one image."""
        truths, guesses = self._gts[image, category], self._dts[image, category]
        if not guesses:
            return []
        order = np.argsort([-guess["score"] for guess in guesses], kind="mergesort")[: self.params.maxDets[-1]]
        ids = np.array([truth["id"] for truth in truths])
        partners, ious = (
            np.array(values) for values in zip(*(self._pairs[guesses[k]["id"] - 1] for k in order), strict=True)
        )
        return np.where(partners[:, None] == ids[None], ious[:, None], 0.0)


def _codes(predictions: pa.Table) -> dict[str, Code]:
    columns = (predictions[name].to_pylist() for name in ("id", "size", "counts"))
    return {
        id: {"size": size, "counts": counts} for id, size, counts in zip(*columns, strict=True) if counts is not None
    }


def _number(text: str) -> int | str:
    return int(text) if _WHOLE.fullmatch(text) else text


def lines(averages: Iterable[AveragePrecision]) -> list[tuple[str, ...]]:
    """Averages as texts: range, n, AP, AP50, AP75, AR."""
    return [
        (f"{a.name} {a.rates}", str(a.n), *("-" if np.isnan(v) else f"{v:.1f}" for v in (a.ap, a.ap50, a.ap75, a.ar)))
        for a in averages
    ]
