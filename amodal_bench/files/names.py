"""Names that become parts of paths: plain ones pass, others are refused, and any text can be made into one."""

import hashlib
import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from amodal_bench.errors import Refused

JOIN = "+"  # between the names of datasets that were trained on together
LONGEST = 120  # bytes; what is put before and behind it still fits into the 255 that file systems take
_SIGNS = '/ \\ : * ? " < > |'  # that no file's name holds on one system or another
_UNFIT = re.compile(r'[/\\:*?"<>|\x00-\x1f\x7f]')
_DULL = re.compile(r"[^\w.=-]+")


def fault_of(name: str) -> str:
    """What keeps a name from being one part of a path on every system; empty where nothing does."""
    if not name:
        return "is empty"
    if _UNFIT.search(name):
        return f"holds one of {_SIGNS} or a control character"
    if name.startswith(".") or name.endswith((".", " ")):
        return "begins with a dot, or ends with a dot or a space"
    if not name.isprintable():  # what cannot be encoded is not printable
        return "holds what cannot be printed"
    size = len(name.encode())
    return f"takes {size} bytes, more than {LONGEST}" if size > LONGEST else ""


def plain_name(name: str, what: str) -> str:
    """`name`, unless it would lead out of its folder or is no file's name: then `Refused`, which says whose it is."""
    fault = fault_of(name)
    if fault:
        raise Refused(f"the {what} {name[:LONGEST]!r} names a folder or a file, but {fault}: rename it")
    return name


def _checked(name: str) -> str:
    fault = fault_of(name)
    if fault:
        raise ValueError(f"names a folder, but {fault}")
    return name


PlainName = Annotated[str, AfterValidator(_checked)]


def names_of(trainset: str) -> list[str]:
    """The datasets in a name such as `synthetic+composites`; one in most."""
    return trainset.split(JOIN)


def file_name(text: str) -> str:
    """A plain name made of any text: what it may not hold becomes `-`; where it is too long, a digest ends it."""
    name = _DULL.sub("-", text).strip("-.") or "-"
    if len(name.encode()) <= LONGEST:
        return name
    kept = name.encode()[: LONGEST - 9].decode(errors="ignore")
    return f"{kept}-{hashlib.sha256(text.encode(errors='replace')).hexdigest()[:8]}"


def own_folder(outer: Path, inner: str) -> Path:
    """The folder OUTER/INNER to write into; raises `Refused` where a link, perhaps a stranger's, leads out of OUTER."""
    path = outer / inner
    if not path.resolve().is_relative_to(outer.resolve()):
        raise Refused(
            f"{path} leads to {path.resolve()}, out of {outer}: remove the link, or name the place with --out"
        )
    return path
