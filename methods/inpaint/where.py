"""Where something may be hidden, by what is seen around the object (ours, in neither equation). No torch.

The paper's M is where the object's hull is, whatever the picture shows there; but nothing is hidden behind background.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from amodal_bench.masks.boxes import Window
from amodal_bench.methods._window import cut_mask
from amodal_bench.types import AmodalQuery, Mask

from .params import Condition


class Finder(Protocol):
    """What tells things from background around objects."""

    def things(self, queries: Sequence[AmodalQuery]) -> list[Mask]:
        """Pixels (H, W) of all things, each query's object among them."""

    def occluders(self, queries: Sequence[AmodalQuery]) -> list[Mask]:
        """Pixels (H, W) of other things that adjoin each query's object."""


class Where(NamedTuple):
    """Full frames (H, W) or squares (R, R): the occluders' area, and where M and the answer may lie; None: anywhere."""

    occluders: Mask | None = None
    within: Mask | None = None

    def cut(self, window: Window, size: int) -> "Where":
        """Both in the square that the models work on."""
        return Where(*(None if mask is None else cut_mask(mask, window, size, by_area=True) for mask in self))


NOWHERE = Where()  # nobody was asked


def look_around(queries: Sequence[AmodalQuery], settings: Condition, finder: Finder | None) -> list[Where]:
    """What the settings ask to know of each query; `finder` is only asked for that."""
    nothing = [None] * len(queries)
    if finder is None:
        return [NOWHERE] * len(queries)
    occluders = finder.occluders(queries) if "occluders" in (settings.area, settings.within) else nothing
    within = {"none": nothing, "occluders": occluders}.get(settings.within)
    allowed = finder.things(queries) if within is None else within
    return [Where(*masks) for masks in zip(occluders, allowed, strict=True)]
