"""inpaint: tuning-free amodal segmentation by inpainting and SAM. Importing this needs no torch; `load` does."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from amodal_bench.errors import WeightsNotFound
from amodal_bench.masks.boxes import Window
from amodal_bench.methods._segment import load as segmenters
from amodal_bench.methods._segment.load import PointSegmenter
from amodal_bench.methods._segment.points import draw_points
from amodal_bench.methods._things import load as things
from amodal_bench.methods._window import cut_image, cut_visible, find_window, paste
from amodal_bench.plugin import AnyDataset, Method, MethodCard, Runtime, TrainingRun
from amodal_bench.types import AmodalQuery, Mask

from .category import by_category, prompts_of
from .condition import Conditioned, condition
from .params import InpaintParams, InpaintTraining
from .where import Finder, Where, look_around

__all__ = ["Inpaint", "InpaintParams", "Training"]

log = logging.getLogger(__name__)


class Fill(Protocol):
    """What repaints: `x` (B, R, R, 3) in [-1, 1] where `area` (B, R, R), to uint8 (B, R, R, 3)."""

    def __call__(
        self, x: NDArray[np.float32], area: Mask, seeds: Sequence[int], prompts: Sequence[str] | None = None
    ) -> NDArray[np.uint8]:
        """At most `forward_batch` at a time; an instance's pixels depend on its own x, area, seed and prompt.

        `prompts` are given where the settings' one holds {category}.
        """


class Inpaint(Method[InpaintParams]):
    """Repaint what may hide the object, without training, and segment the object that is then whole."""

    card = MethodCard(
        title="Tuning-free: inpainting + SAM",
        paper="Tuning-free amodal segmentation via the occlusion-free bias of inpainting models (2025)",
        licence="Apache-2.0 (this implementation)",
        needs=("torch", "torchvision", "diffusers", "transformers", "segment_anything", "safetensors", "cv2"),
        extra="inpaint",
        weights="an inpainting pipeline and SAM: docs/inpaint.md",
        batch_size=8,
    )
    Params = InpaintParams
    Training = InpaintTraining

    def __init__(self, params: InpaintParams) -> None:
        super().__init__(params)
        self._fill: Fill | None = None
        self._segmenter: PointSegmenter | None = None
        self._finder: Finder | None = None

    def pretrained(self, weights: Path) -> Mapping[str, Path]:
        """The inpainting pipeline's folder, the segmenter's weights, and where things are asked for their network's.

        Tells of all that are missing at once.

        Raises `Refused` where the folder's configuration says that it cannot inpaint at `resolution`.
        """
        from . import backbones

        parts: dict[str, Callable[[], Path]] = {
            "inpainting": lambda: backbones.find(self.params.backbone, weights),
            "segmenter": lambda: segmenters.find(self.params.segmenter, weights),
        }
        if self.params.fill == "telea":
            del parts["inpainting"]
        if self.params.condition.looks_around:
            parts["things"] = lambda: things.find(self.params.things, weights)
        found: dict[str, Path] = {}
        missing: list[WeightsNotFound] = []
        for part, find in parts.items():
            try:
                found[part] = find()
            except WeightsNotFound as error:
                missing.append(error)
        if missing:
            names = [name for error in missing for name in error.missing]
            raise WeightsNotFound("\n\n".join(map(str, missing)), names)
        if "inpainting" in found:
            backbones.check_size(found["inpainting"], backbones.read(found["inpainting"]), self.params.resolution)
        return found

    def load(self, runtime: Runtime) -> None:
        """Build the pipeline and the segmenter from what `pretrained` finds."""
        paths, params = self.pretrained(runtime.weights), self.params
        if params.fill == "telea":
            from .telea import telea_fill

            fill: Fill = telea_fill
        else:
            from .diffusion import DiffusionFill

            fill = DiffusionFill(paths["inpainting"], params, runtime.device)
        batch, finder = params.forward_batch, None
        if "things" in paths:
            finder = things.load(params.things, paths["things"], runtime.device, batch)
        self.use(fill, segmenters.load(params.segmenter, paths["segmenter"], runtime.device, batch), finder)

    def use(self, fill: Fill, segmenter: PointSegmenter, finder: Finder | None = None) -> None:
        """Predict with these from now on."""
        self._fill, self._segmenter, self._finder = fill, segmenter, finder

    def predict(self, queries: Sequence[AmodalQuery], seeds: Sequence[int]) -> list[Mask]:
        """Repaint and segment, `forward_batch` instances at a time."""
        size = self.params.forward_batch
        return [
            mask
            for start in range(0, len(queries), size)
            for mask in self._predict(queries[start : start + size], seeds[start : start + size])
        ]

    def _predict(self, queries: Sequence[AmodalQuery], seeds: Sequence[int]) -> list[Mask]:
        if self._fill is None or self._segmenter is None:
            raise RuntimeError("predict was called before load")
        params = self.params
        windows = [find_window(query.visible, params.region) for query in queries]
        rngs = [np.random.default_rng(seed) for seed in seeds]
        visible = [self._seen(query, window) for query, window in zip(queries, windows, strict=True)]
        places = look_around(queries, params.condition, self._finder)
        conditioned = [self._conditioned(*parts) for parts in zip(queries, windows, visible, rngs, places, strict=True)]
        log.debug("conditioned %d instances at %d pixels", len(conditioned), params.resolution)
        shown = np.stack([one.x for one in conditioned]), np.stack([one.area for one in conditioned]), seeds
        prompt = params.denoising.prompt
        whole = self._fill(*shown, prompts_of(queries, prompt)) if by_category(prompt) else self._fill(*shown)
        log.debug("repainted them with %s", params.fill)
        points = [draw_points(mask, params.segmenter, rng) for mask, rng in zip(visible, rngs, strict=True)]
        logits = self._segmenter.segment(list(whole), points, visible)
        log.debug("segmented them with %s", params.segmenter.checkpoint)
        areas = [one.area for one in conditioned]
        return [self._answer(*parts) for parts in zip(queries, windows, logits, areas, places, strict=True)]

    def _seen(self, query: AmodalQuery, window: Window) -> Mask:
        """The visible mask at the resolution the models work on."""
        return cut_visible(query.visible, window, self.params.resolution, self.params.region.masks == "area")

    def _conditioned(
        self, query: AmodalQuery, window: Window, visible: Mask, rng: np.random.Generator, where: Where
    ) -> Conditioned:
        size = self.params.resolution
        image = cut_image(query.image, window, size)
        return condition(image, visible, self.params.condition, rng, where.cut(window, size))

    def _answer(
        self, query: AmodalQuery, window: Window, logits: NDArray[np.float32], area: Mask, where: Where
    ) -> Mask:
        """Logits (R, R) as a full-frame mask: scaled back before they are cut at 0.

        Beside the visible mask, what lies outside of `where.within`, or of the area, is left out where it is asked for.
        """
        mask = paste(logits, window, query.visible.shape, above=0.0)
        if self.params.within_area:
            mask &= paste(area.astype(np.float32), window, mask.shape) | query.visible
        if where.within is not None:
            mask &= where.within | query.visible
        return mask | query.visible if self.params.union_visible else mask

    def train(self, train: AnyDataset, val: AnyDataset, run: TrainingRun) -> None:
        """Train a tiny inpainting pipeline on whole objects: run.out/pipeline."""
        from .train import train as start

        start(self.params, train, val, run)
