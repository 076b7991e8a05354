"""What both generations of SAM have in common: an image is encoded once, its objects are decoded from that."""

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch

from amodal_bench.methods._precision import computing
from amodal_bench.types import Image, Mask

from .choose import Logits
from .points import Points
from .reuse import Embeddings
from .settings import Segmenter

log = logging.getLogger(__name__)

_HALF: Mapping[str, torch.dtype] = {"float16": torch.float16, "bfloat16": torch.bfloat16}


class EncodedOnce(ABC):
    """A `PointSegmenter` that encodes an image once and decodes its objects one by one.

    One by one, so that objects can not touch each other's bits. A subclass encodes and decodes; encoding computes in
    `settings.dtype`, decoding in float32.
    """

    def __init__(self, settings: Segmenter, device: str, batch: int) -> None:
        self._settings, self._device, self._batch = settings, device, batch
        self._embeddings = Embeddings(self._encoded, batch)

    def _compiled(self, encoder: torch.nn.Module) -> None:
        """Compile the encoder where asked for, now: no object's seconds have that in them."""
        if not self._settings.compile:
            return
        start = time.perf_counter()
        encoder.compile(dynamic=False)
        with torch.inference_mode():
            self._encoded([np.zeros((64, 64, 3), np.uint8)] * self._batch)
        log.info("compiled the segmenter's encoder, warm after %.0f s", time.perf_counter() - start)

    def _encoded(self, images: Sequence[Image]) -> Sequence[Any]:
        with self._numbers():
            return self.encode(images)

    def _numbers(self) -> AbstractContextManager[Any]:
        """Half precision by autocast alone, which is a thread's own: another one may compute as it likes meanwhile."""
        half = _HALF.get(self._settings.dtype)
        if half is not None:
            return torch.autocast(torch.device(self._device).type, half)
        return computing("tf32" if self._settings.dtype == "tf32" else "fp32", self._device)

    @abstractmethod
    def encode(self, images: Sequence[Image]) -> Sequence[Any]:
        """An embedding an image, float32."""

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
