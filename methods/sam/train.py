"""Training of the tiny segmenter: objects in images, what is seen of them, points as prompts."""

from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from segment_anything.modeling import Sam
from torch import Tensor, nn
from torch.utils.data import Dataset

from amodal_bench.methods._segment.nano import SIZE, build_nano
from amodal_bench.methods._segment.points import draw_points
from amodal_bench.methods._segment.settings import Segmenter
from amodal_bench.methods._training import weights
from amodal_bench.methods._training.accelerator import accelerator_of
from amodal_bench.methods._training.batches import SampleKey, read
from amodal_bench.methods._training.colour import before_another, recoloured
from amodal_bench.methods._training.pieces import piece, whole
from amodal_bench.methods._training.trainer import Trainer
from amodal_bench.methods._window import CropSettings, cut_image, cut_visible, find_window
from amodal_bench.plugin import AnyDataset, TrainingRun
from amodal_bench.running.validate import prefix
from amodal_bench.types import Image

from .training import SamTraining

_WINDOW = CropSettings(mode="square")


def train(data: AnyDataset, val: AnyDataset, run: TrainingRun) -> None:
    """Train, or go on from what was kept in `run.out`, and write the weights."""
    accelerator = accelerator_of(run)
    torch.manual_seed(run.seed)
    sam = build_nano()
    if "weights" in run.starts:
        weights.load(sam, run.starts["weights"])
    SegmenterTrainer(PointModel(sam), data, val, run, accelerator).fit()


class PointModel(nn.Module):
    """A Sam that answers a batch of images, each with its own points, by one mask: what the package decodes singly."""

    def __init__(self, sam: Sam) -> None:
        super().__init__()
        self.sam = sam

    def forward(self, images: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, S, S) of the unambiguous output and its predicted IoU (B,); images in 0 to 255, points in x, y."""
        sam = self.sam
        labels = torch.ones(points.shape[:2], device=points.device)
        sparse, dense = sam.prompt_encoder(points=(points, labels), boxes=None, masks=None)
        decoder = sam.mask_decoder
        fixed = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
        tokens = torch.cat([fixed.expand(len(images), -1, -1), sparse], dim=1)
        seen = sam.image_encoder(sam.preprocess(images)) + dense
        positions = sam.prompt_encoder.get_dense_pe().expand(len(images), -1, -1, -1)
        answers, keys = decoder.transformer(seen, positions, tokens)
        upscaled = decoder.output_upscaling(keys.transpose(1, 2).reshape(seen.shape))
        kernel = decoder.output_hypernetworks_mlps[0](answers[:, 1])
        return torch.einsum("bc,bchw->bhw", kernel, upscaled), decoder.iou_prediction_head(answers[:, 0])[:, 0]


class Prompts(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """(image uint8, points, mask) at the segmenter's size; `[epoch, index]` fixes all chance."""

    def __init__(self, dataset: AnyDataset, training: SamTraining, seed: int) -> None:
        self._dataset = dataset
        self._training = training
        self._seed = seed

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, key: SampleKey) -> tuple[Tensor, Tensor, Tensor]:
        """(3, S, S) uint8, (N, 2) x and y, (S, S) bool."""
        epoch, index = key
        training = self._training
        sample = read(self._dataset, index)
        query = sample.query if training.modal else whole(sample).query
        rng = np.random.default_rng([self._seed, epoch, index])
        seen = piece(query.visible, rng) if rng.random() < training.pieces else query.visible
        shift = training.shift * rng.uniform(-1, 1, 2)
        window = find_window(seen, _WINDOW, float(rng.uniform(*training.enlarge)), (shift[0], shift[1]))
        image = recoloured(cut_image(query.image, window, SIZE), training.colour, rng)
        mask = cut_visible(query.visible, window, SIZE, by_area=True)
        shown = cut_visible(seen, window, SIZE, by_area=True)
        image = before_another(image, mask, training.black, training.own_colours, SIZE / 64, rng)
        if rng.random() < training.soften:
            image = _softened(image, rng)
        if rng.random() < 0.5:
            image, mask, shown = image[:, ::-1], mask[:, ::-1], shown[:, ::-1]
        points = draw_points(shown, Segmenter(points=training.points), rng)
        tensors = (torch.from_numpy(np.ascontiguousarray(part)) for part in (image, points.astype(np.float32), mask))
        picture, positions, target = tensors
        return picture.permute(2, 0, 1).contiguous(), positions, target


def _softened(image: Image, rng: np.random.Generator) -> Image:
    sigma = rng.uniform(0.2, 1.2)
    blurred = ndimage.gaussian_filter(image.astype(np.float32), (sigma, sigma, 0))
    noisy = blurred + rng.uniform(0, 8) * rng.standard_normal(image.shape, dtype=np.float32)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


class SegmenterTrainer(Trainer):
    """Focal cross-entropy and Dice of the mask, and the predicted IoU, as SAM was trained."""

    config: SamTraining
    scores: ClassVar[tuple[str, ...]] = ("val_iou", "val_n")

    def __init__(self, model: PointModel, *parts: Any) -> None:
        # Of the four outputs one is trained; boxes and masks are never asked with.
        for name, parameter in model.named_parameters():
            unused = ("mlps.1.", "mlps.2.", "mlps.3.", "mask_downscaling", "not_a_point", "point_embeddings.0")
            if any(part in name for part in (*unused, "point_embeddings.2", "point_embeddings.3")):
                parameter.requires_grad_(False)
        super().__init__(model, *parts)
        self.items = Prompts(self.data, self.config, self.run.seed)

    def loss(self, batch: list[Tensor]) -> Tensor:
        """Binary cross-entropy + Dice + squared error of the predicted IoU."""
        image, points, mask = batch
        with self.accelerator.autocast():
            logits, predicted = self.model(image.float(), points)
        logits, target = logits.float(), mask.float()
        probability = logits.sigmoid()
        entropy = F.binary_cross_entropy_with_logits(logits, target)
        overlap = 2 * (probability * target).sum(dim=(1, 2)) + 1
        dice = 1 - overlap / (probability.sum(dim=(1, 2)) + target.sum(dim=(1, 2)) + 1)
        quality = F.mse_loss(predicted.float(), iou(logits > 0, mask))
        return entropy + dice.mean() + 0.1 * quality

    def validate(self, best: nn.Module) -> tuple[dict[str, float], str] | None:
        """Mean IoU on a prefix of the validation split."""
        indices = prefix(self.val, self.config.val_limit)
        if not indices:
            return None
        items = Prompts(self.val, self.config, self.run.seed)
        found = []
        best.eval()
        for start in range(0, len(indices), self.config.batch_size):
            drawn = [items[0, index] for index in indices[start : start + self.config.batch_size]]
            image, points, mask = (torch.stack(parts).to(self.accelerator.device) for parts in zip(*drawn, strict=True))
            with torch.no_grad():
                found.append(iou(best(image.float(), points)[0] > 0, mask))
        mean = 100 * float(torch.cat(found).mean())
        return {"val_iou": mean, "val_n": len(indices)}, f"IoU {mean:.2f} on {len(indices)} of {self.watched}"

    def ship(self, best: nn.Module, metadata: dict[str, str]) -> None:
        """The weights under the names that segment-anything gives them."""
        super().ship(best.sam, metadata)


def iou(found: Tensor, truth: Tensor) -> Tensor:
    """IoU (B,) of bool masks (B, H, W)."""
    both = (found & truth).sum(dim=(1, 2)).float()
    return both / (found | truth).sum(dim=(1, 2)).clamp(min=1)
