"""How fast does conddiff sample? Every figure beside its peer in the same run.

    python benchmarks/conddiff.py [--skip-b4]

Bars: the batched sampler at least 1.6x the instances a second of a plain loop, one instance at a time, over the same
network, at identical masks. Also printed: time and peak memory at batches of 1, 4 and 16 for conddiff-nano and for the
paper's network (random weights, two of its ten steps), and the share of the conditioning and the denoising network.
"""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import amodal_bench as ab
from amodal_bench.methods._window import cut_image, cut_visible, find_window, paste
from amodal_bench.methods.conddiff import CondDiff, CondDiffParams
from amodal_bench.methods.conddiff.diffusion import noised, reverse_steps
from amodal_bench.methods.conddiff.network import Network, normalised
from amodal_bench.resolve.presets import find_preset
from amodal_bench.resolve.registry import Registry
from amodal_bench.store.spec import instance_seed
from amodal_bench.types import AmodalQuery, Mask

INSTANCES, REPEATS = 48, 3
console = Console(width=120)


def plain(network: Network, query: AmodalQuery, seed: int, params: CondDiffParams) -> Mask:
    """One instance as the paper tells it: the whole network at every step, all predictions kept to the end."""
    size, area = params.model.size, params.crop.masks == "area"
    window = find_window(query.visible, params.crop)
    image = torch.from_numpy(np.array(cut_image(query.image, window, size))).permute(2, 0, 1)[None]
    visible = torch.from_numpy(np.array(cut_visible(query.visible, window, size, area)))[None, None].float()
    generator = torch.Generator("cpu").manual_seed(seed)
    steps = reverse_steps(params.diffusion, size)
    x = noised(visible, torch.tensor(steps[0].snr), torch.randn(1, size, size, generator=generator)[None])
    history = []
    for number, step in enumerate(steps):
        x0 = torch.tanh(network(x, normalised(image), visible, torch.tensor([step.snr])))
        if 2 * number >= len(steps):
            x0 = x0 * (1 - visible) + visible
        history.append(x0)
        if number + 1 < len(steps):
            noise = torch.randn(1, size, size, generator=generator)[None]
            x = step.x_scale * x + step.x0_scale * x0 + step.deviation * noise
    stack = torch.stack(history)
    answer = ((stack > 0).float().mean(0) >= 0.5) * (stack.mean(0) + 1) / 2
    mask = paste(answer[0, 0].numpy(), window, query.visible.shape)
    return mask | query.visible if params.union_visible else mask


def asked(count: int) -> list[AmodalQuery]:
    """Queries of the embedded test split."""
    dataset = ab.load_dataset("synthetic")
    return [dataset[index].query for index in range(count)]


def made(name: str, batch: int) -> CondDiff:
    """A preset: conddiff-nano with its weights, the paper's network with random ones."""
    if name == "conddiff-nano":
        found = ab.load_method(name, device="cpu", forward_batch=batch)
        if not isinstance(found, CondDiff):
            raise TypeError(f"{name} is not a conddiff")
        return found
    changes = {"forward_batch": batch, "diffusion": {"steps": 2}}
    method = find_preset(name, Registry(), changes).plugin.cls(find_preset(name, Registry(), changes).params)
    if not isinstance(method, CondDiff):
        raise TypeError(f"{name} is not a conddiff")
    method.use(Network(method.params.model), "cpu")
    return method


def against_a_plain_loop() -> None:
    """Batched and one by one, in turns; the medians."""
    queries = asked(INSTANCES)
    seeds = [instance_seed(0, query.id) for query in queries]
    method = made("conddiff-nano", 16)
    network = method.network
    seconds: dict[str, list[float]] = {"plain loop": [], "batched": []}
    masks: dict[str, Sequence[Mask]] = {}
    for _ in range(REPEATS):
        start = time.perf_counter()
        with torch.inference_mode():
            masks["plain loop"] = [plain(network, q, s, method.params) for q, s in zip(queries, seeds, strict=True)]
        middle = time.perf_counter()
        masks["batched"] = method.predict(queries, seeds)
        seconds["plain loop"].append(middle - start)
        seconds["batched"].append(time.perf_counter() - middle)
    same = sum(bool(np.array_equal(a, b)) for a, b in zip(*masks.values(), strict=True))
    rates = {name: INSTANCES / float(np.median(values)) for name, values in seconds.items()}
    for name, rate in rates.items():
        console.print(f"{name:<12}{rate:6.1f} instances/s")
    gain = rates["batched"] / rates["plain loop"]
    console.print(f"batched / plain: {gain:.2f}x (bar 1.6), {same} of {INSTANCES} masks identical")


def measured(name: str, batch: int) -> dict[str, float]:
    """Seconds an instance and a step, peak memory of the process, shares of the parts; run in a process of its own."""
    queries = asked(batch)
    method = made(name, batch)
    spent = {"pcn": 0.0, "dn": 0.0}
    network = method.network
    _timed(network.pcn, "forward", spent, "pcn")
    _timed(network.dn, "forward", spent, "dn")
    seeds = list(range(batch))
    method.predict(queries, seeds)
    spent.update(pcn=0.0, dn=0.0)
    start = time.perf_counter()
    method.predict(queries, seeds)
    total = time.perf_counter() - start
    steps = method.params.diffusion.steps
    return {
        "step": 1000 * total / steps / batch,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "pcn": spent["pcn"] / total,
        "dn": spent["dn"] / total,
    }


def _timed(module: Any, name: str, spent: dict[str, float], key: str) -> None:
    inner = getattr(module, name)

    def outer(*arguments: Any) -> Any:
        start = time.perf_counter()
        found = inner(*arguments)
        spent[key] += time.perf_counter() - start
        return found

    setattr(module, name, outer)


def table(names: Sequence[str]) -> None:
    """One line a network and batch."""
    shown = Table("network", "batch", "ms a step, instance", "peak GiB", "PCN", "DN", "rest")
    for name in names:
        for batch in (1, 4, 16):
            done = subprocess.run(
                [sys.executable, "-P", __file__, "--one", name, str(batch)], capture_output=True, text=True, check=True
            )
            found = json.loads(done.stdout.splitlines()[-1])
            rest = 1 - found["pcn"] - found["dn"]
            shares = (f"{100 * share:.0f} %" for share in (found["pcn"], found["dn"], rest))
            shown.add_row(name, str(batch), f"{found['step']:.1f}", f"{found['memory']:.2f}", *shares)
    console.print(shown)


def main() -> None:
    """All of it, or one line for a process of its own."""
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measured(sys.argv[2], int(sys.argv[3]))))
        return
    against_a_plain_loop()
    table(["conddiff-nano"] if "--skip-b4" in sys.argv else ["conddiff-nano", "conddiff"])


if __name__ == "__main__":
    main()
