"""A protocol: how the counts of many instances become the number that a table prints.

"mIoU" names at least three numbers in this field. A protocol is a small versioned file in configs/protocols
that says which one, so that the same predictions can be scored under each.
"""

import re
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, PlainSerializer, ValidationError

from amodal_bench.errors import Refused, UnknownName
from amodal_bench.files.documents import read_yaml
from amodal_bench.files.package import CONFIGS
from amodal_bench.plugin import Settings

FOLDER = CONFIGS / "protocols"
DEFAULT = "instance-mean/1"
_INTERVAL = re.compile(r"\s*([\[(])\s*([0-9.]+)\s*,\s*([0-9.]+)\s*([\])])\s*")


class Interval(Settings):
    """A range of occlusion rates with its ends open or closed, written `(0, 0.2]`."""

    low: float
    high: float
    closed_low: bool
    closed_high: bool

    @classmethod
    def parse(cls, text: str) -> "Interval":
        """Read `[0.2, 0.4)`; raises `ValueError` naming the text."""
        match = _INTERVAL.fullmatch(text)
        if not match:
            raise ValueError(f"an interval is written like [0.2, 0.4) or (0, 1], got {text!r}")
        low, high = float(match[2]), float(match[3])
        if low > high or (low == high and match[1] + match[4] != "[]"):
            raise ValueError(f"the interval {text!r} holds no number")
        return cls(low=low, high=high, closed_low=match[1] == "[", closed_high=match[4] == "]")

    def __str__(self) -> str:
        if self.low == self.high:
            return f"{{{self.low:g}}}"
        return f"{'(['[self.closed_low]}{self.low:g}, {self.high:g}{')]'[self.closed_high]}"

    def contains(self, rates: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which of `rates` lie inside."""
        above = rates >= self.low if self.closed_low else rates > self.low
        below = rates <= self.high if self.closed_high else rates < self.high
        return above & below


def _parse(value: object) -> object:
    return Interval.parse(value) if isinstance(value, str) else value


Range = Annotated[Interval, BeforeValidator(_parse), PlainSerializer(str)]


class Protocol(Settings):
    """What is counted, and how; the fields are explained in docs/protocols.md."""

    id: str
    title: str
    source: str
    evidence: str = ""
    aggregate: Literal["mean", "pooled"] = "mean"
    full: bool = True
    invisible: Literal["occluded", "all", "none"] = "occluded"
    occluded: Literal["any", "signed"] = "any"
    min_hidden: int = Field(default=0, ge=0)
    clip_visible: bool = True
    paste: bool = False
    undefined: Literal["skip", "one"] = "skip"
    unmatched: Literal["leave_out", "zero"] = "leave_out"
    rates: Range | None = None
    subsets: tuple[Range, ...] = ()
    buckets: tuple[Range, ...] = tuple(
        Interval.parse(text) for text in ("[0, 0]", "(0, 0.2)", "[0.2, 0.4)", "[0.4, 0.7)", "[0.7, 1]")
    )

    @property
    def key(self) -> tuple[str, int]:
        """(name, version) of an id like `pooled/1`."""
        name, version = self.id.split("/")
        return name, int(version)


def with_buckets(protocol: Protocol, text: str) -> Protocol:
    """The protocol with other buckets: edges `0,.1,.5,1` (as {0}, (0,.1], ...) or intervals `[0,.5);[.5,1]`."""
    try:
        if "[" in text or "(" in text:
            buckets = tuple(Interval.parse(part) for part in text.split(";"))
        else:
            edges = [float(part) for part in text.split(",")]
            if edges != sorted(set(edges)) or len(edges) < 2:
                raise ValueError("edges must rise")
            buckets = tuple(Interval(low=a, high=b, closed_low=False, closed_high=True) for a, b in pairwise(edges))
            if edges[0] == 0:
                buckets = (Interval.parse("[0,0]"), *buckets)
    except ValueError as error:
        raise Refused(
            f"--buckets takes rising edges like 0,.25,.5,1 or intervals like '[0,.5);[.5,1]', got {text!r} ({error})"
        ) from None
    return protocol.model_copy(update={"buckets": buckets})


@cache
def protocols() -> dict[str, Protocol]:
    """Every protocol by id."""
    found = [read_protocol(path) for path in sorted(FOLDER.glob("*.yaml"))]
    return {protocol.id: protocol for protocol in found}


def read_protocol(path: Path) -> Protocol:
    """Read one file; raises `Refused` naming the file and the field."""
    try:
        return Protocol.model_validate(read_yaml(path, "a protocol"))
    except ValidationError as error:
        raise Refused(f"{path}: not a protocol: {error}") from None


def find_protocol(name: str) -> Protocol:
    """The protocol of an id, or the newest version of a bare name."""
    known = protocols()
    if name in known:
        return known[name]
    versions = [p for p in known.values() if p.key[0] == name]
    if not versions:
        raise UnknownName("protocol", name, known)
    return max(versions, key=lambda p: p.key)
