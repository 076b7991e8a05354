"""Which image and which two masks belong together, told by the names of their files."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from amodal_bench.errors import DatasetNotReady

IMAGE_ENDINGS = ("image", "img", "rgb")
VISIBLE_ENDINGS = ("visible_mask", "visible", "vis", "inmodal", "modal", "mask")
AMODAL_ENDINGS = ("amodal_mask", "amodal", "full", "whole", "mask")
_NUMBER = re.compile(r"(.+)[_-](\d{1,9})")

ObjectKey = tuple[str, int | None]  # image, number of the object; None where there is one object


class ObjectNames(NamedTuple):
    """The three names of an object. `number`: its value in the visible id map, None where the mask is its own."""

    image: str
    annotation: str
    visible: str
    amodal: str
    number: int | None


def paired(
    images: Sequence[str], visible: Sequence[str], amodal: Sequence[str]
) -> tuple[list[ObjectNames], dict[str, list[str]]]:
    """The objects by image and number, and names that lack one of `image`, `visible` and `amodal`, with what they lack.

    Names are paths below their folders, without suffix. A mask is called like its image, or has an ending (`_mask`,
    `_visible`, ...), or the number of its object (`street_2`), or both in either order. A numbered amodal mask may have
    the image's visible mask for a partner, which is then a map of the numbers. Raises `DatasetNotReady` where two
    masks are of one object.
    """
    known, rank = _by_spelling(images), {name: k for k, name in enumerate(images)}
    seen, stray_seen = _placed("visible", visible, known, VISIBLE_ENDINGS)
    whole, stray_whole = _placed("amodal", amodal, known, AMODAL_ENDINGS)
    objects, lacking = [], dict[str, list[str]]()
    for key in sorted(whole, key=lambda key: (rank[key[0]], key[1] or 0)):
        image, number = key
        is_map = key not in seen and number is not None and (image, None) in seen and (image, None) not in whole
        partner = (image, None) if is_map else key
        if partner in seen:
            annotation = "0" if number is None else str(number)
            objects.append(ObjectNames(image, annotation, seen[partner], whole[key], number if is_map else None))
        else:
            lacking[_told(key)] = ["visible"]
    used = {names.visible for names in objects}
    lacking |= {_told(key): ["amodal"] for key, name in seen.items() if name not in used}
    for name in sorted({*stray_seen, *stray_whole}):
        masks = {"visible": stray_seen, "amodal": stray_whole}
        lacking[name] = ["image", *(kind for kind, stray in masks.items() if name not in stray)]
    bare = {*images} - {key[0] for key in (*seen, *whole)}
    _check_once(objects)
    return objects, lacking | {name: ["visible", "amodal"] for name in bare}


def _check_once(objects: Sequence[ObjectNames]) -> None:
    times = Counter((names.image, names.annotation) for names in objects)
    twice = [f"{image}_{annotation}" for (image, annotation), n in times.items() if n > 1]
    if twice:
        raise DatasetNotReady(f"amodal/ holds {twice[0]} and {twice[0].removesuffix('_0')}: which is object 0 of it?")


def _by_spelling(images: Sequence[str]) -> Mapping[str, str]:
    """Images by their names, and without an ending of their own where that is the name of no other."""
    known = {name: name for name in images}
    shorter: dict[str, list[str]] = {}
    for name in images:
        for ending in IMAGE_ENDINGS:
            if (base := _without(name, ending)) is not None:
                shorter.setdefault(base, []).append(name)
    return {**{base: value[0] for base, value in shorter.items() if len(value) == 1}, **known}


def _placed(
    kind: str, names: Sequence[str], known: Mapping[str, str], endings: Sequence[str]
) -> tuple[dict[ObjectKey, str], list[str]]:
    """Masks by the object that they are of, and those of no image."""
    found: dict[ObjectKey, str] = {}
    strays = []
    for name in names:
        key = _key(name, known, endings)
        if key is None:
            strays.append(name)
        elif key in found:
            raise DatasetNotReady(f"{kind}/ holds two masks of {_told(key)}: {found[key]} and {name}")
        else:
            found[key] = name
    return found, strays


def _key(name: str, known: Mapping[str, str], endings: Sequence[str], number: int | None = None) -> ObjectKey | None:
    if name in known:
        return known[name], number
    match = _NUMBER.fullmatch(name) if number is None else None
    shorter = [(base, number) for ending in endings if (base := _without(name, ending)) is not None]
    if match:
        shorter.append((match[1], int(match[2])))
    keys = (_key(base, known, endings, value) for base, value in shorter)
    return next((key for key in keys if key is not None), None)


def _without(name: str, ending: str) -> str | None:
    """The name without `_ENDING` or `-ENDING`."""
    cut = len(name) - len(ending) - 1
    fits = cut > 0 and name.lower().endswith(ending) and name[cut] in "_-" and name[cut - 1] != "/"
    return name[:cut] if fits else None


def _told(key: ObjectKey) -> str:
    image, number = key
    return image if number is None else f"{image}_{number}"
