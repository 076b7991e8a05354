"""Training conddiff on a card: steps a second, the largest batch, and a training that is killed and goes on."""

import csv
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from card import forget_peak, on_card, peak_gib, seconds
from safetensors import safe_open

from amodal_bench.methods._precision import computing
from amodal_bench.methods._training.chance import Chance
from amodal_bench.methods._training.checkpoints import Checkpoints
from amodal_bench.methods.conddiff.diffusion import diffuse, draw_times, log_snr
from amodal_bench.methods.conddiff.loss import structure_loss
from amodal_bench.methods.conddiff.network import Network, normalised
from amodal_bench.methods.conddiff.params import CondDiffParams, CondDiffTraining, Precision

STEPS, EPOCHS, PATIENCE = 50, 5, 120.0  # of the training that is killed; seconds until its first checkpoint


class Learner:
    """What one step of the training does, without the reading of data: the same loss, chance and optimiser."""

    def __init__(self, params: CondDiffParams, device: str, precision: Precision) -> None:
        self._params, self._device, self._precision = params, device, precision
        self._config = config = CondDiffTraining()
        torch.manual_seed(0)
        self._network = Network(params.model, config.drop_path, config.dropout).to(device).train()
        self._optimizer = torch.optim.AdamW(self._network.parameters(), lr=config.lr, fused=on_card(device) or None)
        self._step = 0

    def step(self, batch: int) -> None:
        """Learn from a batch of made instances."""
        size, chance = self._params.model.size, Chance(0, self._step, range(batch), self._device)
        amodal = (chance.uniform(1, size, size) > 0.5).float()
        visible = amodal * (chance.uniform(1, size, size) > 0.5)
        image = normalised((255 * chance.uniform(3, size, size)).to(torch.uint8))
        t = draw_times(chance, self._config.times)
        noise, uniform = chance.normal(1, size, size), chance.uniform(1, size, size)
        x = diffuse(amodal, visible, t, noise, uniform, self._params.diffusion)
        snr = log_snr(t.flatten(), self._params.diffusion.noise_d, size)
        with computing("tf32" if self._precision == "tf32" else "fp32", self._device):
            with computing(self._precision, self._device):
                logits = self._network(x, image, visible, snr)
            loss = structure_loss(logits.float(), amodal, visible, self._config.loss)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self._network.parameters(), self._config.max_grad_norm)
            self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self._step += 1

    def fits(self, batch: int) -> bool:
        """Whether two steps on a batch have room on the card."""
        try:
            self.step(batch)
            self.step(batch)
        except torch.OutOfMemoryError:
            self._optimizer.zero_grad(set_to_none=True)
            return False
        return True


def training(
    params: CondDiffParams, device: str, precision: Precision, batch: int, learner: Learner | None = None
) -> dict[str, Any]:
    """Steps a second at a batch, everything on the card already."""
    learner = learner or Learner(params, device, precision)
    learner.step(batch)
    forget_peak(device)
    learner.step(batch)
    taken = seconds(lambda: learner.step(batch), device, most=10, enough=3.0)
    return {"batch": batch, "steps_s": 1 / taken, "instances_s": batch / taken, "peak_gib": peak_gib(device)}


def largest_batch(params: CondDiffParams, device: str, precision: Precision, start: int, most: int) -> dict[str, Any]:
    """The largest batch that fits, of `start` doubled and a half more, and its steps a second."""
    learner = Learner(params, device, precision)
    fitting, batch = 0, start
    while batch <= most and _fits(learner, batch, device):
        fitting, batch = batch, 2 * batch
    if fitting and batch <= most and _fits(learner, 3 * fitting // 2, device):
        fitting = 3 * fitting // 2
    if not fitting:
        return {"batch": 0, "too_large": start}
    forget_peak(device)
    return {**training(params, device, precision, fitting, learner), "most_tried": min(batch, most)}


def _fits(learner: Learner, batch: int, device: str) -> bool:
    forget_peak(device)
    return learner.fits(batch)


def killed_and_resumed(params: Mapping[str, Any], device: str) -> dict[str, Any]:
    """`train` for 50 steps, ended by SIGKILL after its first checkpoint; the same command goes on to the last step."""
    with tempfile.TemporaryDirectory() as name:
        out = Path(name) / "conddiff" / "synthetic"
        command = [*_command(params, device), "--weights", name]
        start = time.monotonic()
        kept = _killed(command, out)
        middle = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"the training did not go on: {(done.stderr or done.stdout)[-1500:]}")
        with safe_open(out / "model.safetensors", "pt") as file:
            steps = int(file.metadata()["steps"])
        with (out / "train_log.csv").open(newline="") as file:
            losses = [float(row["loss"]) for row in csv.DictReader(file) if row["loss"]]
        if steps != STEPS:
            raise RuntimeError(f"the training went on from step {kept} to step {steps}, not to {STEPS}")
        return {
            "killed_after": kept, "ended_at": steps, "first_loss": losses[0], "last_loss": losses[-1],
            "killed_s": middle - start, "resumed_s": time.monotonic() - middle,
        }  # fmt: skip


def _killed(command: list[str], out: Path) -> int:
    """Start a training and kill it once it has kept something; the step that it kept."""
    checkpoints, end = Checkpoints(out / "checkpoints", 1), time.monotonic() + PATIENCE
    with tempfile.TemporaryFile() as told:
        process = subprocess.Popen(command, stdout=told, stderr=told)
        while process.poll() is None and time.monotonic() < end and not any(out.glob("checkpoints/latest.pt")):
            time.sleep(0.02)
        ended = process.poll() is not None
        process.kill()
        process.wait()
        state = checkpoints.read() if (out / "checkpoints").is_dir() else None
        if ended or state is None:
            told.seek(0)
            why = "ended before it could be killed" if ended else f"kept nothing in {PATIENCE:.0f} s"
            raise RuntimeError(f"the training {why}: {told.read().decode(errors='replace')[-1500:]}")
    return int(state["step"])


def _command(params: Mapping[str, Any], device: str) -> list[str]:
    batch = 2 if params else 16
    settings = {
        **{f"{part}.{name}": value for part, values in params.items() for name, value in values.items()},
        "train.epochs": EPOCHS, "train.batch_size": batch, "train.val_limit": 0, "train.log_every": 5,
        "train.workers": 4 if on_card(device) else 0, "dataset.size": STEPS // EPOCHS * batch, "dataset.resolution": 64,
    }  # fmt: skip
    asked = [f"{name}={_yaml(value)}" for name, value in settings.items()]
    command = [sys.executable, "-P", "-m", "amodal_bench", "train", "--method", "conddiff", "--dataset", "synthetic"]
    return [*command, "--device", device, *(part for text in asked for part in ("--set", text))]


def _yaml(value: object) -> str:
    return (
        str(list(value)) if isinstance(value, tuple) else str(value).lower() if isinstance(value, bool) else str(value)
    )
