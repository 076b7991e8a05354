"""Training triples in the network's frame."""

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from amodal_bench.methods._training.batches import SampleKey, read
from amodal_bench.methods._window import cut_image, cut_mask, cut_visible, find_window
from amodal_bench.plugin import AnyDataset

from .augment import changed, crop_chance
from .guides import with_guides
from .params import Augment, CondDiffParams


class Triples(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """(image uint8, visible with its guides, amodal) in the network's frame; `[epoch, index]` fixes all chance."""

    def __init__(self, dataset: AnyDataset, params: CondDiffParams, augment: Augment, seed: int) -> None:
        self._dataset = dataset
        self._size = params.model.size
        whole = augment.crop == "none"
        self._crop = params.crop.model_copy(update={"mode": "none"}) if whole else params.crop
        self._augment = augment
        self._guides = params.model.guides
        self._seed = seed

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, key: SampleKey) -> tuple[Tensor, Tensor, Tensor]:
        """(3, S, S) uint8, (1 + G, S, S) float32 and (1, S, S) bool."""
        epoch, index = key
        sample = read(self._dataset, index)
        rng = np.random.default_rng([self._seed, epoch, index])
        enlarge, shift = crop_chance(self._augment, rng)
        crop, size = self._crop, self._size
        window = find_window(sample.query.visible, crop, enlarge, shift)
        by_area = crop.masks == "area"
        image, visible, amodal = changed(
            cut_image(sample.query.image, window, size),
            cut_visible(sample.query.visible, window, size, by_area),
            cut_mask(sample.amodal, window, size, by_area),
            self._augment,
            rng,
        )
        given = with_guides(np.ascontiguousarray(visible), self._guides)
        frame = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
        return frame, torch.from_numpy(given), torch.from_numpy(np.array(amodal))[None]
