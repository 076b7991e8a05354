"""Images are encoded in batches of one size, and an image that several instances share only once. No torch here."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from amodal_bench.types import Image

Encode = Callable[[Sequence[Image]], Sequence[Any]]  # as many images as a batch holds -> an embedding each


@dataclass(slots=True, eq=False)
class _Entry:
    key: str | None
    image: Image
    embedding: Any = None

    def serves(self, key: str | None, image: Image) -> bool:
        """Whether this is that image. The pixels are compared too: ids of two datasets may be equal."""
        return key is not None and key == self.key and np.array_equal(image, self.image)


class Embeddings:
    """Embeddings by image. The last one is kept: the instances of one image come one after the other.

    The encoder always sees `batch` images (a short batch is filled with its last one), so that an embedding does not
    depend on its companions.
    """

    def __init__(self, encode: Encode, batch: int) -> None:
        self._encode, self._batch = encode, batch
        self._last: _Entry | None = None

    def of(self, images: Sequence[Image], keys: Sequence[str | None] | None) -> list[Any]:
        """The embedding of every image; images in a row with one key that is not None are one image."""
        entries: list[_Entry] = []
        last = self._last
        for image, key in zip(images, keys or [None] * len(images), strict=True):
            if last is None or not last.serves(key, image):
                last = _Entry(key, image)
            entries.append(last)
        new = list(dict.fromkeys(entry for entry in entries if entry.embedding is None))
        for start in range(0, len(new), self._batch):
            self._fill(new[start : start + self._batch])
        self._last = last if last is not None and last.key is not None else None
        return [entry.embedding for entry in entries]

    def _fill(self, entries: Sequence[_Entry]) -> None:
        shown = [entry.image for entry in entries]
        shown += shown[-1:] * (self._batch - len(shown))
        for entry, embedding in zip(entries, self._encode(shown), strict=False):
            entry.embedding = embedding
