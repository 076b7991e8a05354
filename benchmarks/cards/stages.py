"""Stages one after the other, each written down when it ends, so that a call that is cut off keeps what it has."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from amodal_bench.errors import Refused
from amodal_bench.files.cache import write_atomic

# What a library raises where it cannot do what a stage asks; the other stages are worth having all the same.
FAILURES = (
    Refused,
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    ImportError,
    OSError,
)


@dataclass(frozen=True, slots=True)
class Stage:
    """What is measured under a name; `reserve` is how many seconds it takes on a slow card."""

    name: str
    measure: Callable[[], Mapping[str, Any]]
    reserve: float = 15.0


class Record:
    """The JSON file of one benchmark on one card. Stages that are in it are not taken again, failed ones are."""

    def __init__(self, path: Path, facts: Mapping[str, Any]) -> None:
        self._path, self._facts = path, json.loads(json.dumps(facts))
        self.stages: dict[str, Any] = _read(path, self._facts)

    def take(self, stages: Sequence[Stage], minutes: float, tell: Callable[[str], None]) -> list[str]:
        """Measure what is left while there is time; returns the names of what is left after that."""
        end = time.monotonic() + 60 * minutes
        for stage in stages:
            if self._has(stage.name):
                continue
            if time.monotonic() + stage.reserve > end:
                tell(f"{stage.name}: left for the next call ({stage.reserve:.0f} s would not fit)")
                continue
            start = time.monotonic()
            found = _measured(stage)
            self.stages[stage.name] = {**found, "seconds_taken": round(time.monotonic() - start, 2)}
            self._write([other.name for other in stages if not self._has(other.name)])
            tell(f"{stage.name}: {_line(found)}")
        return [stage.name for stage in stages if not self._has(stage.name)]

    def _has(self, name: str) -> bool:
        return name in self.stages and "failed" not in self.stages[name]

    def _write(self, left: list[str]) -> None:
        whole = {"facts": self._facts, "stages": self.stages, "left": left}
        write_atomic(self._path, (json.dumps(whole, indent=1) + "\n").encode())


def _read(path: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        before = json.loads(path.read_bytes())
        stages, there = dict(before["stages"]), dict(before["facts"])
    except (ValueError, LookupError, TypeError):
        raise Refused(f"{path} is no record of this benchmark: move it away, or give --out another file") from None
    differing = [name for name in sorted({*facts, *there}) if facts.get(name) != there.get(name)]
    if differing:
        parts = "; ".join(f"{name} {there.get(name)!r}, here {facts.get(name)!r}" for name in differing)
        raise Refused(f"{path} holds figures of something else ({parts}): give --out another file, or delete it")
    return stages


def _measured(stage: Stage) -> dict[str, Any]:
    try:
        return dict(stage.measure())
    except torch.OutOfMemoryError:
        return {"out_of_memory": True}
    except FAILURES as error:
        return {"failed": f"{type(error).__name__}: {error}"[:2000]}


def _line(found: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in found.items()
    )
