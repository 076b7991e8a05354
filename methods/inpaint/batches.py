"""Training images with holes, in the network's frame."""

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from amodal_bench.methods._training.batches import SampleKey, read
from amodal_bench.methods._training.colour import before_another, recoloured
from amodal_bench.methods._training.pieces import piece, whole
from amodal_bench.methods._window import cut_image, cut_visible, find_window
from amodal_bench.plugin import AnyDataset
from amodal_bench.types import AmodalSample, Image, Mask

from .holes import cutout, hole
from .others import laid_over, read_others
from .params import InpaintParams, InpaintTraining


class Holes(Dataset[tuple[Tensor, Tensor]]):
    """(image uint8, hole bool) in the network's frame; `[epoch, index]` fixes all chance."""

    def __init__(self, dataset: AnyDataset, params: InpaintParams, training: InpaintTraining, seed: int) -> None:
        self._dataset = dataset
        self._params = params
        self._training = training
        self._seed = seed
        self._others = read_others(dataset, params.resolution, seed) if training.others else []

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, key: SampleKey) -> tuple[Tensor, Tensor]:
        """(3, S, S) uint8 and (1, S, S) bool."""
        epoch, index = key
        sample = whole(read(self._dataset, index))
        rng = np.random.default_rng([self._seed, epoch, index])
        image, found = self.drawn(sample, rng)
        return torch.from_numpy(image.copy()).permute(2, 0, 1).contiguous(), torch.from_numpy(found.copy())[None]

    def drawn(self, sample: AmodalSample, rng: np.random.Generator) -> tuple[Image, Mask]:
        """An image (S, S, 3) and its hole (S, S)."""
        training, size = self._training, self._params.resolution
        if self._others and rng.random() < training.others:
            return self._with_another(sample, rng)
        cut = rng.random() < training.cutout
        kept = piece(sample.amodal, rng) if cut else sample.amodal
        shift = training.shift * rng.uniform(-1, 1, 2)
        window = find_window(kept, self._params.region, float(rng.uniform(*training.enlarge)), (shift[0], shift[1]))
        image = recoloured(cut_image(sample.query.image, window, size), training.colour, rng)
        mask = cut_visible(sample.amodal, window, size, by_area=True)
        sigma = self._params.condition.blur * size
        image = before_another(image, mask, training.black, training.own_colours, sigma, rng)
        found = cutout(cut_visible(kept, window, size, by_area=True), rng) if cut else hole(mask, rng)
        if rng.random() < 0.5:
            image, found = image[:, ::-1], found[:, ::-1]
        return image, found

    def _with_another(self, sample: AmodalSample, rng: np.random.Generator) -> tuple[Image, Mask]:
        """The whole picture, in which another object hides a part; where none does, all of it is to be painted."""
        training, size, whole = self._training, self._params.resolution, sample.visible
        shift = training.shift * rng.uniform(-1, 1, 2)
        window = find_window(whole, self._params.region, float(rng.uniform(*training.enlarge)), (shift[0], shift[1]))
        image = recoloured(cut_image(sample.query.image, window, size), training.colour, rng)
        mask = cut_visible(whole, window, size, by_area=True)
        found = laid_over(image, mask, self._others, self._params.condition, rng) or (image, np.ones_like(mask))
        return (found[0][:, ::-1], found[1][:, ::-1]) if rng.random() < 0.5 else found
