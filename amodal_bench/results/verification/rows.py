"""What the rows of a run say about one another: complete, counts that add up, masks as large as their counts."""

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from amodal_bench.errors import BadRecord
from amodal_bench.masks import rle
from amodal_bench.masks.counts import AMODAL, COLUMNS, GIVEN_COLUMNS, PREDICTED
from amodal_bench.results.verification.ledger import Ledger
from amodal_bench.results.verification.stored import PAIRED
from amodal_bench.store.rows import FINISHED
from amodal_bench.types import check_id, parse_id

Bools = NDArray[np.bool_]
Counts = NDArray[np.int64]
GROUP = "_group"  # the group that the plan gives a row's id; null where it is not in the plan


def check_rows(table: pa.Table, sixteen: bool, ledger: Ledger) -> pa.Table:
    """The finished rows whose mask can be decoded; what is wrong with all rows goes into the ledger.

    `sixteen`: whether the method was given other visible masks than the ground truth's. `table` has the columns of
    `STORED`, `PAIRED` and `GROUP`.
    """
    _check_names(table, ledger)
    table = _kept(table, _true(table[PAIRED]))
    finished, failed = (_true(pc.equal(table["status"], status)) for status in (FINISHED, "error"))
    ledger.where("status that is neither ok nor error", table, ~(finished | failed), table["status"].to_pylist())
    _check_failed(_kept(table, failed), ledger)
    rows = _complete(_kept(table, finished), sixteen, ledger)
    if not len(rows):
        return rows
    counts = counts_of(rows, sixteen)
    _check_counts(rows, counts, ledger)
    return _with_masks(rows, counts, ledger)


def counts_of(rows: pa.Table, sixteen: bool) -> Counts:
    """Counts (N, 8) or (N, 16)."""
    names = (*COLUMNS, *GIVEN_COLUMNS) if sixteen else COLUMNS
    return np.stack([rows[name].to_numpy() for name in names], axis=1)


def _check_failed(rows: pa.Table, ledger: Ledger) -> None:
    empty = (*COLUMNS, *GIVEN_COLUMNS, "size", "counts")
    wrong = _any_valid(rows, empty) | _true(pc.is_null(rows["error"]))
    ledger.where("failed, but with counts, with a mask, or without an error", rows, wrong)


def _check_names(table: pa.Table, ledger: Ledger) -> None:
    """image_id and ann_id are those of the id, group_id is the plan's."""
    columns = (table[name].to_pylist() for name in ("id", "image_id", "ann_id"))
    wrong = [_other_names(*row) for row in zip(*columns, strict=True)]
    ledger.where("image_id or ann_id that are not those of the id", table, np.array(wrong, dtype=np.bool_))
    planned = pc.is_valid(table[GROUP])
    ledger.where("not in plan.parquet", table, ~_true(planned))
    differing = pc.and_(planned, pc.not_equal(table["group_id"], table[GROUP]))
    groups = zip(table["group_id"].to_pylist(), table[GROUP].to_pylist(), strict=True)
    details = [f"stored {stored_group}, planned {planned}" for stored_group, planned in groups]
    ledger.where("group_id that is not the plan's", table, _true(differing), details)


def _other_names(id: str, image: str, annotation: str) -> bool:
    try:
        check_id(id)
    except ValueError:
        return True
    return parse_id(id)[2:] != (image, annotation)


def _complete(rows: pa.Table, sixteen: bool, ledger: Ledger) -> pa.Table:
    needed = (*COLUMNS, "height", "width", "size", "counts", *(GIVEN_COLUMNS if sixteen else ()))
    missing = [name for name in needed if rows[name].null_count]
    if missing:
        wrong = reduce(np.logical_or, (_true(pc.is_null(rows[name])) for name in missing))
        ledger.where(f"finished, but without {', '.join(missing)}", rows, wrong)
        rows = _kept(rows, ~wrong)
    if not sixteen:
        kind = "counts of another visible mask (v8 to v15), where the spec has the truth's"
        ledger.where(kind, rows, _any_valid(rows, GIVEN_COLUMNS))
    return rows


def _check_counts(rows: pa.Table, counts: Counts, ledger: Ledger) -> None:
    ledger.where("counts below 0", rows, counts.min(axis=1) < 0)
    pixels = rows["height"].to_numpy().astype(np.int64) * rows["width"].to_numpy()
    totals = counts.sum(axis=1)
    details = [f"they add up to {a}, the image has {b} pixels" for a, b in zip(totals, pixels, strict=True)]
    ledger.where("counts that do not add up to height x width", rows, totals != pixels, details)
    ledger.where("counts of an empty amodal mask", rows, _total(counts, AMODAL) == 0)


def _with_masks(rows: pa.Table, counts: Counts, ledger: Ledger) -> pa.Table:
    """The rows whose code is one of a mask of its image's size; the area of each is compared with the counts."""
    codes = [rle.Code(size=size, counts=code) for size, code in zip(*_lists(rows, "size", "counts"), strict=True)]
    faults = [_fault(*row) for row in zip(codes, *_lists(rows, "height", "width"), strict=True)]
    sound = np.array([not fault for fault in faults], dtype=np.bool_)
    ledger.where("masks that are no code of their image's size", rows, ~sound, faults)
    rows, expected = _kept(rows, sound), _total(counts, PREDICTED)[sound]
    if len(rows):
        # One at a time: pycocotools counts the masks of one call in a byte.
        areas = np.array([rle.area(code) for code, good in zip(codes, sound, strict=True) if good], dtype=np.int64)
        details = [f"mask {a} pixels, counts {b}" for a, b in zip(areas, expected, strict=True)]
        ledger.where("masks of another area than their counts say", rows, areas != expected, details)
    return rows


def _fault(code: rle.Code, height: int, width: int) -> str:
    try:
        rle.from_annotation(code, height, width, "mask")
    except BadRecord as error:
        return str(error)
    return ""


def _kept(rows: pa.Table, kept: Bools) -> pa.Table:
    """These rows; not copied where they are all, as masks may be large."""
    return rows if kept.all() else rows.filter(pa.array(kept))


def _lists(rows: pa.Table, *names: str) -> list[list[Any]]:
    return [rows[name].to_pylist() for name in names]


def _total(counts: Counts, bit: int) -> Counts:
    chosen = [k for k in range(counts.shape[1]) if k & bit]
    total: Counts = counts[:, chosen].sum(axis=1)
    return total


def _any_valid(rows: pa.Table, names: Sequence[str]) -> Bools:
    return reduce(np.logical_or, (_true(pc.is_valid(rows[name])) for name in names))


def _true(values: pa.ChunkedArray) -> Bools:
    found: Bools = pc.fill_null(values, False).to_numpy()
    return found
