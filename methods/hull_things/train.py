"""Training of the things network: squares of images, and what is seen of all their things. No amodal mask is read."""

from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

from amodal_bench.methods._things.finder import scaled
from amodal_bench.methods._things.network import ThingsNet
from amodal_bench.methods._things.settings import ThingsSettings
from amodal_bench.methods._training.accelerator import accelerator_of
from amodal_bench.methods._training.batches import SampleKey, read_seen
from amodal_bench.methods._training.colour import recoloured
from amodal_bench.methods._training.trainer import Trainer
from amodal_bench.methods._window import cut_image, cut_mask, find_window
from amodal_bench.plugin import AnyDataset, TrainingRun
from amodal_bench.running.validate import prefix

from .training import ThingsTraining


def train(settings: ThingsSettings, data: AnyDataset, val: AnyDataset, run: TrainingRun) -> None:
    """Train, or go on from what was kept in `run.out`, and write the weights."""
    accelerator = accelerator_of(run)
    torch.manual_seed(run.seed)
    ThingsTrainer(settings, data, val, run, accelerator).fit()


class Squares(Dataset[tuple[Tensor, Tensor]]):
    """(image uint8, things bool) around an instance, at the network's size; `[epoch, index]` fixes all chance."""

    def __init__(self, dataset: AnyDataset, settings: ThingsSettings, training: ThingsTraining, seed: int) -> None:
        self._dataset = dataset
        self._settings = settings
        self._training = training
        self._seed = seed

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, key: SampleKey) -> tuple[Tensor, Tensor]:
        """(3, S, S) uint8, (S, S) bool."""
        epoch, index = key
        training, size = self._training, self._settings.resolution
        query, things = read_seen(self._dataset, index)
        rng = np.random.default_rng([self._seed, epoch, index])
        shift = training.shift * rng.uniform(-1, 1, 2)
        enlarge = float(rng.uniform(*training.enlarge))
        window = find_window(query.visible, self._settings.window, enlarge, (shift[0], shift[1]))
        image = recoloured(cut_image(query.image, window, size), training.colour, rng)
        target = cut_mask(things, window, size, by_area=True)
        if rng.random() < 0.5:
            image, target = image[:, ::-1], target[:, ::-1]
        picture, found = (torch.from_numpy(np.ascontiguousarray(part)) for part in (image, target))
        return picture.permute(2, 0, 1).contiguous(), found


class ThingsTrainer(Trainer):
    """Binary cross-entropy and Dice of the things in a square."""

    config: ThingsTraining
    scores: ClassVar[tuple[str, ...]] = ("val_iou", "val_n")

    def __init__(
        self, settings: ThingsSettings, data: AnyDataset, val: AnyDataset, run: TrainingRun, accelerator: object
    ) -> None:
        super().__init__(ThingsNet(), data, val, run, accelerator)
        self.settings = settings
        self.items = Squares(data, settings, self.config, run.seed)

    def loss(self, batch: list[Tensor]) -> Tensor:
        """Square by square, so that a batch's loss is the mean of its parts'."""
        image, things = batch
        inputs = scaled(image)
        if self.config.channels_last:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        with self.accelerator.autocast():
            logits = self.model(inputs)
        logits, target = logits.float(), things.float()
        entropy = F.binary_cross_entropy_with_logits(logits, target)
        return entropy + dice(logits.sigmoid(), target).mean()

    def validate(self, best: nn.Module) -> tuple[dict[str, float], str] | None:
        """Mean IoU on a prefix of the validation split."""
        indices = prefix(self.val, self.config.val_limit)
        if not indices:
            return None
        items = Squares(self.val, self.settings, self.config, self.run.seed)
        found = []
        best.eval()
        for start in range(0, len(indices), self.config.batch_size):
            drawn = [items[0, index] for index in indices[start : start + self.config.batch_size]]
            image, things = (torch.stack(parts).to(self.accelerator.device) for parts in zip(*drawn, strict=True))
            with torch.no_grad():
                seen = best(scaled(image)) > 0
            union = (seen | things).sum(dim=(1, 2))
            found.append((seen & things).sum(dim=(1, 2)).float() / union.clamp(min=1))
        mean = 100 * float(torch.cat(found).mean())
        return {"val_iou": mean, "val_n": len(indices)}, f"IoU {mean:.2f} on {len(indices)} of {self.watched}"


def dice(probability: Tensor, target: Tensor) -> Tensor:
    """1 - Dice (B,) of probabilities and targets (B, S, S), with 1 added above and below: no thing is no fault."""
    both = 2 * (probability * target).sum(dim=(1, 2)) + 1
    return 1 - both / (probability.sum(dim=(1, 2)) + target.sum(dim=(1, 2)) + 1)
