"""conddiff: CondDiff-AMO, a conditional diffusion model on masks. Importing this needs no torch; `load` does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from amodal_bench.errors import Refused, WeightsNotFound
from amodal_bench.files.documents import BadDocument, parse_json
from amodal_bench.masks.boxes import Window
from amodal_bench.methods._overlap import overlapped
from amodal_bench.methods._window import Probability, cut_image, cut_visible, find_window, paste
from amodal_bench.plugin import AnyDataset, Method, MethodCard, Runtime, TrainingRun
from amodal_bench.store.spec import resolved
from amodal_bench.types import AmodalQuery, Mask

from .backbone import find_backbone
from .params import CondDiffParams, CondDiffTraining, Diffusion, Model

if TYPE_CHECKING:
    from .network import Network
    from .precision import NetworkStep

__all__ = ["CondDiff", "CondDiffParams", "CondDiffTraining"]


@dataclass(frozen=True, slots=True)
class Cut:
    """What the network is shown of at most `forward_batch` instances, filled up to so many.

    `images` (B, S, S, 3) are uint8, `given` (B, 1 + G, S, S) are the visible masks and their guides.
    """

    queries: Sequence[AmodalQuery]
    windows: Sequence[Window]
    seeds: Sequence[int]
    images: NDArray[np.uint8]
    given: NDArray[np.float32]


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
        self._step: NetworkStep | None = None
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
        self._network, self._device, self._step = network.eval().to(device), device, None
        if self.params.compile:
            from .precision import compiled_step

            self._step = compiled_step(self._network)

    @property
    def network(self) -> "Network":
        """The loaded network."""
        if self._network is None:
            raise RuntimeError("predict was called before load")
        return self._network

    def predict(self, queries: Sequence[AmodalQuery], seeds: Sequence[int]) -> list[Mask]:
        """Sample masks, `forward_batch` instances at a time; the next are cut and the last pasted meanwhile."""
        size = self.params.forward_batch
        parts = [(queries[start : start + size], seeds[start : start + size]) for start in range(0, len(queries), size)]
        pasted = overlapped(parts, self._cut, self._sample, self._paste)
        return [mask for masks in pasted for mask in masks]

    def _cut(self, part: tuple[Sequence[AmodalQuery], Sequence[int]]) -> Cut:
        from .guides import with_guides

        (queries, seeds), params, size = part, self.params, self.params.model.size
        by_area = params.crop.masks == "area"
        windows = [find_window(query.visible, params.crop) for query in queries]
        pairs = list(zip(queries, windows, strict=True))
        images = np.stack([cut_image(query.image, window, size) for query, window in pairs])
        cuts = [cut_visible(query.visible, window, size, by_area) for query, window in pairs]
        given = np.stack([with_guides(cut, params.model.guides) for cut in cuts])
        padding = params.forward_batch - len(queries)
        images = np.pad(images, ((0, padding), (0, 0), (0, 0), (0, 0)))
        given = np.pad(given, ((0, padding), (0, 0), (0, 0), (0, 0)))
        return Cut(queries, windows, [*seeds, *[0] * padding], images, given)

    def _sample(self, cut: Cut) -> Probability:
        import torch

        from .sampler import sample

        images, given = torch.from_numpy(cut.images).permute(0, 3, 1, 2), torch.from_numpy(cut.given)

        def sampled(images: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
            return sample(self.network, images, given, cut.seeds, self.params, self._device, self._step)

        found = sampled(images, given)
        if self.params.flip_average:
            found = (found + sampled(images.flip(-1), given.flip(-1)).flip(-1)) / 2
        probability: Probability = found.numpy()
        return probability

    def _paste(self, cut: Cut, found: Probability) -> list[Mask]:
        pairs, above = zip(cut.queries, cut.windows, found, strict=False), self.params.threshold  # not the fillers
        masks = [paste(probability, window, query.visible.shape, above) for query, window, probability in pairs]
        if self.params.union_visible:
            masks = [mask | query.visible for mask, query in zip(masks, cut.queries, strict=True)]
        return masks

    def starts(self, training: CondDiffTraining, weights: Path) -> Mapping[str, Path]:
        """The weights that it goes on from; else the backbone's first ones, unless it is trained from scratch.

        Raises `Refused` where they do not fit the network.
        """
        if training.start:
            if not training.start.is_file():
                raise Refused(f"train.start {training.start}: no such file (weights of conddiff)")
            starts = {"weights": training.start}
        else:
            found = find_backbone(self.params.model, training.backbone_weights, weights)
            starts = {"backbone": found} if found else {}
        if starts:
            from .pretrained import check_starts

            check_starts(self.params.model, starts)
        return starts

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
