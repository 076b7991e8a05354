"""What iterating can and can not do: a perfect denoiser through the package's own sampler, and the shipped weights.

    python benchmarks/iterating.py [--samples N] [--nano N]

The world: a visible bar whose hidden end is 1 to 8 units long, all eight equally likely; the image says nothing. There
the best denoiser is a formula, so whatever is wrong with the samples is the sampler's doing. A right sampler draws all
eight lengths alike, 4.5 in the mean. `--nano` measures how much of the hidden area conddiff-nano predicts on the first
N scenes of synthetic/test. The page with the figures: docs/iterating.md.
"""

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

import amodal_bench as ab
from amodal_bench.masks.counts import venn
from amodal_bench.methods.conddiff import CondDiffParams
from amodal_bench.methods.conddiff.diffusion import alpha_sigma, keep_probability
from amodal_bench.methods.conddiff.sampler import sample
from amodal_bench.running.validate import mean_scores
from amodal_bench.store.spec import instance_seed

SIZE, LENGTHS, UNIT = 32, 8, 2  # a unit is two columns
ROWS, START = slice(8, 24), 12  # where the hidden end begins
HIDDEN = slice(START, START + LENGTHS * UNIT)
BATCH = 200
console = Console(width=120)


def visible_bar() -> Tensor:
    """What is seen, (S, S) in {0, 1}."""
    mask = torch.zeros(SIZE, SIZE)
    mask[ROWS, 4:START] = 1
    return mask


def whole_bars() -> Tensor:
    """The eight answers, (8, S, S) in {0, 1}."""
    masks = visible_bar().repeat(LENGTHS, 1, 1)
    for number in range(LENGTHS):
        masks[number, ROWS, START : START + UNIT * (number + 1)] = 1
    return masks


def time_of(snr: float, noise_d: float) -> float:
    """Time in [0, 1] of a log-SNR: the cosine schedule backwards."""
    low, high = math.atan(math.exp(-7.5)), math.atan(math.exp(7.5))
    return (math.atan(math.exp(-(snr - 2 * math.log(noise_d / SIZE)) / 2)) - low) / (high - low)


class ExactDenoiser:
    """The mean of the amodal mask given x_t under the forward process of the parameters, as logits.

    It stands where a `Network` does in `sample`. Bayes: the eight answers weigh as likely as they make x_t; a hidden
    pixel is still there with the share that UST keeps at that time. Pixels in which all answers agree say nothing.
    """

    def __init__(self, params: CondDiffParams) -> None:
        self.pcn = SimpleNamespace(stem=lambda _image, _visible: None)
        self._diffusion = params.diffusion
        self._bars = whole_bars().double()

    def step(self, _stem: None, x: Tensor, snr: Tensor) -> Tensor:
        """Logits (B, 1, S, S) of the probability that a pixel is amodal, of x_t (B, 1, S, S) and one log-SNR (1,)."""
        seen, bars = x[:, :, ROWS, HIDDEN].double(), self._bars[:, ROWS, HIDDEN]
        alpha, sigma = alpha_sigma(snr.double())
        on, off = (-((seen - sign * alpha) ** 2) / (2 * sigma**2) for sign in (1, -1))
        kept = self._kept(float(snr))
        thinned = torch.logaddexp(on + math.log(max(kept, 1e-30)), off + math.log(max(1 - kept, 1e-30)))
        likelihood = (bars * thinned + (1 - bars) * off).sum((2, 3))
        weight = torch.softmax(likelihood, dim=1)
        chance = torch.einsum("bk,khw->bhw", weight, self._bars)[:, None]
        return torch.logit(chance, eps=1e-7).float()

    def _kept(self, snr: float) -> float:
        if self._diffusion.forward != "ust":
            return float(self._diffusion.forward == "gaussian_gt")
        t = torch.tensor(time_of(snr, self._diffusion.noise_d))
        return float(keep_probability(t, self._diffusion, SIZE))


@dataclass(frozen=True)
class Drawn:
    """What came of many samples: shares of the lengths 0 to 8, and the invisible IoU expected of a sample, percent."""

    shares: list[float]
    inv: float

    @property
    def mean(self) -> float:
        """The mean length; 4.5 is right."""
        return sum(length * share for length, share in enumerate(self.shares))

    @property
    def longest(self) -> float:
        """The share of the samples with the greatest length; 1/8 is right."""
        return self.shares[-1]


def draw(samples: int, vgpe: bool = False, votes: int = 1, **diffusion: Any) -> Drawn:
    """Sample the bar with the exact denoiser; VGPE is both of its parts or none. `votes` samples make one answer."""
    params = CondDiffParams.model_validate({
        "model": {"size": SIZE},
        "diffusion": {"noise_d": SIZE, **diffusion},
        "vgpe": {"constrain": vgpe, "ensemble": vgpe},
    })  # fmt: skip
    network: Any = ExactDenoiser(params)
    found = []
    for first in range(0, samples, BATCH):
        seeds = range(first, min(first + BATCH, samples))
        image = torch.zeros(len(seeds), 3, SIZE, SIZE, dtype=torch.uint8)
        seen = visible_bar().expand(len(seeds), 1, SIZE, SIZE)
        found.append(sample(network, image, seen, list(seeds), params, "cpu") > 0.5)
    masks = torch.cat(found)[: samples // votes * votes]
    return judged(2 * masks.unflatten(0, (-1, votes)).sum(1) > votes)


def judged(masks: Tensor) -> Drawn:
    """Lengths by area, and the mean IoU of the hidden parts over samples and answers."""
    predicted, answers = masks[:, None, ROWS, HIDDEN], whole_bars()[None, :, ROWS, HIDDEN] > 0
    height = ROWS.stop - ROWS.start
    lengths = (predicted.sum((1, 2, 3)) / (height * UNIT)).round().long()
    shares = torch.bincount(lengths, minlength=LENGTHS + 1) / len(masks)
    iou = (predicted & answers).sum((2, 3)) / (predicted | answers).sum((2, 3))
    return Drawn(shares.tolist(), 100 * float(iou.mean()))


def variants() -> Iterator[dict[str, Any]]:
    """What is tabled, as arguments of `draw`."""
    right = {"forward": "gaussian_gt", "sampler": "posterior", "x0_map": "sigmoid"}
    for steps in (1, 2, 10, 100):
        yield {**right, "steps": steps}
    yield {**right, "steps": 100, "votes": 9}
    yield {**right, "x0_map": "tanh", "steps": 10}
    for steps in (10, 100):
        yield {**right, "forward": "ust", "steps": steps}
    paper = {**right, "forward": "ust", "x0_map": "tanh", "steps": 10}
    yield paper
    for noise_d in (32.0, 46.5, 17.5):
        yield {**paper, "vgpe": True, "noise_d": noise_d}
    renoise = {**paper, "sampler": "ust_renoise"}
    yield {**renoise, "x0_map": "sigmoid"}
    yield renoise
    for noise_d in (32.0, 46.5, 17.5):
        yield {**renoise, "vgpe": True, "noise_d": noise_d}
    yield {**renoise, "steps": 100}


def table_of_bars(samples: int) -> None:
    """One line a variant."""
    columns = ("trained on", "sampler", "map", "VGPE", "noise_d", "steps", "votes", "mean", "longest", "inv IoU")
    shown = Table(*columns)
    for asked in variants():
        found = draw(samples, **asked)
        names = (asked["forward"], asked["sampler"], asked["x0_map"], "on" if asked.get("vgpe") else "off")
        sizes = (f"{asked.get('noise_d', SIZE):g}", str(asked["steps"]), str(asked.get("votes", 1)))
        shown.add_row(*names, *sizes, f"{found.mean:.2f}", f"{100 * found.longest:.0f} %", f"{found.inv:.1f}")
    console.print(shown)


def table_of_nano(count: int) -> None:
    """Area of the predicted over area of the true hidden part, and the scores, of conddiff-nano."""
    data = ab.load_dataset("synthetic")
    samples = [data[index] for index in range(min(count, len(data)))]
    seeds = [instance_seed(0, sample.query.id) for sample in samples]
    shown = Table("sampler", "steps", "VGPE", "hidden area / true", "mIoU_full", "mIoU_inv")
    for sampler, steps, on in (
        ("posterior", 1, False), ("posterior", 2, True), ("posterior", 10, False), ("posterior", 10, True),
        ("ust_renoise", 10, False), ("ust_renoise", 10, True),
    ):  # fmt: skip
        changes: dict[str, Any] = {
            "diffusion": {"sampler": sampler, "steps": steps},
            "vgpe": {"constrain": on, "ensemble": on},
        }
        method = ab.load_method("conddiff-nano-synthetic", device="cpu", **changes)
        masks = method.predict([sample.query for sample in samples], seeds)
        parts = [(mask & ~s.query.visible, s.amodal & ~s.query.visible) for mask, s in zip(masks, samples, strict=True)]
        ratio = sum(one.sum() for one, _ in parts) / sum(other.sum() for _, other in parts)
        counts = np.stack([venn(m, s.amodal, s.query.visible) for m, s in zip(masks, samples, strict=True)])
        full, inv = mean_scores(counts)
        shown.add_row(sampler, str(steps), "on" if on else "off", f"{ratio:.2f}", f"{full:.1f}", f"{inv:.1f}")
    console.print(shown)


def main() -> None:
    """Both tables; the second only if asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--samples", type=int, default=1000, help="samples of the bar a variant")
    parser.add_argument("--nano", type=int, default=0, help="scenes for conddiff-nano (0: none)")
    given = parser.parse_args()
    table_of_bars(given.samples)
    if given.nano:
        table_of_nano(given.nano)


if __name__ == "__main__":
    main()
