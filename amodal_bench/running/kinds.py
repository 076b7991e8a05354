"""Errors of a run by kind: alike but for numbers, ids and paths; and the traceback of the first of each."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from amodal_bench.running.guard import Failure
from amodal_bench.store.folder import ERRORS

_NUMBERS = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """How often errors of one kind came up, the first's id and text, where in the plugin it arose, its traceback."""

    count: int
    first: str
    text: str
    line: str
    trace: Path | None


def by_kind(run: Path, errors: Iterable[tuple[str, str]]) -> list[ErrorKind]:
    """(id, text) of failed instances as kinds, the most frequent first."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for id, text in errors:
        groups.setdefault(_name(id, text), []).append((id, text))
    kinds = []
    for name, members in sorted(groups.items(), key=lambda group: (-len(group[1]), group[1][0])):
        first, text = members[0]
        path = run / ERRORS / f"{name}.txt"
        trace = path if path.is_file() else None
        line = path.read_text(encoding="utf-8").splitlines()[1] if trace else ""
        kinds.append(ErrorKind(len(members), first, text.replace(f"{first}: ", ""), line, trace))
    return kinds


def keep_trace(run: Path, id: str, failure: Failure) -> None:
    """Write the traceback of an error down, unless there is one of its kind."""
    path = run / ERRORS / f"{_name(id, failure.message)}.txt"
    path.parent.mkdir(exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(f"{id}\n{failure.line}\n{failure.trace or failure.message}\n")
    except FileExistsError:
        return


def _name(id: str, text: str) -> str:
    """Equal for errors of one kind."""
    shape = _NUMBERS.sub("#", text.replace(id, "ID"))
    return hashlib.sha256(shape.encode()).hexdigest()[:12]
