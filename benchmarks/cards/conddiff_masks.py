"""Masks of conddiff on a card: against a CPU's, lower precisions against fp32, and what the tests ask of any method."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np

import amodal_bench as ab
from amodal_bench.methods.conddiff import CondDiff, CondDiffParams
from amodal_bench.methods.conddiff.network import Network
from amodal_bench.methods.conddiff.params import Precision
from amodal_bench.types import AmodalQuery, Mask

ROOT = Path(__file__).parents[2]
Queries = Callable[[], Sequence[AmodalQuery]]


class Masks:
    """Of `random`, the network and parameters given, and of presets with the weights that ship."""

    def __init__(self, network: Callable[[], Network], params: CondDiffParams, device: str, queries: Queries) -> None:
        self._network, self._params, self._device, self._queries = network, params, device, queries

    def by_precision(self, name: str) -> dict[str, Any]:
        """Masks of lower precisions against those of fp32, on the card."""
        wanted = self._masks(self._made(name, self._device))
        lower: tuple[Precision, ...] = ("tf32", "bf16", "fp16")
        return {
            precision: compared(wanted, self._masks(self._made(name, self._device, precision))) for precision in lower
        }

    def by_device(self, name: str) -> dict[str, Any]:
        """Masks of the card against those of the CPU, both in fp32; of the large network few, for the CPU's sake."""
        most = 4 if name == "random" else None
        cpu, card = (self._masks(self._made(name, device), most) for device in ("cpu", self._device))
        return compared(cpu, card)

    def contract(self, name: str) -> dict[str, Any]:
        """What the tests ask of every method, asked on this device."""
        spec = spec_from_file_location("contract", ROOT / "tests" / "test_contract.py")
        if spec is None or spec.loader is None:
            raise ImportError("tests/test_contract.py can not be read")
        contract = module_from_spec(spec)
        spec.loader.exec_module(contract)
        held: tuple[Precision, ...] = ("fp32", "bf16")
        for precision in held:
            contract.check_answers(partial(self._made, name, self._device, precision))
        return {"held": list(held)}

    def _made(self, name: str, device: str, precision: Precision = "fp32") -> CondDiff:
        """The method: conddiff-nano with the weights that ship, whose masks mean something, or the network at hand."""
        if name == "random":
            made = CondDiff(self._params.model_copy(update={"precision": precision, "forward_batch": 2}))
            made.use(deepcopy(self._network()), device)
            return made
        found = ab.load_method(name, device=device, precision=precision)
        if not isinstance(found, CondDiff):
            raise TypeError(f"{name} is a {type(found).__name__}")
        return found

    def _masks(self, method: CondDiff, most: int | None = None) -> list[Mask]:
        queries = self._queries()[:most]
        return method.predict(queries, range(len(queries)))


def compared(wanted: Sequence[Mask], found: Sequence[Mask]) -> dict[str, float]:
    """How many masks are the same, and how far the others are apart: share of the pixels of either, IoU."""
    pairs = list(zip(wanted, found, strict=True))
    apart = sum(int((a ^ b).sum()) for a, b in pairs) / max(1, sum(int((a | b).sum()) for a, b in pairs))
    ious = [(a & b).sum() / max(1, (a | b).sum()) if (a | b).any() else 1.0 for a, b in pairs]
    return {
        "masks": len(pairs), "identical": sum(bool(np.array_equal(a, b)) for a, b in pairs),
        "pixels_apart": apart, "mean_iou": float(np.mean(ious)), "least_iou": float(np.min(ious)),
    }  # fmt: skip
