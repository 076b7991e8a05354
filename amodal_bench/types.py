"""What passes between a dataset, a method and a metric."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from amodal_bench.errors import BadRecord

MOST_PIXELS = 50_000_000  # of an image: with its masks it stays below 1 GiB; more is no dataset's photo

Image = NDArray[np.uint8]  # (H, W, 3), RGB
Mask = NDArray[np.bool_]  # (H, W), full frame


class InstanceId(NamedTuple):
    """The four parts of an id, in the dataset's own numbers."""

    dataset: str
    split: str
    image: str
    annotation: str


def parse_id(text: str) -> InstanceId:
    """Split `DATASET/SPLIT/IMAGE/ANN`; the image part may itself hold slashes."""
    dataset, split, rest = text.split("/", 2)
    image, annotation = rest.rsplit("/", 1)
    return InstanceId(dataset, split, image, annotation)


def beside(ids: Sequence[str], index: int) -> range:
    """Indices of all instances of the same image, `index` among them: in a dataset's `ids()` they stand together."""
    first = range(len(ids))[index]
    end, image = first + 1, ids[first].rpartition("/")[0]
    while first and ids[first - 1].rpartition("/")[0] == image:
        first -= 1
    while end < len(ids) and ids[end].rpartition("/")[0] == image:
        end += 1
    return range(first, end)


def is_text(value: Any) -> bool:
    """Whether a value is text that a file can hold: no half of a surrogate pair."""
    try:
        return isinstance(value, str) and bool(value.encode() or True)
    except UnicodeEncodeError:
        return False


def check_id(text: Any) -> None:
    """Raise `ValueError` unless `text` is `DATASET/SPLIT/IMAGE/ANN` in characters that a file can hold."""
    if not is_text(text) or text.count("/") < 3:
        raise ValueError(f"an id must be text like DATASET/SPLIT/IMAGE/ANN, got {text!r}")


def check_mask(mask: Mask, shape: tuple[int, ...], what: str) -> None:
    """Raise `ValueError` unless `mask` is a bool array of `shape`; `what` names it and its owner."""
    if not isinstance(mask, np.ndarray):
        raise ValueError(f"{what} must be a bool array {shape}, got {type(mask).__name__}")
    if mask.dtype != np.bool_ or mask.shape != shape:
        raise ValueError(f"{what} must be bool {shape}, got {mask.dtype} {mask.shape}")


def _meet(mask: Mask, other: Mask) -> bool:
    """Whether two masks share a pixel; mostly the first one of `mask` tells."""
    first = mask.argmax()
    return bool(mask.flat[first] and other.flat[first]) or bool((mask & other).any())


@dataclass(frozen=True, slots=True, eq=False)
class AmodalQuery:
    """All that a method may see of one instance: never the amodal mask.

    `image` is (H, W, 3) uint8 RGB, `visible` (H, W) bool and not empty (else `BadRecord`). Queries of one image come
    one after the other with equal `image_id`, so a method may keep what it computed for the image.
    """

    id: str
    image_id: str
    image: Image
    visible: Mask
    category: str | None = None

    def __post_init__(self) -> None:
        if self.image.ndim != 3 or self.image.shape[2] != 3 or self.image.dtype != np.uint8:
            raise ValueError(f"{self.id}: image must be uint8 (H, W, 3), got {self.image.dtype} {self.image.shape}")
        check_mask(self.visible, self.image.shape[:2], f"{self.id}: visible mask")
        if not self.visible.any():
            raise BadRecord(f"{self.id}: visible mask is empty; a method needs at least one visible pixel")
        if self.category is not None and not is_text(self.category):
            raise ValueError(f"{self.id}: category must be text or None, got {self.category!r}")


@dataclass(frozen=True, slots=True, eq=False)
class AmodalSample:
    """A query with its answer and the facts that the annotation states about it.

    Raises `BadRecord` where the amodal mask is empty or shares no pixel with the true visible one.

    `true_visible` is set only where the query carries a visible mask from elsewhere (a detector's): the
    method gets that one, the metric keeps the truth. `unmatched`: there are such masks, but none of them is of this
    instance, so no method is asked and its prediction is empty; the query has the ground truth's.
    """

    query: AmodalQuery
    amodal: Mask
    is_stuff: bool | None = None
    declared_rate: float | None = None
    true_visible: Mask | None = None
    unmatched: bool = False

    def __post_init__(self) -> None:
        shape = self.query.visible.shape
        check_mask(self.amodal, shape, f"{self.query.id}: amodal mask")
        if not self.amodal.any():
            raise BadRecord(f"{self.query.id}: amodal mask is empty")
        if self.true_visible is not None:
            check_mask(self.true_visible, shape, f"{self.query.id}: true visible mask")
        if not isinstance(self.is_stuff, (bool, np.bool_, NoneType)):
            raise ValueError(f"{self.query.id}: is_stuff must be True, False or None, got {self.is_stuff!r}")
        if not _meet(self.visible, self.amodal):
            raise BadRecord(f"{self.query.id}: the visible mask lies wholly outside the amodal mask")

    @property
    def visible(self) -> Mask:
        """The ground truth's visible mask."""
        return self.query.visible if self.true_visible is None else self.true_visible

    @property
    def occlusion_rate(self) -> float:
        """|hidden| / |amodal| in [0, 1], with hidden = amodal and not visible."""
        return float((self.amodal & ~self.visible).sum() / self.amodal.sum())


class Seen(NamedTuple):
    """One instance as a query, and the visible pixels (H, W) of all annotated things of its image: nothing amodal."""

    query: AmodalQuery
    things: Mask

    @classmethod
    def among(cls, query: AmodalQuery, samples: Iterable[AmodalSample]) -> "Seen":
        """A query and the visible masks of its image's instances, united; stuff is no thing."""
        things = np.zeros_like(query.visible)
        for sample in samples:
            things |= sample.visible & (not sample.is_stuff)
        return cls(query, things)
