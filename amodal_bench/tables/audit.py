"""What the published tables compare that is not like for like, and what a protocol alone is worth on a run.

Everything is computed from the facts in configs/tables; docs/audit.md explains the kinds of findings.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from amodal_bench.metrics.protocol import Protocol, protocols
from amodal_bench.metrics.scores import DRAWS, metrics
from amodal_bench.tables.spec import UNKNOWN, Claim, RowSpec, Shift, TableSpec, find_table, tables

ELSEWHERE = "related"  # the paper of values that other publications report
_EPSILON = 1e-9


@dataclass(frozen=True, slots=True)
class AuditFinding:
    """One thing a reader of a table should know. `points` of percent it is about, where that can be computed.

    Kinds: `aggregate`, `invisible score`, `pasting`, `visible masks`, `split`, `instances` (rows differ in it),
    `not stated` (it cannot be known), `worth` (the same method under two evaluations), `average`, `claim` (a
    sentence recomputed), `contradiction` (one method and dataset, several values), `remark`.
    """

    table: str
    kind: str
    text: str
    points: float | None


def findings() -> list[AuditFinding]:
    """Every finding on the tables of the two papers, table by table; contradictions between tables come last."""
    found: list[AuditFinding] = []
    for spec in tables().values():
        if spec.paper == ELSEWHERE:
            continue
        found += _unlike(spec)
        found += (_worth(spec, shift) for shift in spec.shifts)
        found += _averages(spec)
        found += (_claim(spec, claim) for claim in spec.claims)
        found += (AuditFinding(spec.name, "remark", remark.strip(), None) for remark in spec.remarks)
    return [*found, *_contradictions()]


def spread(frame: pd.DataFrame, draws: int = DRAWS, seed: int = 0) -> pd.DataFrame:
    """The same predictions under every protocol.

    Args:
        frame: rows of instances.parquet without errors.
        draws: of the intervals; 0 leaves them NaN.
        seed: of the draws.

    Returns:
        One row a protocol: protocol, title, then for mIoU_full and mIoU_inv the value, `_low`, `_high` (percent)
        and `_n`. NaN where a protocol has no such score.
    """
    every = list(protocols().values())
    table = metrics(frame, every, draws=draws, seed=seed)
    whole = table[table["subset"] == "all"]
    cells = {(row["protocol"], row["metric"]): row for row in whole.to_dict("records")}
    return pd.DataFrame([_spread_row(protocol, cells) for protocol in every])


def _spread_row(protocol: Protocol, cells: Mapping[tuple[Any, Any], Mapping[Hashable, Any]]) -> dict[str, object]:
    row: dict[str, object] = {"protocol": protocol.id, "title": protocol.title}
    for metric in ("mIoU_full", "mIoU_inv"):
        cell = cells.get((protocol.id, metric), {})
        for name, column in (("value", ""), ("low", "_low"), ("high", "_high")):
            row[metric + column] = float(cell.get(name, "nan"))
        row[f"{metric}_n"] = int(cell.get("n", 0))
    return row


def _unlike(spec: TableSpec) -> Iterator[AuditFinding]:
    """Rows of one section whose values were made by other rules than those of the paper's own method."""
    known: dict[tuple[str, str, str], list[_Pair]] = {}
    unknown: dict[str, list[str]] = {}
    for pair in _pairs(spec):
        mine, theirs = (spec.origin(row, pair.column).traits() for row in (pair.proposed, pair.other))
        for trait in mine:
            if mine[trait] == theirs[trait] or (trait == "invisible score" and not pair.column.endswith("mIoU_inv")):
                continue
            if UNKNOWN not in (mine[trait], theirs[trait]):
                known.setdefault((trait, mine[trait], theirs[trait]), []).append(pair)
        for row, traits in ((pair.proposed, mine), (pair.other, theirs)):
            missing = [t for t in traits if traits[t] == UNKNOWN and not (t == "invisible score" and not pair.hidden)]
            unknown[row.title] = _unique([*unknown.get(row.title, ()), *missing])
    for (trait, proposed, other), pairs in known.items():
        yield _differing(spec, trait, proposed, other, pairs)
    yield from _not_stated(spec, unknown)


class _Pair(NamedTuple):
    """A value of the paper's own method and one that it is printed beside."""

    proposed: RowSpec
    other: RowSpec
    column: str

    @property
    def gain(self) -> float:
        return self.proposed.printed[self.column] - self.other.printed[self.column]

    @property
    def hidden(self) -> bool:
        return self.column.endswith("mIoU_inv")


def _differing(spec: TableSpec, trait: str, proposed: str, other: str, pairs: Sequence[_Pair]) -> AuditFinding:
    gains = [pair.gain for pair in pairs]
    text = (
        f"{', '.join(_unique(p.proposed.title for p in pairs))}: {proposed}; "
        f"{', '.join(_unique(p.other.title for p in pairs))}: "
        f"{other}. On {', '.join(_unique(p.column for p in pairs))}, where the gains are {min(gains):.{spec.digits}f} "
        f"to {max(gains):.{spec.digits}f} points"
    )
    return AuditFinding(spec.name, trait, text, None)


def _not_stated(spec: TableSpec, unknown: Mapping[str, Sequence[str]]) -> Iterator[AuditFinding]:
    alike: dict[tuple[str, ...], list[str]] = {}
    for row, traits in unknown.items():
        alike.setdefault(tuple(traits), []).append(row)
    for traits, rows in alike.items():
        if traits:
            yield AuditFinding(spec.name, "not stated", f"{', '.join(rows)}: {', '.join(traits)}", None)


def _pairs(spec: TableSpec) -> Iterator[_Pair]:
    """Where both have a value in one section, made by two origins."""
    for proposed in (row for row in spec.rows if row.proposed):
        for other in (row for row in spec.rows if not row.proposed and row.section == proposed.section):
            for column in (c.id for c in spec.columns if not c.mean_of):
                both = column in proposed.printed and column in other.printed
                if both and spec.origin_id(proposed, column) != spec.origin_id(other, column):
                    yield _Pair(proposed, other, column)


def _worth(spec: TableSpec, shift: Shift) -> AuditFinding:
    before, after = (_cell(address) for address in (shift.before, shift.after))
    column = shift.before.split(":", 2)[2]
    proposed = spec.row(shift.row)
    rivals = [
        r.printed[column] for r in spec.rows if not r.proposed and r.section == proposed.section and column in r.printed
    ]
    gain = proposed.printed[column] - max(rivals)
    text = (
        f"{column}: {shift.text}: {before:.2f} becomes {after:.2f}, {after - before:+.2f} points with the same "
        f"model; {proposed.title} claims {gain:+.2f} over the best other row"
    )
    return AuditFinding(spec.name, "worth", text, round(after - before, 2))


def _cell(address: str) -> float:
    """The value at TABLE:ROW:COLUMN."""
    table, row, column = address.split(":", 2)
    return find_table(table).row(row).printed[column]


def _averages(spec: TableSpec) -> Iterator[AuditFinding]:
    """Whether printed averages are the plain means of the printed values."""
    right, half = 0, 0.5 * 10**-spec.digits + _EPSILON
    for row in spec.rows:
        for column in spec.columns:
            if not column.mean_of or column.id not in row.printed or not set(column.mean_of) <= set(row.printed):
                continue
            mean = float(np.mean([row.printed[name] for name in column.mean_of]))
            if abs(mean - row.printed[column.id]) <= half:
                right += 1
                continue
            text = (
                f"{row.title}: {column.id} is {row.printed[column.id]} in print; the mean of its columns is {mean:.2f}"
            )
            yield AuditFinding(spec.name, "average", text, round(mean - row.printed[column.id], 2))
    if right:
        yield AuditFinding(spec.name, "average", f"{right} printed averages are the plain means of their columns", 0.0)


def _claim(spec: TableSpec, claim: Claim) -> AuditFinding:
    value = claimed(spec, claim, claim.row)
    agrees = value >= claim.claimed if claim.kind == "smallest" else round(value, 1) == claim.claimed
    others = [f"{spec.row(row).title} {claimed(spec, claim, row):.2f}" for row in claim.also]
    text = (
        f"{claim.text}: {spec.row(claim.row).title} gives {value:.2f}, "
        f"{'as said' if agrees else f'where {claim.claimed} is said'}"
        + (f"; {', '.join(others)}" if others else "")
        + (f" ({claim.remark})" if claim.remark else "")
    )
    return AuditFinding(spec.name, "claim", text, round(value, 2))


def claimed(spec: TableSpec, claim: Claim, row: str) -> float:
    """What the printed values give for a claim, with `row` as the row that it praises."""
    values = spec.row(row).printed
    here = np.array([values[column] for column in claim.columns])
    if claim.kind == "gap":
        return float(here.mean() - np.mean([values[column] for column in claim.minus]))
    rivals = [spec.row(name).printed for name in claim.over]
    best = np.array([max(r[column] for r in rivals if column in r) for column in claim.columns])
    return float((here - best).min() if claim.kind == "smallest" else (here - best).mean())


def _contradictions() -> Iterator[AuditFinding]:
    """One method on one dataset with several values that no known difference of protocol explains."""
    printed: dict[tuple[str, str, str], list[tuple[TableSpec, RowSpec, str]]] = {}
    for spec in tables().values():
        for row in spec.rows:
            for column in spec.columns:
                if row.method_id and column.dataset_key and column.id in row.printed:
                    printed.setdefault((row.method_id, column.dataset_key, column.metric), []).append(
                        (spec, row, column.id)
                    )
    for (_, key, metric), cells in sorted(printed.items()):
        values = [row.printed[column] for _, row, column in cells]
        known = {spec.origin(row, column).protocol for spec, row, column in cells}
        coarsest = min(spec.digits for spec, _, _ in cells)
        if max(values) - min(values) <= 0.5 * 10**-coarsest + _EPSILON or (len(known) > 1 and None not in known):
            continue
        listed = ", ".join(f"{row.printed[column]:g} ({_source(spec, row)})" for spec, row, column in cells)
        names = " and ".join(_unique(spec.name for spec, _, _ in cells if spec.paper != ELSEWHERE))
        text = f"{cells[0][1].title} on {key}, {metric}: {listed}"
        yield AuditFinding(names or ELSEWHERE, "contradiction", text, round(max(values) - min(values), 2))


def _source(spec: TableSpec, row: RowSpec) -> str:
    return row.source or spec.name


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
