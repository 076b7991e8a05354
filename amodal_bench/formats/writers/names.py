"""Names and numbers that a layout can take, as close to the source's own as may be."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from amodal_bench.types import parse_id

_UNFIT = re.compile(r"[^\w. -]")
_LONGEST = 200  # bytes of a file's name without suffix; systems take 255
_DIGITS = 18  # a whole number of so many fits into 64 bits


class TakenNames:
    """Names fit for files: letters, digits, `_`, `.`, `-` and spaces stay; different names stay different."""

    def __init__(self) -> None:
        self._given: dict[str, str] = {}
        self._taken: set[str] = set()

    def __getitem__(self, name: str) -> str:
        if name not in self._given:
            fit = base = _shortened(_UNFIT.sub("_", name)).strip(" .") or "_"
            count = 1
            while _folded(fit) in self._taken:
                count += 1
                fit = f"{base}-{count}"
            self._taken.add(_folded(fit))
            self._given[name] = fit
        return self._given[name]


def _shortened(name: str) -> str:
    return name.encode()[:_LONGEST].decode(errors="ignore")


def _folded(name: str) -> str:
    """What disks that do not tell cases or spellings of one letter apart make of a name."""
    return unicodedata.normalize("NFC", name).casefold()


def whole_numbers(names: Sequence[str]) -> list[int]:
    """Each name as a number where all are different ones (`000017` is 17), else 1, 2, 3, ..."""
    if all(name.isdecimal() and len(name) <= _DIGITS for name in names):
        numbers = [int(name) for name in names]
        if len(set(numbers)) == len(numbers):
            return numbers
    return list(range(1, len(names) + 1))


def image_numbers(ids: Sequence[str]) -> dict[str, int]:
    """A number for the image part of each id."""
    names = list(dict.fromkeys(parse_id(id).image for id in ids))
    return dict(zip(names, whole_numbers(names), strict=True))


def annotation_numbers(ids: Sequence[str]) -> dict[str, int]:
    """A number for each id: its annotation part where these are different all over, as COCO's tools need."""
    return dict(zip(ids, whole_numbers([parse_id(id).annotation for id in ids]), strict=True))


def object_names(ids: Sequence[str]) -> dict[str, str]:
    """A file name for each object: the image's where it is alone and called 0, else IMAGE-ANN."""
    parts = [parse_id(id) for id in ids]
    times = Counter(part.image for part in parts)
    names = TakenNames()
    found = {}
    for id, part in zip(ids, parts, strict=True):
        alone = times[part.image] == 1 and part.annotation == "0"
        found[id] = names[part.image if alone else f"{part.image}-{part.annotation}"]
    return found
