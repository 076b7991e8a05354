"""A protocol: how the counts of many instances become the number that a table prints.

"mIoU" names at least three numbers in this field. A protocol is a small versioned file in configs/protocols
that says which one, so that the same predictions can be scored under each. Others are found as `files.configs` says.
"""

import re
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, PlainSerializer, ValidationError

from amodal_bench.errors import Refused, UnknownName
from amodal_bench.files import configs
from amodal_bench.files.documents import read_yaml
from amodal_bench.files.stamp import remembered
from amodal_bench.plugin import Settings

DEFAULT = "instance-mean/1"
_LABELS = ("id", "title", "source", "evidence")  # fields that are no rule
_VERSION = re.compile(r"-([1-9][0-9]*)$")
_CHANGE = re.compile(r"[a-z_]+=")
_CHANGED = re.compile(r"([^:]+):([a-z_]+=.*)")
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

    id: str = Field(pattern=r"^[a-z0-9-]+/[1-9][0-9]*$")
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


def protocols() -> dict[str, Protocol]:
    """Every protocol that can be read, by id; `list` tells of the others."""
    found, _ = configs.read_all("protocols", named_protocol)
    return {protocol.id: protocol for protocol in found.values()}


@remembered(most=100)
def read_protocol(path: Path) -> Protocol:
    """Read one file; raises `Refused` naming the file and the field."""
    try:
        return Protocol.model_validate(read_yaml(path, "a protocol"))
    except ValidationError as error:
        raise Refused(f"{path}: not a protocol: {error}") from None


def named_protocol(path: Path) -> Protocol:
    """Read a file that is found by its name, so that no other is read; raises `Refused` unless its id is that name."""
    protocol = read_protocol(path)
    if path.stem != _stem(protocol.id):
        raise Refused(f"{path}: the file of protocol {protocol.id!r} must be called {_stem(protocol.id)}.yaml")
    return protocol


def find_protocol(name: str) -> Protocol:
    """The protocol of an id, of a bare name (the newest) or of a file; behind a colon `field=value` changes fields."""
    match = _CHANGED.fullmatch(name)
    name, changes = (match[1], match[2]) if match else (name, "")
    found = _by_path(Path(name)) if configs.is_path(name) else _by_name(name)
    return with_changes(found, changes) if changes else found


def split_protocols(text: str) -> list[str]:
    """Names separated by commas, each with its changes: `pooled/1:min_hidden=8,paste=true,c2f/1` are two."""
    names: list[str] = []
    for part in _parts(text):
        if names and _CHANGE.match(part):
            names[-1] += f",{part}"
        else:
            names.append(part)
    if not all(names):
        raise Refused(f"--protocol takes names separated by commas, got {text!r}")
    return list(dict.fromkeys(names))


def with_changes(protocol: Protocol, text: str) -> Protocol:
    """The protocol with other fields, `min_hidden=8,paste=true`; its id tells, so that it is ranked with no other."""
    values: dict[str, object] = {}
    known = [name for name in Protocol.model_fields if name not in _LABELS]
    for part in _parts(text):
        name, _, value = part.partition("=")
        if name not in known:
            raise UnknownName(f"field of protocol {protocol.id}", name, known)
        values[name] = value.split(";") if isinstance(getattr(protocol, name), tuple) else value
    try:
        changed = Protocol.model_validate({**dict(protocol), **values})
    except ValidationError as error:
        faults = [f"{e['loc'][0]}={e['input']}: {e['msg']}" for e in error.errors()]
        raise Refused(f"--protocol {protocol.id}:{text}: {'; '.join(faults)}") from None
    differing = [name for name in known if getattr(changed, name) != getattr(protocol, name)]
    shown = ",".join(f"{name}={_shown(getattr(changed, name))}" for name in differing)
    return changed.model_copy(update={"id": f"{protocol.id}:{shown}" if shown else protocol.id})


def _by_path(path: Path) -> Protocol:
    file = configs.by_path(path)
    protocol = read_protocol(file.path)
    configs.refuse_clash("protocols", _stem(protocol.id), file)
    return protocol


def _by_name(name: str) -> Protocol:
    known = {f"{stem[: match.start()]}/{match[1]}": stem
             for stem in configs.names("protocols") if (match := _VERSION.search(stem))}  # fmt: skip
    versions = [id for id in known if id.rpartition("/")[0] == name]
    id = name if name in known else max(versions, key=lambda id: int(id.rpartition("/")[2]), default="")
    file = configs.find("protocols", known[id]) if id else None
    if file is None:
        raise UnknownName("protocol", name, known)
    return named_protocol(file.path)


def _stem(id: str) -> str:
    return id.replace("/", "-")


def _parts(text: str) -> list[str]:
    """Between commas, but for those of an interval."""
    return [part.strip() for part in re.split(r",(?![^\[(]*[\])])", text)]


def _shown(value: object) -> str:
    """A field's value as `with_changes` takes it."""
    if isinstance(value, tuple):
        return ";".join(map(_shown, value))
    if isinstance(value, Interval):
        return f"{'(['[value.closed_low]}{value.low:g},{value.high:g}{')]'[value.closed_high]}"
    return str(value).lower() if isinstance(value, bool) else str(value)
