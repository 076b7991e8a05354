"""conddiff: CondDiff-AMO, a conditional diffusion model on masks. Importing this needs no torch; `load` does."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from amodal_bench.errors import Refused, WeightsNotFound
from amodal_bench.files.documents import BadDocument, parse_json
from amodal_bench.methods._window import cut_image, cut_visible, find_window, paste
from amodal_bench.plugin import AnyDataset, Method, MethodCard, Runtime, TrainingRun
from amodal_bench.store.spec import resolved
from amodal_bench.types import AmodalQuery, Mask

from .backbone import find_backbone
from .params import CondDiffParams, CondDiffTraining, Diffusion, Model

if TYPE_CHECKING:
    from .network import Network

__all__ = ["CondDiff", "CondDiffParams", "CondDiffTraining"]


class CondDiff(Method[CondDiffParams]):
    """Denoise an amodal mask from noise, given the image and the visible mask."""

    card = MethodCard(
        title="CondDiff-AMO",
        paper="CondDiff-AMO: conditional diffusion for amodal segmentation (2026)",
        licence="Apache-2.0 (this implementation)",
        needs=("torch", "timm", "safetensors", "accelerate"),
        extra="conddiff",
        trained=True,
        weights="trained by `amodal-bench train`; conddiff-nano ships with the package",
        batch_size=16,
    )
    Params = CondDiffParams
    Training = CondDiffTraining

    def __init__(self, params: CondDiffParams) -> None:
        super().__init__(params)
        self._network: Network | None = None
        self._device = "cpu"

    def check_weights(self, metadata: Mapping[str, str]) -> None:
        """Refuse weights that were trained for another network or another noise."""
        if "params" not in metadata:
            return
        stored, current = _stored(metadata["params"]), resolved(self.params)
        faults = [
            f"  {name}: trained with {before!r}, asked for {now!r}"
            for name in bound_names(stored, current)
            if (before := _at(stored, name)) != (now := _at(current, name))
        ]
        if faults:
            raise Refused("these weights were trained with other parameters:\n" + "\n".join(faults))

    def load(self, runtime: Runtime) -> None:
        """Build the network and read its weights."""
        from amodal_bench.methods._training import weights

        from .network import Network

        if runtime.checkpoint is None:
            raise WeightsNotFound("conddiff needs a checkpoint: amodal-bench train --method conddiff, or --checkpoint")
        network = Network(self.params.model)
        weights.load(network, runtime.checkpoint)
        self.use(network, runtime.device)

    def use(self, network: "Network", device: str) -> None:
        """Predict with this network from now on."""
        self._network, self._device = network.eval().to(device), device

    @property
    def network(self) -> "Network":
        """The loaded network."""
        if self._network is None:
            raise RuntimeError("predict was called before load")
        return self._network

    def predict(self, queries: Sequence[AmodalQuery], seeds: Sequence[int]) -> list[Mask]:
        """Sample masks, `forward_batch` instances at a time."""
        size = self.params.forward_batch
        return [
            mask
            for start in range(0, len(queries), size)
            for mask in self._predict(queries[start : start + size], list(seeds[start : start + size]))
        ]

    def _predict(self, queries: Sequence[AmodalQuery], seeds: list[int]) -> list[Mask]:
        import torch

        from .guides import with_guides
        from .sampler import sample

        params, size = self.params, self.params.model.size
        by_area = params.crop.masks == "area"
        windows = [find_window(query.visible, params.crop) for query in queries]
        pairs = list(zip(queries, windows, strict=True))
        images = np.stack([cut_image(query.image, window, size) for query, window in pairs])
        cuts = [cut_visible(query.visible, window, size, by_area) for query, window in pairs]
        given = np.stack([with_guides(cut, params.model.guides) for cut in cuts])
        padding = params.forward_batch - len(queries)
        images = np.pad(images, ((0, padding), (0, 0), (0, 0), (0, 0)))
        given = np.pad(given, ((0, padding), (0, 0), (0, 0), (0, 0)))
        found = sample(
            self.network,
            torch.from_numpy(images).permute(0, 3, 1, 2),
            torch.from_numpy(given),
            [*seeds, *[0] * padding],
            params,
            self._device,
        ).numpy()
        masks = [paste(p, window, query.visible.shape) for p, (query, window) in zip(found, pairs, strict=False)]
        if params.union_visible:
            masks = [mask | query.visible for mask, query in zip(masks, queries, strict=True)]
        return masks

    def starts(self, training: CondDiffTraining, weights: Path) -> Mapping[str, Path]:
        """The backbone's first weights, unless it is trained from scratch."""
        found = find_backbone(self.params.model, training.backbone_weights, weights)
        return {"backbone": found} if found else {}

    def train(self, train: AnyDataset, val: AnyDataset, run: TrainingRun) -> None:
        """Train a network and leave it in `run.out`."""
        from .train import train as start

        start(self.params, train, val, run)


def _stored(text: str) -> dict[str, Any]:
    try:
        params = parse_json(text.encode())
    except BadDocument as error:
        raise Refused(f"the parameters in the header of these weights: the text {error}") from None
    if not isinstance(params, dict) or not isinstance(params.get("model", {}), dict):
        raise Refused("the parameters in the header of these weights are no mapping of names to values")
    return params


# What the weights mean whose header does not state it: all that there was then.
_UNSTATED = {
    "model.vm_kernel": Model().vm_kernel,
    "model.guides": list(Model().guides),
    "diffusion.ust_schedule": Diffusion().ust_schedule,
}


def bound_names(stored: Mapping[str, Any], current: Mapping[str, Any]) -> list[str]:
    """Dotted names of the parameters that weights are bound to: the network, the noise, and how UST thinned."""
    names = [f"model.{name}" for name in sorted({*stored.get("model", {}), *current["model"]})]
    names += ["diffusion.noise_d", "diffusion.forward"]
    if _at(current, "diffusion.forward") == "ust":
        names.append("diffusion.ust_schedule")
        if _at(stored, "diffusion.ust_schedule") == _at(current, "diffusion.ust_schedule") == "segrefiner":
            names += ["diffusion.ust_start", "diffusion.ust_stop"]
    return names


def _at(values: Mapping[str, Any], name: str) -> Any:
    found: Any = values
    for part in name.split("."):
        found = found.get(part, {}) if isinstance(found, Mapping) else {}
    return _UNSTATED.get(name, found) if found == {} else found
