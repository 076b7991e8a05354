"""Which instances a grid or a gallery shows: by id, worst, best, median, random, or where two methods differ most."""

import hashlib
import re
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import pandas as pd

from amodal_bench.errors import Refused

PickKind = Literal["worst", "best", "median", "random", "difference"]
_RULE = re.compile(r"([a-z]+):(\d+)")
_FORMS = "worst:K, best:K, median:K, random:K, difference:K or ids DATASET/SPLIT/IMAGE/ANN, separated by commas"


class Rule(NamedTuple):
    """At most so many instances of a kind; the kind `id` names one."""

    kind: PickKind | Literal["id"]
    most: int = 1
    id: str = ""


def parse_rules(text: str) -> list[Rule]:
    """Read `worst:3,random:2` or ids; raises `Refused` naming the part."""
    return [_parse(part.strip()) for part in text.split(",")]


def _parse(part: str) -> Rule:
    match = _RULE.fullmatch(part)
    if match and int(match[2]) > 0:
        for kind in get_args(PickKind):
            if kind == match[1]:
                return Rule(kind, int(match[2]))
    if part.count("/") >= 3:
        return Rule("id", 1, part)
    raise Refused(f"--rows takes {_FORMS}; got {part!r}")


def choose(rules: Sequence[Rule], table: pd.DataFrame, seed: int = 0) -> list[str]:
    """Ids in the order of the rules, each once.

    Args:
        rules: what to look for.
        table: one row an instance: `id`, `a` and, where two methods are shown, `b` (scores in percent; NaN where
            undefined: found by id only).
        seed: of `random`; the same ids for every method and in every subset that holds them.
    """
    chosen: dict[str, None] = {}
    for rule in rules:
        chosen.update(dict.fromkeys(_chosen(rule, table, seed)))
    return list(chosen)


def _chosen(rule: Rule, table: pd.DataFrame, seed: int) -> list[str]:
    if rule.kind == "id":
        if rule.id not in set(table["id"]):
            raise Refused(f"--rows {rule.id}: not among the {len(table)} instances that all the shown runs have")
        return [rule.id]
    if rule.kind == "difference" and "b" not in table:
        raise Refused("--rows difference:K needs two methods: --method A,B")
    return [str(id) for id in ordered(rule.kind, table, seed)["id"].head(rule.most)]


def ordered(kind: PickKind, table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """The defined rows with the ones that `kind` wants first; ties in the order of the ids."""
    if kind == "difference":
        order = -(table["a"] - table["b"]).abs()
    elif kind == "median":
        order = (table["a"] - table["a"].median()).abs()
    elif kind == "random":
        order = pd.Series([_draw(seed, id) for id in table["id"]], index=table.index, dtype="float64")
    else:
        order = table["a"] if kind == "worst" else -table["a"]
    rows = table.assign(order=order).dropna(subset=["order", "a"])
    return rows.sort_values(["order", "id"], kind="stable").drop(columns="order")


def _draw(seed: int, id: str) -> float:
    return float(int.from_bytes(hashlib.sha256(f"{seed}/{id}".encode()).digest()[:6], "big"))
