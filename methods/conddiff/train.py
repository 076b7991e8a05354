"""Training of CondDiff-AMO."""

from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from amodal_bench.files.cache import file_digest
from amodal_bench.methods._training.accelerator import accelerator_of
from amodal_bench.methods._training.trainer import Trainer
from amodal_bench.methods._window import find_window, recall
from amodal_bench.plugin import AnyDataset, TrainingRun
from amodal_bench.running.validate import counts_of, mean_scores, prefix

from . import CondDiff
from .batches import Triples
from .diffusion import diffuse, draw_times, log_snr
from .loss import structure_loss
from .network import Network, normalised
from .params import CondDiffParams, CondDiffTraining
from .pictures import panels
from .pretrained import go_on_from, load_backbone

_PAPERS = "conddiff/1"  # the protocol that the paper reports by


def train(params: CondDiffParams, data: AnyDataset, val: AnyDataset, run: TrainingRun) -> None:
    """Train, or go on from what was kept in `run.out`, and write the weights."""
    config: CondDiffTraining = run.config
    accelerator = accelerator_of(run)
    torch.manual_seed(run.seed)
    network = Network(params.model, config.drop_path, config.dropout, config.drop_path_joint, config.vm_start)
    if "weights" in run.starts:
        go_on_from(network, run.starts["weights"])
    if "backbone" in run.starts:
        load_backbone(network.pcn, run.starts["backbone"])
    CondDiffTrainer(params, network, data, val, run, accelerator).fit()


class CondDiffTrainer(Trainer):
    """Denoise amodal masks at random times."""

    config: CondDiffTraining
    scores: ClassVar[tuple[str, ...]] = ("val_full", "val_inv", "val_pooled_full", "val_pooled_inv", "val_n")

    def __init__(self, params: CondDiffParams, network: Network, *parts: Any) -> None:
        super().__init__(network, *parts)
        self.params = params
        self.items = Triples(self.data, params, self.config.augment, self.run.seed)

    def rates(self, network: nn.Module) -> list[dict[str, Any]]:
        """The pretrained backbone may learn more slowly than what is new."""
        if self.config.backbone_lr is None:
            return super().rates(network)
        old: list[nn.Parameter] = []
        new: list[nn.Parameter] = []
        for name, parameter in network.named_parameters():
            (old if name.startswith("pcn.backbone.") else new).append(parameter)
        share = self.config.backbone_lr / self.config.lr
        return [{"params": new, "share": 1.0}, {"params": old, "share": share}]

    def loss(self, batch: list[Tensor]) -> Tensor:
        """The weighted loss of one denoising call at a random time."""
        image, given, amodal = batch
        visible, amodal = given[:, :1], amodal.float()
        t = draw_times(self.chance, self.config.times)
        noise, uniform = self.chance.normal(*amodal.shape[1:]), self.chance.uniform(*amodal.shape[1:])
        x = diffuse(amodal, visible, t, noise, uniform, self.params.diffusion)
        snr = log_snr(t.flatten(), self.params.diffusion.noise_d, amodal.shape[-1])
        seen = normalised(image)
        if self.config.channels_last:
            seen = seen.contiguous(memory_format=torch.channels_last)
        with self.accelerator.autocast():
            logits = self.model(x, seen, given, snr)
        return structure_loss(logits.float(), amodal, visible, self.config.loss)

    def validate(self, best: nn.Module) -> tuple[dict[str, float], str] | None:
        """Predict a prefix of the validation split, shared among the processes, with what would ship now."""
        indices = prefix(self.val, self.config.val_limit)
        if not indices:
            return None
        method = self._method(best)
        local = counts_of(method, self.val, indices[self.rank :: self.world], self.params.forward_batch)
        padded = torch.full((-(-len(indices) // self.world), local.shape[1]), -1, dtype=torch.int64)
        padded[: len(local)] = torch.from_numpy(local)
        counts = self.accelerator.gather(padded.to(self.accelerator.device)).cpu().numpy()
        counts = counts[counts[:, 0] >= 0]
        means, pooled = mean_scores(counts), mean_scores(counts, _PAPERS)
        text = (
            f"mIoU_full {means[0]:.2f}, mIoU_inv {means[1]:.2f} ({_PAPERS}: {pooled[0]:.2f}, {pooled[1]:.2f}) "
            f"on {len(indices)} of {self.watched}"
        )
        return dict(zip(self.scores, (*means, *pooled, len(indices)), strict=True)), text

    def pictures(self, best: nn.Module) -> NDArray[np.uint8] | None:
        """The first four of the instances that are watched."""
        samples = [self.val[index] for index in prefix(self.val, min(4, self.config.val_limit))]
        if not samples:
            return None
        masks = self._method(best).predict([sample.query for sample in samples], range(len(samples)))
        return panels(samples, masks, self.params)

    def _method(self, best: nn.Module) -> CondDiff:
        """What predicts with a network while it is trained."""
        diffusion = self.params.diffusion
        diffusion = diffusion.model_copy(update={"steps": self.config.val_steps or diffusion.steps})
        method = CondDiff(self.params.model_copy(update={"diffusion": diffusion}))
        method.use(best, str(self.accelerator.device))
        return method

    def begin(self) -> None:
        """How much of the amodal masks lies in the windows that prediction will see: a ceiling of every score."""
        indices = prefix(self.val, self.config.val_limit)
        if indices:
            samples = (self.val[index] for index in indices)
            found = [recall(s.amodal, find_window(s.query.visible, self.params.crop)) for s in samples]
            share = sum(found) / len(found)
            self.run.monitor.note(f"crop_recall {share:.4f} on {len(found)} of {self.watched}")
        self.run.monitor.note(f"the backbone begins {self._began}")

    def ship(self, best: nn.Module, metadata: dict[str, str]) -> None:
        """With what the backbone began from."""
        super().ship(best, {**metadata, "backbone": self._began})

    @property
    def _began(self) -> str:
        path = self.run.starts.get("weights") or self.run.starts.get("backbone")
        return f"from {path.name}, sha256 {file_digest(path)}" if path else "from scratch"
