"""The smallest training that has all parts: chance, dropout, batch norm, an average, a score."""

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from amodal_bench.methods._training.accelerator import accelerator_of
from amodal_bench.methods._training.batches import SampleKey, read
from amodal_bench.methods._training.trainer import Trainer
from amodal_bench.plugin import AnyDataset, TrainingRun


class Thumbnails(torch.utils.data.Dataset[tuple[Tensor, Tensor]]):
    """(image (3, 8, 8), mask (1, 8, 8)) of an instance of 64 x 64 pixels."""

    def __init__(self, dataset: AnyDataset) -> None:
        self._dataset = dataset

    def __getitem__(self, key: SampleKey) -> tuple[Tensor, Tensor]:
        sample = read(self._dataset, key[1])
        image = torch.from_numpy(sample.query.image[::8, ::8].copy()).permute(2, 0, 1) / 255
        return image, torch.from_numpy(sample.amodal[::8, ::8].copy())[None].float()


class ThumbnailTrainer(Trainer):
    """Clean a noisy mask."""

    scores: ClassVar[tuple[str, ...]] = ("val_loss",)

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.items = Thumbnails(self.data)

    def loss(self, batch: list[Tensor]) -> Tensor:
        image, mask = batch
        noisy = mask + self.chance.uniform(1, 1, 1) * self.chance.normal(1, 8, 8)
        return F.binary_cross_entropy_with_logits(self.model(torch.cat([image, noisy], dim=1)), mask)

    def validate(self, best: nn.Module) -> tuple[dict[str, float], str] | None:
        items = Thumbnails(self.val)
        image, mask = (torch.stack(parts) for parts in zip(*(items[0, k] for k in range(2)), strict=True))
        best.eval()
        with torch.no_grad():
            loss = float(F.binary_cross_entropy_with_logits(best(torch.cat([image, mask], dim=1)), mask))
        return {"val_loss": loss}, f"loss {loss:.3f}"


def network(dropout: float = 0.1, norm: bool = True) -> nn.Sequential:
    """Some hundred weights."""
    middle = nn.BatchNorm2d(8) if norm else nn.Identity()
    return nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), middle, nn.ReLU(), nn.Dropout(dropout), nn.Conv2d(8, 1, 1))


def train(data: AnyDataset, val: AnyDataset, run: TrainingRun, dropout: float = 0.1, norm: bool = True) -> None:
    accelerator = accelerator_of(run)
    torch.manual_seed(run.seed)
    ThumbnailTrainer(network(dropout, norm), data, val, run, accelerator).fit()
