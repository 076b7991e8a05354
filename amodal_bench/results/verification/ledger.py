"""What is wrong with instances, kind by kind: how many have it, the first of them, and in which columns."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from amodal_bench.plugin import Settings

SHOWN = 3  # instances that are named of each kind


class Problem(Settings):
    """Instances with one kind of fault."""

    count: int
    examples: tuple[str, ...]
    columns: tuple[str, ...] = ()

    def __str__(self) -> str:
        columns = f", in {', '.join(self.columns)}" if self.columns else ""
        more = ", ..." if self.count > len(self.examples) else ""
        return (
            f"{self.count} {'instance' if self.count == 1 else 'instances'}{columns}: {'; '.join(self.examples)}{more}"
        )


class Ledger:
    """Problems by kind, in the order in which they were met. A kind is a sentence without its instances."""

    def __init__(self) -> None:
        self.problems: dict[str, Problem] = {}

    def add(self, kind: str, example: str, columns: Sequence[str] = ()) -> None:
        """One more instance."""
        self.merge({kind: Problem(count=1, examples=(example,), columns=tuple(columns))})

    def where(
        self, kind: str, table: pa.Table, wrong: NDArray[np.bool_], details: Sequence[object] | None = None
    ) -> None:
        """The rows of a table with an id that are `wrong`; `details` tells something of each row."""
        found = np.flatnonzero(wrong)
        if not len(found):
            return
        first = found[:SHOWN].tolist()
        ids = table["id"].take(pa.array(first)).to_pylist()
        texts = [f" ({details[row]})" if details is not None else "" for row in first]
        examples = tuple(f"{id}{text}" for id, text in zip(ids, texts, strict=True))
        self.merge({kind: Problem(count=len(found), examples=examples)})

    def merge(self, others: Mapping[str, Problem]) -> None:
        """Take in what another ledger found in later rows."""
        for kind, other in others.items():
            before = self.problems.get(kind, Problem(count=0, examples=()))
            self.problems[kind] = Problem(
                count=before.count + other.count,
                examples=(*before.examples, *other.examples)[:SHOWN],
                columns=_in_order({*before.columns, *other.columns}),
            )

    def lines(self) -> list[str]:
        """A sentence a kind."""
        return [f"{kind}: {problem}" for kind, problem in self.problems.items()]


def _in_order(columns: Iterable[str]) -> tuple[str, ...]:
    """Names sorted, v2 before v10."""
    return tuple(sorted(columns, key=lambda name: (name.rstrip("0123456789"), len(name), name)))
