"""conddiff on a card: the paper's network (PVTv2-B4, 256 pixels, ten steps) with random weights, and conddiff-nano."""

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from card import TERA, forget_peak, limit, on_card, peak_gib, seconds
from conddiff_masks import Masks
from conddiff_training import killed_and_resumed, largest_batch, training
from stages import Stage
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import amodal_bench as ab
from amodal_bench.methods._precision import computing
from amodal_bench.methods.conddiff import CondDiff, CondDiffParams
from amodal_bench.methods.conddiff.network import Network, normalised
from amodal_bench.methods.conddiff.params import Precision
from amodal_bench.methods.conddiff.precision import NetworkStep, compiled_step
from amodal_bench.methods.conddiff.sampler import Noise, sample
from amodal_bench.types import AmodalQuery

ROOT = Path(__file__).parents[2]
SPEEDS: tuple[Precision, ...] = ("fp32", "tf32", "bf16")
LONGEST = 8.0  # seconds of one measurement; a slow card takes fewer of the ten steps, which cost the same
TINY: dict[str, Any] = {
    "model": {
        "backbone": "pvt_v2_b0", "depths": (1, 1, 1, 1), "dims": (16, 32, 40, 64), "size": 32, "width": 16,
        "ocr": False,
    },
    "diffusion": {"steps": 2},
}  # fmt: skip


@dataclass(frozen=True)
class Sizes:
    """How large a thing is measured."""

    params: dict[str, Any] = field(default_factory=dict)
    batches: tuple[int, ...] = (16, 1, 64, 256)
    product: int = 8192  # side of the matrices of the card's limit
    training_batch: int = 16
    most_trained: int = 1024
    scenes: int = 48  # whose masks are compared
    frame: tuple[int, int] = (480, 640)
    methods: tuple[str, ...] = ("conddiff-nano", "random")


DRY = Sizes(
    TINY, batches=(2, 1), product=64, training_batch=2, most_trained=4, scenes=3, frame=(48, 64), methods=("random",)
)


def stages(device: str, dry: bool) -> list[Stage]:
    """What is measured, the most wanted first. Compiling takes long, so that each of its figures is a stage."""
    bench = Bench(device, DRY if dry else Sizes())
    sizes = bench.sizes
    masks = Masks(lambda: bench.network, bench.params, device, lambda: bench.queries)
    found = [
        Stage("limits", bench.limits),
        Stage("operations", bench.operations),
        *(
            Stage(f"sampling {precision} {batch}", partial(bench.sampling, precision, batch))
            for batch, precision in product(sizes.batches, SPEEDS)
        ),
        Stage("predicting bf16", bench.predicting),
        *(Stage(f"masks by precision, {name}", partial(masks.by_precision, name)) for name in sizes.methods),
        *(Stage(f"masks by device, {name}", partial(masks.by_device, name), 25) for name in sizes.methods),
        *(Stage(f"contract, {name}", partial(masks.contract, name)) for name in sizes.methods),
    ]
    for precision in SPEEDS:
        how = partial(training, bench.params, device, precision, sizes.training_batch)
        found.append(Stage(f"training {precision} {sizes.training_batch}", how))
    for precision in SPEEDS[::2]:
        how = partial(largest_batch, bench.params, device, precision, sizes.training_batch, sizes.most_trained)
        found.append(Stage(f"training {precision} largest", how, 25))
    found.append(Stage("killed and resumed", partial(killed_and_resumed, TINY if dry else {}, device), 70))
    return found + [
        Stage(f"compiled {precision} {batch}", partial(bench.sampling, precision, batch, compiled=True), 50)
        for batch, precision in product(sizes.batches, SPEEDS[::-1])
    ]


class Bench:
    """The networks, made when they are first asked for, and what is measured of them."""

    def __init__(self, device: str, sizes: Sizes) -> None:
        self.device, self.sizes = device, sizes
        self.params = CondDiffParams.model_validate(sizes.params)
        self._limits: dict[str, float] = {}

    @cached_property
    def network(self) -> Network:
        """Random weights, scaled so that it is undecided: fresh ones say the same of every pixel."""
        torch.manual_seed(0)
        network: Network = Network(self.params.model).eval().to(self.device)
        last, size = network.dn.head[1], self.params.model.size
        with torch.inference_mode(), computing("fp32", self.device):
            x, image, visible = (torch.randn(2, c, size, size, device=self.device) for c in (1, 3, 1))
            logits = network(x, image, (visible > 0).float(), torch.full((2,), -5.0, device=self.device))
            last.bias.sub_(logits.median()).div_(logits.std())
            last.weight.div_(logits.std())
        return network

    @cached_property
    def queries(self) -> list[AmodalQuery]:
        """Embedded scenes; boxes on noise in a dry run, as those take a CPU long to draw."""
        if not on_card(self.device):
            return list(_frames(self.sizes.scenes, self.sizes.frame))
        dataset = ab.load_dataset("synthetic")
        return [dataset[index].query for index in range(self.sizes.scenes)]

    def limits(self) -> dict[str, float]:
        """TFLOP/s of one large matrix product by precision."""
        return {f"{precision}_tflop_s": self._limit(precision) for precision in (*SPEEDS, "fp16")}

    def _limit(self, precision: Precision) -> float:
        if precision not in self._limits:
            self._limits[precision] = limit(precision, self.device, self.sizes.product)
        return self._limits[precision]

    def operations(self) -> dict[str, float]:
        """GFLOP (a multiplication and its addition are two) of an instance: what is done once, and at each step."""
        stem, step = self._counted
        steps = self.params.diffusion.steps
        return {"once_gflop": stem / 1e9, "step_gflop": step / 1e9, "instance_gflop": (stem + steps * step) / 1e9}

    @cached_property
    def _counted(self) -> tuple[int, int]:
        (image, given), network = self._shown(1), self.network
        snr = torch.zeros(1, device=self.device)
        counted: list[int] = []
        with torch.no_grad():  # in inference mode some products are not seen
            with _plain_attention(), FlopCounterMode(display=False) as counter:
                stem = network.pcn.stem(normalised(image), given)
            counted.append(counter.get_total_flops())
            with _plain_attention(), FlopCounterMode(display=False) as counter:
                network.step(stem, given, snr)
            counted.append(counter.get_total_flops())
        return counted[0], counted[1]

    def _shown(self, batch: int) -> tuple[Any, Any]:
        """Images (B, 3, S, S) and visible masks (B, 1, S, S) on the device."""
        size, chance = self.params.model.size, torch.Generator().manual_seed(batch)
        image = torch.randint(0, 256, (batch, 3, size, size), generator=chance, dtype=torch.uint8)
        given = torch.zeros(batch, 1, size, size)
        given[:, :, size // 4 : size // 2, size // 4 : 3 * size // 4] = 1
        return image.to(self.device), given.to(self.device)

    def sampling(self, precision: Precision, batch: int, compiled: bool = False) -> dict[str, Any]:
        """Instances a second of the sampler, from what is on the card to probabilities on the CPU.

        A dry run compiles nothing, which would take a CPU minutes.
        """
        torch.compiler.reset()  # graphs of other precisions and batches; too many, and torch gives up compiling
        with nullcontext() if on_card(self.device) else torch.compiler.set_stance("force_eager"):
            return self._sampling(precision, batch, compiled_step(self.network) if compiled else None)

    def _sampling(self, precision: Precision, batch: int, step: NetworkStep | None) -> dict[str, Any]:
        image, given = self._shown(batch)
        full = self.params.diffusion.steps

        def sampler(steps: int) -> Callable[[], object]:
            diffusion = self.params.diffusion.model_copy(update={"steps": steps})
            params = self.params.model_copy(update={"precision": precision, "diffusion": diffusion})
            return partial(sample, self.network, image, given, range(batch), params, self.device, step)

        forget_peak(self.device)
        start = time.perf_counter()
        sampler(2)()
        first = time.perf_counter() - start
        steps = max(1, min(full, int(LONGEST / seconds(sampler(1), self.device, most=1))))
        taken = seconds(sampler(steps), self.device, most=3, enough=3.0) * full / steps
        tflops = batch / taken * 1e9 * self.operations()["instance_gflop"] / TERA
        return {
            "instances_s": batch / taken, "batch_s": taken, "steps_timed": steps, "first_call_s": first,
            "peak_gib": peak_gib(self.device), "tflop_s": tflops, "share_of_limit": tflops / self._limit(precision),
            "noise_s": self._noise(batch),
        }  # fmt: skip

    def _noise(self, batch: int) -> float:
        """Seconds that the CPU draws noise for a batch, of which the card's own work hides what is less than it."""
        noise = Noise(range(batch), self.params.model.size, self.device)
        noise.normal()
        return self.params.diffusion.steps * seconds(noise.normal, self.device, most=3)

    def predicting(self) -> dict[str, Any]:
        """Instances a second of `predict` on frames: cutting and pasting beside the network, or not at all."""
        params = self.params.model_copy(update={"precision": "bf16"})
        method, batch = CondDiff(params), params.forward_batch
        method.use(self.network, self.device)
        queries = list(_frames(4 * batch, self.sizes.frame))
        seeds = range(len(queries))
        method.predict(queries[:batch], seeds[:batch])
        at_once = seconds(lambda: method.predict(queries, seeds), self.device, most=3, enough=3.0)
        apart = seconds(
            lambda: [method.predict(queries[k : k + batch], seeds[k : k + batch]) for k in range(0, 4 * batch, batch)],
            self.device, most=3, enough=3.0,
        )  # fmt: skip
        return {"overlapped_instances_s": len(queries) / at_once, "one_by_one_instances_s": len(queries) / apart}


def _plain_attention() -> Any:
    """Attention as two products, which are counted; not every fused kernel of it is."""
    return sdpa_kernel(SDPBackend.MATH)


def _frames(count: int, shape: tuple[int, int]) -> Iterator[AmodalQuery]:
    """Queries on one frame of noise, each with a box in another place."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    height, width = shape
    for number in range(count):
        visible = np.zeros(shape, dtype=np.bool_)
        top, left = int(rng.integers(0, height // 2)), int(rng.integers(0, width // 2))
        visible[top : top + height // 4, left : left + width // 4] = True
        yield AmodalQuery(f"made/test/{number}/0", str(number), image, visible)
