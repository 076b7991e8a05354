"""Which instances a run predicts, in which order, and who of several workers takes which."""

import hashlib

import pyarrow as pa

from amodal_bench.errors import Refused
from amodal_bench.plugin import AnyDataset
from amodal_bench.rows import PLAN


def make_plan(dataset: AnyDataset) -> pa.Table:
    """All instances: groups in the order of their hash, inside a group the dataset's own order.

    Any prefix is so a random subset of groups that is the same for every method, and a longer prefix keeps it.
    `index` is the place in `dataset.ids()`.
    """
    ids = list(dataset.ids())
    if len(set(ids)) != len(ids):
        twice = next(id for id in ids if ids.count(id) > 1)
        raise Refused(f"{dataset.card.title}: the id {twice} stands for two instances")
    groups = [dataset.group(id) for id in ids]
    place = {group: hashlib.sha256(group.encode()).digest() for group in set(groups)}
    order = sorted(range(len(ids)), key=lambda i: (place[groups[i]], i))
    return pa.table(
        {"id": [ids[i] for i in order], "group_id": [groups[i] for i in order], "index": order}, schema=PLAN
    )


def shard(plan: pa.Table, number: int, count: int) -> pa.Table:
    """Part `number` (from 0) of `count`: every count-th group, so that a group's frames stay together."""
    groups = plan["group_id"].to_pylist()
    turn: dict[str, int] = {}
    for group in groups:
        turn.setdefault(group, len(turn))
    mine = [place for place, group in enumerate(groups) if turn[group] % count == number]
    return plan.take(pa.array(mine, type=pa.int64()))


def parse_shard(text: str) -> tuple[int, int]:
    """`i/n` with 0 <= i < n; raises `Refused`."""
    number, slash, count = text.partition("/")
    if not (slash and number.isdigit() and count.isdigit() and int(number) < int(count)):
        raise Refused(f"--shard takes i/n with 0 <= i < n (the first of four is 0/4), got {text!r}")
    return int(number), int(count)
