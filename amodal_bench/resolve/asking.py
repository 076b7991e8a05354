"""Asking a method, and looking at its answer before it is believed."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.lib.array_utils import byte_bounds

from amodal_bench.errors import SharedMask
from amodal_bench.plugin import AnyMethod
from amodal_bench.types import AmodalQuery, Mask, check_mask


def asked(method: AnyMethod, queries: Sequence[AmodalQuery], seeds: Sequence[int]) -> list[Mask]:
    """One mask a query, in order, each bool, of its image's size, and an array of its own.

    Raises `ValueError` (`SharedMask`) for any other answer, and what the method raises.
    """
    masks = method.predict(queries, seeds)
    if len(masks) != len(queries):
        raise ValueError(f"predict returned {len(masks)} masks for {len(queries)} queries")
    for query, mask in zip(queries, masks, strict=True):
        check_mask(mask, query.visible.shape, f"{query.id}: predicted mask")
    _check_own(queries, masks)
    return list(masks)


def _check_own(queries: Sequence[AmodalQuery], masks: Sequence[Mask]) -> None:
    bounds = [byte_bounds(mask) for mask in masks]
    for one, other in pairwise(sorted(range(len(masks)), key=bounds.__getitem__)):
        if bounds[one][1] > bounds[other][0] and np.shares_memory(masks[one], masks[other]):
            raise SharedMask(
                f"predict returned one array for {queries[one].id} and {queries[other].id}: each query needs a mask of "
                "its own (return mask.copy())"
            )
