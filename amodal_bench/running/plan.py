"""Which instances a run predicts, in which order, and who of several workers takes which."""

import hashlib
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from amodal_bench.errors import Refused
from amodal_bench.plugin import AnyDataset
from amodal_bench.store.rows import PLAN
from amodal_bench.types import check_id, is_text

_CHUNK = 65_536  # ids that are Python objects at a time


def make_plan(dataset: AnyDataset) -> pa.Table:
    """All instances: groups in the order of their hash, inside a group the dataset's own order.

    Any prefix is so a random subset of groups that is the same for every method, and a longer prefix keeps it.
    `index` is the index in `dataset.ids()`. Raises `Refused` for ids that are no texts of four parts or not unique.
    """
    ids, groups = _columns(dataset)
    if pc.count_distinct(ids).as_py() != len(ids):
        counted = pc.value_counts(ids)
        twice = counted.field("values").filter(pc.greater(counted.field("counts"), 1))[0]
        raise Refused(f"{dataset.card.title}: the id {twice} stands for two instances")
    coded = groups.dictionary_encode()
    order = np.argsort(_turns(coded.dictionary)[coded.indices.to_numpy()], kind="stable")
    return pa.table([ids.take(order), groups.take(order), pa.array(order)], schema=PLAN)


def _columns(dataset: AnyDataset) -> tuple[pa.StringArray, pa.StringArray]:
    """Ids and groups of all instances, all of them fit to be written down."""
    ids, groups = [], []
    left = iter(dataset.ids())
    while chunk := list(islice(left, _CHUNK)):
        groups.append(pa.array([_group(dataset, id) for id in chunk], type=pa.string()))
        ids.append(pa.array(chunk, type=pa.string()))
    return pa.concat_arrays(ids), pa.concat_arrays(groups)


def _group(dataset: AnyDataset, id: str) -> str:
    try:
        check_id(id)
    except ValueError as error:
        raise Refused(f"{dataset.card.title}: {error}") from None
    group = dataset.group(id)
    if not is_text(group):
        raise Refused(f"{dataset.card.title}: the group of {id} must be text, got {group!r}")
    return group


def _turns(groups: pa.StringArray) -> NDArray[np.int64]:
    """Rank of each of G different groups in the order of their sha256, (G,)."""
    digests = bytearray()
    for start in range(0, len(groups), _CHUNK):
        for group in groups.slice(start, _CHUNK).to_pylist():
            digests += hashlib.sha256(group.encode()).digest()
    words = np.frombuffer(digests, dtype=">u8").reshape(-1, 4)
    turns = np.empty(len(groups), dtype=np.int64)
    turns[np.lexsort(words.T[::-1])] = np.arange(len(groups))
    return turns


def shard(plan: pa.Table, number: int, count: int) -> pa.Table:
    """Part `number` (from 0) of `count`: every count-th group, so that a group's frames stay together."""
    codes = plan["group_id"].combine_chunks().dictionary_encode().indices  # in the order of their first appearance
    return plan.filter(pa.array(codes.to_numpy() % count == number))


def find(plan: pa.Table, id: str) -> int | None:
    """Where an id stands in a plan."""
    index = pc.index(plan["id"], pa.scalar(id, pa.string())).as_py()
    return None if index < 0 else int(index)


def parse_shard(text: str) -> tuple[int, int]:
    """`i/n` with 0 <= i < n; raises `Refused`."""
    number, slash, count = text.partition("/")
    if not (slash and number.isdigit() and count.isdigit() and int(number) < int(count)):
        raise Refused(f"--shard takes i/n with 0 <= i < n (the first of four is 0/4), got {text!r}")
    return int(number), int(count)
