"""Masks as JSON text, as a `Record` holds them."""

import msgspec

from amodal_bench.masks import rle
from amodal_bench.types import Mask


def mask_text(mask: Mask) -> bytes:
    """Of a bool mask (H, W)."""
    return code_text(rle.encode(mask))


def code_text(code: rle.Code) -> bytes:
    """Of a run-length code."""
    return msgspec.json.encode({"size": code["size"], "counts": code["counts"].decode()})
