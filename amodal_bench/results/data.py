"""What the instances of a run are: the one definition of "the same data"."""

from collections.abc import Hashable, Iterable, Mapping
from typing import Any, NamedTuple

from amodal_bench.resolve.predicted_visible import TRUTH

_SHOWN = 60  # characters of an option that a label shows


class Data(NamedTuple):
    """Runs may be compared, averaged and put in one column where all of this is equal.

    `options` is their spelling, `source` the digest of a dataset that is no built-in one, `visible` what the method was
    given: the ground truth's visible masks (`gt`), or the digest of a detector's.
    """

    dataset: str
    split: str
    options: str
    fingerprint: str
    source: str
    visible: str

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> "Data":
        """What a spec says of the data."""
        options = ", ".join(f"{name}={value}" for name, value in sorted(spec["options"].items()))
        return cls(
            dataset=str(spec["dataset"]),
            split=str(spec["split"]),
            options=options,
            fingerprint=str(spec["fingerprint"]),
            source=str(spec["dataset_source"] or ""),
            visible=str(spec["visible"]),
        )

    @property
    def name(self) -> str:
        """DATASET/SPLIT."""
        return f"{self.dataset}/{self.split}"

    def __str__(self) -> str:
        given = "" if self.visible == TRUTH else f", visible {self.visible}"
        return f"{self.name} ({self.options}{given}; {self.fingerprint[:8]})"


_WORDS = {
    "dataset": "dataset",
    "split": "split",
    "options": "dataset options",
    "fingerprint": "fingerprint of the files",
    "source": "source of the dataset's plugin",
    "visible": "visible masks that the method was given",
}


def unlike(one: Data, other: Data) -> str:
    """In what two runs' data differ, in words with both values; empty where they are the same data."""
    parts = [
        f"{words} ({_quoted(mine)} and {_quoted(theirs)})"
        for words, mine, theirs in zip(_WORDS.values(), one, other, strict=True)
        if mine != theirs
    ]
    return ", ".join(parts)


def block_names(every: Iterable[Data]) -> dict[Data, str]:
    """A name for each: DATASET/SPLIT, with what it differs in where several are called so."""
    known = list(dict.fromkeys(every))
    return {data: _named(data, [other for other in known if other.name == data.name]) for data in known}


def _named(data: Data, alike: list[Data]) -> str:
    differing: dict[str, Hashable] = {
        field: mine
        for field, mine, *others in zip(Data._fields, data, *alike, strict=True)
        if len(set(others)) > 1  # `alike` holds `data` too
    }
    if not differing:
        return data.name
    spelled = {
        "options": data.options,
        "fingerprint": f"files {data.fingerprint[:8]}",
        "source": f"plugin {data.source[:8] or 'built in'}",
        "visible": f"visible {data.visible}",
    }
    return f"{data.name} ({', '.join(_short(spelled[field]) for field in differing)})"


def _short(text: str) -> str:
    return text if len(text) < _SHOWN else f"{text[: _SHOWN - 3]}..."


def _quoted(text: str) -> str:
    return text or "none"
