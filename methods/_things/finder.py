"""Where things are seen around an object, and which of them may hide it."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from amodal_bench.methods._window import cut_image, cut_visible, find_window, paste
from amodal_bench.types import AmodalQuery, Image, Mask

from .adjoining import adjoining
from .settings import ThingsSettings

Logits = NDArray[np.float32]  # (S, S), above 0 is a thing


def scaled(images: Tensor) -> Tensor:
    """uint8 (..., 3, S, S) to [-1, 1]."""
    return images.float() / 127.5 - 1


class ThingsFinder:
    """Asks the network about a square around each object; it always sees `batch` of them."""

    def __init__(self, network: nn.Module, settings: ThingsSettings, device: str, batch: int) -> None:
        self._network = network.eval().to(device)
        self._settings, self._device, self._batch = settings, device, batch

    def things(self, queries: Sequence[AmodalQuery]) -> list[Mask]:
        """Pixels (H, W) that show a thing: what the network finds in its square, and the visible mask itself."""
        return self._found(queries, lambda logits, _: logits)

    def occluders(self, queries: Sequence[AmodalQuery]) -> list[Mask]:
        """Pixels (H, W) of things other than the object that adjoin what is seen of it: no other can hide it."""
        found = self._found(queries, _of_neighbours)
        return [mask & ~query.visible for mask, query in zip(found, queries, strict=True)]

    def _found(self, queries: Sequence[AmodalQuery], chosen: Callable[[Logits, Mask], Logits]) -> list[Mask]:
        size, crop = self._settings.resolution, self._settings.window
        windows = [find_window(query.visible, crop) for query in queries]
        logits = self._logits([cut_image(q.image, w, size) for q, w in zip(queries, windows, strict=True)])
        found = []
        for query, window, one in zip(queries, windows, logits, strict=True):
            seen = cut_visible(query.visible, window, size, by_area=True)
            found.append(paste(chosen(one, seen), window, query.visible.shape, above=0.0) | query.visible)
        return found

    @torch.no_grad()
    def _logits(self, images: Sequence[Image]) -> list[Logits]:
        """`batch` at a time, a short one filled with its last image, so that companions change nothing."""
        found: list[Logits] = []
        for start in range(0, len(images), self._batch):
            shown = list(images[start : start + self._batch])
            filled = np.stack(shown + shown[-1:] * (self._batch - len(shown)))
            pixels = scaled(torch.from_numpy(filled).permute(0, 3, 1, 2).to(self._device))
            found += list(self._network(pixels)[: len(shown)].float().cpu().numpy())
        return found


def _of_neighbours(logits: Logits, seen: Mask) -> Logits:
    """Other things that do not adjoin the object become background."""
    others = (logits > 0) & ~seen
    far = others & ~adjoining(others, seen)
    return np.where(far, -np.abs(logits), logits)
