"""Training batches: which instances in which order, and their tensors in the network's frame."""

import logging
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from amodal_bench.errors import BadRecord
from amodal_bench.plugin import AnyDataset
from amodal_bench.types import AmodalSample

from .augment import changed, crop_chance
from .crop import cut_image, cut_mask, cut_visible, window
from .params import Augment, CondDiffParams

log = logging.getLogger(__name__)

Place = tuple[int, int]  # (epoch, index in the dataset)
_TRIES = 20  # neighbours tried where a record is damaged


def epoch_batches(count: int, batch: int, size: int | None, seed: int, epoch: int) -> NDArray[np.int64]:
    """Indices (batches, batch) of an epoch: a random order, of which `size` are taken; the last batch is filled up."""
    order = np.random.default_rng([seed, epoch]).permutation(count)[: size or count]
    return np.resize(order, (-(-len(order) // batch), batch))


class Triples(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """(image uint8, visible, amodal) in the network's frame; `[epoch, index]` fixes all chance."""

    def __init__(self, dataset: AnyDataset, params: CondDiffParams, augment: Augment, seed: int) -> None:
        self._dataset = dataset
        self._size = params.model.size
        whole = augment.crop == "none"
        self._crop = params.crop.model_copy(update={"mode": "none"}) if whole else params.crop
        self._augment = augment
        self._seed = seed

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, place: Place) -> tuple[Tensor, Tensor, Tensor]:
        """(3, S, S) uint8, (1, S, S) and (1, S, S) bool."""
        epoch, index = place
        sample = self._read(index)
        rng = np.random.default_rng([self._seed, epoch, index])
        enlarge, shift = crop_chance(self._augment, rng)
        crop, size = self._crop, self._size
        where = window(sample.query.visible, crop, enlarge, shift)
        by_area = crop.masks == "area"
        image, visible, amodal = changed(
            cut_image(sample.query.image, where, size),
            cut_visible(sample.query.visible, where, size, by_area),
            cut_mask(sample.amodal, where, size, by_area),
            self._augment,
            rng,
        )
        masks = (torch.from_numpy(np.array(mask))[None] for mask in (visible, amodal))
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous(), *masks

    def _read(self, index: int) -> AmodalSample:
        """The instance, or where its record is damaged the next one that is not."""
        for step in range(_TRIES):
            try:
                return self._dataset[(index + step) % len(self._dataset)]
            except BadRecord as error:
                log.warning("left out of training: %s", error)
                fault = error
        raise fault


def batches(
    triples: Triples, order: NDArray[np.int64], epoch: int, rank: int, world: int, workers: int
) -> Iterator[list[Tensor]]:
    """This process's share of each batch of `order`, read by `workers` processes (0: by this one)."""
    share: Sequence[list[Place]] = [[(epoch, int(i)) for i in batch[rank::world]] for batch in order]
    loader = DataLoader(triples, batch_sampler=share, num_workers=workers, pin_memory=torch.cuda.is_available())
    yield from loader
