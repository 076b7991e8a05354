"""Training: accelerate under torchrun, epoch checkpoints, resumed to the bit at epoch ends.

All chance is a function of (seed, epoch, index) or (seed, step, process), so nothing but weights, optimiser and
the number of steps has to be kept.
"""

import math
import time
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from amodal_bench.errors import Refused, TrainingStopped
from amodal_bench.plugin import AnyDataset, TrainingRun
from amodal_bench.validate import counts_of, mean_scores, prefix

from . import CondDiff, weights
from .average import Average
from .checkpoints import Checkpoints
from .crop import recall, window
from .diffusion import diffuse, log_snr
from .feed import Triples, batches, epoch_batches
from .loss import structure_loss
from .network import Network, normalised
from .params import CondDiffParams, Training
from .pretrained import load_backbone
from .progress import Log, duration
from .schedule import rate_at, step_seed


def train(params: CondDiffParams, data: AnyDataset, val: AnyDataset, run: TrainingRun) -> None:
    """Train, or go on from the last whole epoch in `run.out`, and write the weights."""
    config: Training = run.config
    accelerator = Accelerator(
        cpu=run.device == "cpu",
        mixed_precision=config.precision,
        log_with=list(config.trackers) or None,
        project_dir=run.out,
    )
    if config.batch % accelerator.num_processes:
        raise Refused(f"train.batch {config.batch} can not be shared by {accelerator.num_processes} processes")
    torch.manual_seed(run.seed)
    network = Network(params.model, config.drop_path, config.dropout)
    if config.backbone_weights:
        load_backbone(network.pcn, params.model, config.backbone_weights)
    if config.channels_last:
        network = network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.rate, weight_decay=config.weight_decay)
    model, optimizer = accelerator.prepare(network, optimizer)
    if config.trackers:
        accelerator.init_trackers("amodal_bench", {"config": run.metadata["config"]})
    Trainer(params, config, run, data, val, accelerator, model, optimizer).fit()


@dataclass
class Trainer:
    """One training's parts; `step` is the number of steps done."""

    params: CondDiffParams
    config: Training
    run: TrainingRun
    data: AnyDataset
    val: AnyDataset
    accelerator: Any
    model: nn.Module
    optimizer: torch.optim.Optimizer
    step: int = 0
    resumed: int = 0
    seconds: float = 0.0  # of the runs before this one
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.network: Network = self.accelerator.unwrap_model(self.model)
        self.average = Average(self.network, self.config.ema)
        self.rank, self.world = self.accelerator.process_index, self.accelerator.num_processes
        self.triples = Triples(self.data, self.params, self.config.augment, self.run.seed)
        self.checkpoints = Checkpoints(self.run.out / "checkpoints", self.config.keep_every)
        self.per_epoch = len(self._order(0))

    def fit(self) -> None:
        """All epochs that are left, then the weights."""
        self._resume()
        self._report_crop()
        log = Log(self.run.out / "train_log.csv", self.step) if self.accelerator.is_main_process else None
        for epoch in range(self.step // self.per_epoch, self.config.epochs):
            self._epoch(epoch, log)
            self._keep(epoch)
            if (epoch + 1) % self.config.val_every == 0 or epoch + 1 == self.config.epochs:
                self._validate(epoch, log)
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            weights.save(self._best(), self.run.out / "model.safetensors", self._metadata(), self.config.half)
        self.accelerator.wait_for_everyone()
        self.accelerator.end_training()

    def _order(self, epoch: int) -> Any:
        config = self.config
        return epoch_batches(len(self.data), config.batch, config.epoch_size, self.run.seed, epoch)

    def _epoch(self, epoch: int, log: Log | None) -> None:
        self.model.train()
        order = self._order(epoch)
        losses: list[float] = []
        feed = batches(self.triples, order, epoch, self.rank, self.world, self.config.workers)
        for indices, batch in zip(order, feed, strict=True):
            rate = rate_at(self.config, self.step, self.per_epoch)
            loss = self._learn(batch, rate)
            if not math.isfinite(loss):
                ids = [self.data.ids()[i] for i in indices[:16]]
                raise TrainingStopped(
                    f"the loss became {loss} at step {self.step} of epoch {epoch + 1}, on {', '.join(ids)}. The last "
                    f"good checkpoint is kept in {self.checkpoints.folder}; a lower train.rate or train.clip may help"
                )
            losses.append(loss)
            self.step += 1
            if log and self.step % self.config.log_every == 0:
                mean = sum(losses) / len(losses)
                losses.clear()
                seconds = round(self._seconds(), 1)
                log.add(step=self.step, epoch=epoch + 1, seconds=seconds, loss=round(mean, 5), rate=rate)
                self.accelerator.log({"loss": mean, "rate": rate}, step=self.step)
                self._tell(epoch, mean)

    def _learn(self, batch: list[Tensor], rate: float) -> float:
        """One step of the optimiser; the loss, averaged over all processes."""
        device = self.accelerator.device
        torch.manual_seed(step_seed(self.run.seed, self.step, self.rank))
        image, visible, amodal = (part.to(device, non_blocking=True) for part in batch)
        visible, amodal = visible.float(), amodal.float()
        t = torch.rand(len(image), 1, 1, 1).to(device)
        noise, chance = torch.randn(amodal.shape).to(device), torch.rand(amodal.shape).to(device)
        x = diffuse(amodal, visible, t, noise, chance, self.params.diffusion)
        snr = log_snr(t.flatten(), self.params.diffusion.noise_d, amodal.shape[-1])
        seen = normalised(image)
        if self.config.channels_last:
            seen = seen.contiguous(memory_format=torch.channels_last)
        with self.accelerator.autocast():
            logits = self.model(x, seen, visible, snr)
        loss = structure_loss(logits.float(), amodal, visible, self.config.loss)
        mean = float(self.accelerator.gather(loss.detach()[None]).mean())
        if not math.isfinite(mean):
            return mean
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        self.accelerator.backward(loss)
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), self.config.clip)
        if self.accelerator.scaler is None and not math.isfinite(float(norm)):
            return math.nan  # before it reaches the weights; with a scaler such steps are left out
        self.optimizer.step()
        self.average.update(self.network)
        return mean

    def _validate(self, epoch: int, log: Log | None) -> None:
        """Predict a prefix of the validation split, shared among the processes, with what would ship now."""
        places = prefix(self.val, self.config.val_limit)
        if not places:
            return
        steps = self.config.val_steps or self.params.diffusion.steps
        diffusion = self.params.diffusion.model_copy(update={"steps": steps})
        method = CondDiff(self.params.model_copy(update={"diffusion": diffusion}))
        method.use(self._best(), str(self.accelerator.device))
        own = counts_of(method, self.val, places[self.rank :: self.world], self.params.forward_batch)
        padded = torch.full((-(-len(places) // self.world), own.shape[1]), -1, dtype=torch.int64)
        padded[: len(own)] = torch.from_numpy(own)
        counts = self.accelerator.gather(padded.to(self.accelerator.device)).cpu().numpy()
        full, inv = mean_scores(counts[counts[:, 0] >= 0])
        if log:
            values = {"val_full": round(full, 3), "val_inv": round(inv, 3), "val_n": len(places)}
            log.add(step=self.step, epoch=epoch + 1, seconds=round(self._seconds(), 1), **values)
            self.accelerator.log({"val_full": full, "val_inv": inv}, step=self.step)
            self.run.monitor.note(
                f"epoch {epoch + 1}/{self.config.epochs}, {duration(self._seconds())}: mIoU_full {full:.2f}, "
                f"mIoU_inv {inv:.2f} on {len(places)} of {self._watched}"
            )

    def _report_crop(self) -> None:
        """How much of the amodal masks lies in the windows that prediction will see: a ceiling of every score."""
        places = prefix(self.val, self.config.val_limit)
        if places and self.accelerator.is_main_process:
            samples = (self.val[place] for place in places)
            found = [recall(s.amodal, window(s.query.visible, self.params.crop)) for s in samples]
            share = sum(found) / len(found)
            self.run.monitor.note(f"crop_recall {share:.4f} on {len(found)} of {self._watched}")

    def _best(self) -> Network:
        """What ships: the averaged weights, or the last ones."""
        return self.average.network(self.network)

    def _keep(self, epoch: int) -> None:
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            state = {
                "network": self.network.state_dict(),
                "average": self.average.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.accelerator.scaler.state_dict() if self.accelerator.scaler else {},
                "step": self.step,
                "seconds": self._seconds(),
            }
            self.checkpoints.write(epoch + 1, state, self._best(), {**self.run.metadata, "epochs": str(epoch + 1)})

    def _resume(self) -> None:
        state = self.checkpoints.read()
        if state is None:
            return
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.accelerator.scaler and state["scaler"]:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.step, self.seconds = state["step"], state["seconds"]
        self.resumed = self.step
        if self.accelerator.is_main_process:
            self.run.monitor.note(f"goes on after epoch {self.step // self.per_epoch} of {self.config.epochs}")

    @property
    def _watched(self) -> str:
        return f"{self.run.metadata.get('dataset', self.val.card.title)}/{self.val.split}"

    def _metadata(self) -> dict[str, str]:
        return {**self.run.metadata, "epochs": str(self.config.epochs), "steps": str(self.step)}

    def _seconds(self) -> float:
        return self.seconds + time.monotonic() - self.started

    def _tell(self, epoch: int, loss: float) -> None:
        total = self.config.epochs * self.per_epoch
        pace = (time.monotonic() - self.started) / max(1, self.step - self.resumed)
        left = duration(pace * (total - self.step))
        text = f"epoch {epoch + 1}/{self.config.epochs}, loss {loss:.4f}, {pace * 1000:.0f} ms a step, {left} left"
        self.run.monitor.step(self.step, total, text)
