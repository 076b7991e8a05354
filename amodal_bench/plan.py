"""Which instances a run predicts, in which order, and who of several workers takes which."""

import hashlib
from collections import Counter

import pyarrow as pa

from amodal_bench.errors import Refused
from amodal_bench.plugin import AnyDataset
from amodal_bench.rows import PLAN
from amodal_bench.types import check_id, is_text


def make_plan(dataset: AnyDataset) -> pa.Table:
    """All instances: groups in the order of their hash, inside a group the dataset's own order.

    Any prefix is so a random subset of groups that is the same for every method, and a longer prefix keeps it.
    `index` is the place in `dataset.ids()`. Raises `Refused` for ids that are no texts of four parts or not unique.
    """
    ids = list(dataset.ids())
    groups = _groups(dataset, ids)
    if len(set(ids)) != len(ids):
        twice = next(id for id, times in Counter(ids).items() if times > 1)
        raise Refused(f"{dataset.card.title}: the id {twice} stands for two instances")
    place = {group: hashlib.sha256(group.encode()).digest() for group in set(groups)}
    order = sorted(range(len(ids)), key=lambda i: (place[groups[i]], i))
    return pa.table(
        {"id": [ids[i] for i in order], "group_id": [groups[i] for i in order], "index": order}, schema=PLAN
    )


def _groups(dataset: AnyDataset, ids: list[str]) -> list[str]:
    """The group of every id, all of them fit to be written down."""
    title, groups = dataset.card.title, []
    for id in ids:
        try:
            check_id(id)
        except ValueError as error:
            raise Refused(f"{title}: {error}") from None
        groups.append(dataset.group(id))
        if not is_text(groups[-1]):
            raise Refused(f"{title}: the group of {id} must be text, got {groups[-1]!r}")
    return groups


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
