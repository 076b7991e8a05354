"""Training batches: which instances in which order, and each process's share of them."""

import logging
import signal
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from amodal_bench.errors import BadRecord
from amodal_bench.plugin import AnyDataset
from amodal_bench.types import AmodalSample, Seen

from .settings import TrainerSettings

log = logging.getLogger(__name__)

Record = TypeVar("Record", AmodalSample, Seen)

SampleKey = tuple[int, int]  # (epoch, index in the dataset)
_TRIES = 20  # neighbours tried where a record is damaged
_OF_THE_PARENT = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")


def epoch_batches(count: int, batch: int, size: int | None, seed: int, epoch: int) -> NDArray[np.int64]:
    """Indices (batches, batch) of an epoch: a random order, of which `size` are taken; the last batch is filled up."""
    order = np.random.default_rng([seed, epoch]).permutation(count)[: size or count]
    return np.resize(order, (-(-len(order) // batch), batch))


class Course:
    """Which instances each step of a training sees, in all processes together and in this one.

    Every process takes each `world`-th row of a batch, and takes them in `accumulate` parts one after the other.
    """

    def __init__(self, count: int, config: TrainerSettings, seed: int, rank: int, world: int) -> None:
        self._count, self._config, self._seed = count, config, seed
        self._share = np.arange(config.batch_size)[rank::world].reshape(config.accumulate, -1)
        self.per_epoch = len(self.order(0))
        self.steps = config.epochs * self.per_epoch

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Indices (batches, batch) of an epoch."""
        config = self._config
        return epoch_batches(self._count, config.batch_size, config.epoch_size, self._seed, epoch)

    def batch(self, step: int) -> NDArray[np.int64]:
        """Indices (batch,) of all that a step sees."""
        found: NDArray[np.int64] = self.order(step // self.per_epoch)[step % self.per_epoch]
        return found

    def rows(self, part: int) -> list[int]:
        """Which rows of the whole batch part `part` of this process's share holds."""
        rows: list[int] = self._share[part].tolist()
        return rows

    def keys(self, start: int) -> Iterator[list[SampleKey]]:
        """Every part that this process takes, from step `start` to the last."""
        for epoch in range(start // self.per_epoch, self._config.epochs):
            first = max(0, start - epoch * self.per_epoch)
            for batch in self.order(epoch)[first:]:
                for rows in self._share:
                    yield [(epoch, int(index)) for index in batch[rows]]


def read(dataset: AnyDataset, index: int) -> AmodalSample:
    """The instance, or where its record is damaged the next one that is not."""
    return _next_whole(dataset.__getitem__, index, len(dataset))


def read_seen(dataset: AnyDataset, index: int) -> Seen:
    """What is seen around the instance, or where its record is damaged around the next one that is not."""
    return _next_whole(dataset.seen, index, len(dataset))


def _next_whole(take: Callable[[int], Record], index: int, count: int) -> Record:
    for step in range(_TRIES):
        try:
            return take((index + step) % count)
        except BadRecord as error:
            log.warning("left out of training: %s", error)
            fault = error
    raise fault


def read_batches(
    items: Dataset[tuple[Tensor, ...]], keys: Iterable[list[SampleKey]], workers: int
) -> Iterator[list[Tensor]]:
    """The batches of `keys`, read by `workers` processes (0: by this one).

    `items` is indexed by (epoch, index), which fixes all chance. One call serves a whole training: its processes are
    started once and read on across the ends of epochs.
    """
    loader = DataLoader(
        items,
        batch_sampler=keys,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_leave_signals_to_the_parent if workers else None,
    )
    yield from loader


def _leave_signals_to_the_parent(_: int) -> None:
    """A cluster tells all processes of a job to end: what reads must go on until the parent has kept its state."""
    for name in _OF_THE_PARENT:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
