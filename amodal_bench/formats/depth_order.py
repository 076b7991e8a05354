"""What a stated depth order tells: an object's visible mask is the amodal one less all that lies in front.

It is compared with the visible masks of the file, and takes their place where there is none.
"""

import itertools
from typing import Any

import pyarrow as pa
from pycocotools import mask as coco

from amodal_bench.formats.areas import MASKS, Row, fault_of, measured
from amodal_bench.masks import rle

NOT_THE_RATE = "no visible mask, and the depth order does not give the declared occlusion rate"
RATE_TOLERANCE = 0.01

Pair = tuple[dict[str, Any], Row]  # a row of the index, and its masks


def with_orders(index: pa.Table, masks: pa.Table) -> pa.Table:
    """`masks` (of `MASKS`, a row for each of `index`) with `order_area` and with visible masks that the order tells.

    Each scene is walked once from front to back, so it takes time in proportion to the number of its regions.
    """
    facts = index.select(["height", "width", "lacking", "declared_rate", "scene", "front"]).to_pylist()
    rows: list[Row] = masks.to_pylist()
    scenes: dict[str, list[Pair]] = {}
    for pair in zip(facts, rows, strict=True):
        if pair[0]["scene"] is not None:
            scenes.setdefault(pair[0]["scene"], []).append(pair)
    for scene in scenes.values():
        _walk(scene)
    return pa.Table.from_pylist(rows, schema=MASKS)


def _walk(scene: list[Pair]) -> None:
    known = all(fact["front"] is not None for fact, _ in scene)  # so far, all that lies in front
    placed = sorted((pair for pair in scene if pair[0]["front"] is not None), key=lambda pair: pair[0]["front"])
    front: rle.Code | None = None
    for _, level in itertools.groupby(placed, key=lambda pair: pair[0]["front"]):
        pairs = list(level)
        for fact, row in pairs:
            if known and row["reason"] is not None and row["reason"] == fact["lacking"]:
                _derive(fact, row, front)
            if row["visible_counts"] is not None:
                row["order_area"] = _disagreement(fact, row, front)
        known = known and all(row["amodal_counts"] is not None for _, row in pairs)
        codes = [_code(fact, row, "amodal") for fact, row in pairs if row["amodal_counts"] is not None]
        if codes:
            front = rle.union([front, *codes] if front else codes, *codes[0]["size"])


def _derive(fact: dict[str, Any], row: Row, front: rle.Code | None) -> None:
    amodal = _code(fact, row, "amodal")
    visible = amodal if front is None else rle.difference(amodal, front)
    row |= measured(amodal, visible)
    row["derived"] = "order" if row["hidden_area"] else None
    rate, declared = row["hidden_area"] / row["amodal_area"], fact["declared_rate"]
    unlike = declared is not None and abs(rate - declared) > RATE_TOLERANCE
    row["reason"] = NOT_THE_RATE if unlike else fault_of(row, fact["lacking"])
    row["detail"] = f"{row['detail']}: {rate:.3f}, declared {declared:g}" if unlike else row["detail"]


def _disagreement(fact: dict[str, Any], row: Row, front: rle.Code | None) -> int:
    """Amodal pixels on which the visible mask and the order disagree."""
    if front is None:
        return int(row["hidden_area"])
    amodal, visible = _code(fact, row, "amodal"), _code(fact, row, "visible")
    covered = coco.merge([amodal, front], True)
    both, either = coco.merge([visible, covered], True), coco.merge([visible, covered])
    return int(coco.area(both)) + int(row["amodal_area"]) + int(row["outside_area"]) - int(coco.area(either))


def _code(fact: dict[str, Any], row: Row, name: str) -> rle.Code:
    return {"size": [fact["height"], fact["width"]], "counts": row[f"{name}_counts"]}
