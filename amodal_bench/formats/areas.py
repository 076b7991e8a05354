"""What is known of both masks of an annotation: codes, pixel counts, and why it is no instance, if so."""

from typing import Any

import pyarrow as pa
from pycocotools import mask as coco

from amodal_bench.masks import rle

MASKS = pa.schema(
    [
        ("amodal_counts", pa.binary()), ("visible_counts", pa.binary()), ("given_counts", pa.binary()),
        ("reason", pa.string()),  # why the annotation is no instance; null where it is one
        ("detail", pa.string()),
        ("derived", pa.string()),  # from what the visible mask was made where the file has none
        ("left_out", pa.int32()),  # parts of polygons that are none
        ("amodal_area", pa.int64()), ("visible_area", pa.int64()), ("hidden_area", pa.int64()),
        ("outside_area", pa.int64()),  # visible pixels that are not amodal
        ("order_area", pa.int64()),  # pixels on which `visible` and a stated depth order disagree
    ],
    metadata={"revision": "1"},
)  # fmt: skip
NO_AMODAL, NO_VISIBLE = "amodal mask is empty", "visible mask is empty"
NO_GIVEN = "predicted visible mask is empty"
APART = "visible mask lies wholly outside the amodal mask"
HIDDEN_APART = "invisible mask lies wholly outside the amodal mask"

Row = dict[str, Any]


def measured(amodal: rle.Code, visible: rle.Code | None) -> Row:
    """The columns that follow from the masks; `visible` is None where it is not known."""
    found: Row = {"amodal_counts": amodal["counts"]}
    if visible is None:
        return found | {"amodal_area": rle.area(amodal)}
    if visible == amodal:
        whole = seen = both = rle.area(amodal)
    else:
        whole, seen, both = (int(n) for n in coco.area([amodal, visible, coco.merge([amodal, visible], True)]))
    found |= {"visible_counts": visible["counts"], "amodal_area": whole, "visible_area": seen}
    return found | {"hidden_area": whole - both, "outside_area": seen - both}


def fault_of(found: Row, reason: str | None) -> str | None:
    """Why masks that were measured are no instance's; `reason` where there is no visible one."""
    if not found["amodal_area"]:
        return NO_AMODAL
    if "visible_area" not in found:
        return reason
    if not found["visible_area"]:
        return NO_VISIBLE
    return APART if found["outside_area"] == found["visible_area"] else None
