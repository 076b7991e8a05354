"""Training batches: which instances in which order, and each process's share of them."""

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

log = logging.getLogger(__name__)

SampleKey = tuple[int, int]  # (epoch, index in the dataset)
_TRIES = 20  # neighbours tried where a record is damaged


def epoch_batches(count: int, batch: int, size: int | None, seed: int, epoch: int) -> NDArray[np.int64]:
    """Indices (batches, batch) of an epoch: a random order, of which `size` are taken; the last batch is filled up."""
    order = np.random.default_rng([seed, epoch]).permutation(count)[: size or count]
    return np.resize(order, (-(-len(order) // batch), batch))


def read(dataset: AnyDataset, index: int) -> AmodalSample:
    """The instance, or where its record is damaged the next one that is not."""
    for step in range(_TRIES):
        try:
            return dataset[(index + step) % len(dataset)]
        except BadRecord as error:
            log.warning("left out of training: %s", error)
            fault = error
    raise fault


def read_batches(
    items: Dataset[tuple[Tensor, ...]], order: NDArray[np.int64], epoch: int, rank: int, world: int, workers: int
) -> Iterator[list[Tensor]]:
    """This process's share of each batch of `order`, read by `workers` processes (0: by this one).

    `items` is indexed by (epoch, index), which fixes all chance.
    """
    share: Sequence[list[SampleKey]] = [[(epoch, int(i)) for i in batch[rank::world]] for batch in order]
    loader = DataLoader(items, batch_sampler=share, num_workers=workers, pin_memory=torch.cuda.is_available())
    yield from loader
