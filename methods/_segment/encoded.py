"""What both generations of SAM have in common: an image is encoded once, its objects are decoded from that."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch

from amodal_bench.types import Image, Mask

from .choose import Logits
from .points import Points
from .reuse import Embeddings


class EncodedOnce(ABC):
    """A `PointSegmenter` that encodes an image once and decodes its objects one by one.

    One by one, so that objects can not touch each other's bits. A subclass encodes and decodes.
    """

    def __init__(self, batch: int) -> None:
        self._embeddings = Embeddings(self.encode, batch)

    @abstractmethod
    def encode(self, images: Sequence[Image]) -> Sequence[Any]:
        """An embedding an image."""

    @abstractmethod
    def decode(self, embedding: Any, points: Points, visible: Mask) -> Logits:
        """Logits (H, W) of the object that the points lie on."""

    def segment(
        self,
        images: Sequence[Image],
        points: Sequence[Points],
        visible: Sequence[Mask],
        keys: Sequence[str | None] | None = None,
    ) -> list[Logits]:
        """As `PointSegmenter` says."""
        with torch.inference_mode():
            embedded = self._embeddings.of(images, keys)
            return [self.decode(*asked) for asked in zip(embedded, points, visible, strict=True)]
