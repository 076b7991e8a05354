"""inpaint: tuning-free amodal segmentation by inpainting and SAM. Importing this needs no torch; `load` does."""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from amodal_bench.errors import WeightsNotFound
from amodal_bench.masks.boxes import Window
from amodal_bench.methods._overlap import overlapped
from amodal_bench.methods._segment import load as segmenters
from amodal_bench.methods._segment.load import PointSegmenter
from amodal_bench.methods._segment.points import Points, draw_points
from amodal_bench.methods._squares import Squares
from amodal_bench.methods._things import load as things
from amodal_bench.methods._window import cut_visible, find_window, paste
from amodal_bench.plugin import AnyDataset, Method, MethodCard, Runtime, TrainingRun
from amodal_bench.types import AmodalQuery, Image, Mask

from .category import by_category, prompts_of
from .condition import Conditioned, condition
from .params import InpaintParams, InpaintTraining
from .where import Finder, Where, look_around

__all__ = ["Inpaint", "InpaintParams", "Training"]

log = logging.getLogger(__name__)

_AHEAD = 2  # threads that condition beside a GPU: one instance takes about as long there as on the GPU


class Fill(Protocol):
    """What repaints: `x` (B, R, R, 3) in [-1, 1] where `area` (B, R, R), to uint8 (B, R, R, 3)."""

    def __call__(
        self, x: NDArray[np.float32], area: Mask, seeds: Sequence[int], prompts: Sequence[str] | None = None
    ) -> NDArray[np.uint8]:
        """At most `forward_batch` at a time; an instance's pixels depend on its own x, area, seed and prompt.

        `prompts` are given where the settings' one holds {category}.
        """


Part = tuple[Sequence[AmodalQuery], Sequence[int], Sequence[Where]]  # at most `forward_batch` instances, and where


class Ready(NamedTuple):
    """At most `forward_batch` instances as the models get them: `x` (B, R, R, 3), `area` and `visible` (B, R, R)."""

    queries: Sequence[AmodalQuery]
    seeds: Sequence[int]
    windows: Sequence[Window]
    visible: Sequence[Mask]
    places: Sequence[Where]
    x: NDArray[np.float32]
    area: Mask
    points: Sequence[Points]


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
        self._beside, self._ahead = False, 1

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
        elif vae := self.params.backbone.vae:
            parts["vae"] = lambda: backbones.find_vae(vae, weights)
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
            kind = backbones.read(found["inpainting"], found.get("vae"))
            backbones.check_size(found["inpainting"], kind, self.params.resolution)
        return found

    def load(self, runtime: Runtime) -> None:
        """Build the pipeline and the segmenter from what `pretrained` finds."""
        paths, params = self.pretrained(runtime.weights), self.params
        if params.fill == "telea":
            from .telea import telea_fill

            fill: Fill = telea_fill
        else:
            from .diffusion import DiffusionFill

            fill = DiffusionFill(paths["inpainting"], params, runtime.device, paths.get("vae"))
        batch, finder = params.forward_batch, None
        if "things" in paths:
            finder = things.load(params.things, paths["things"], runtime.device, batch)
        segmenter = segmenters.load(params.segmenter, paths["segmenter"], runtime.device, batch)
        self.use(fill, segmenter, finder, runtime.device)

    def use(self, fill: Fill, segmenter: PointSegmenter, finder: Finder | None = None, device: str = "cpu") -> None:
        """Predict with these from now on.

        On a GPU a batch is segmented by another thread while the next is repainted, unless the segmenter's precision
        is one that needs switches of the whole process. On a CPU the two would only take each other's cores.
        """
        self._fill, self._segmenter, self._finder = fill, segmenter, finder
        accelerated = device != "cpu"
        self._beside = accelerated and self.params.segmenter.dtype in ("float16", "bfloat16")
        self._ahead = _AHEAD if accelerated else 1

    def predict(self, queries: Sequence[AmodalQuery], seeds: Sequence[int]) -> list[Mask]:
        """Repaint and segment, `forward_batch` instances at a time.

        Threads condition the next ones and paste the last ones meanwhile.
        """
        if self._fill is None or self._segmenter is None:
            raise RuntimeError("predict was called before load")
        size, squares = self.params.forward_batch, Squares(self.params.resolution)
        places = look_around(queries, self.params.condition, self._finder)  # a network's work: not beside another's
        starts = range(0, len(queries), size)
        parts: list[Part] = [(queries[k : k + size], seeds[k : k + size], places[k : k + size]) for k in starts]
        prepare = partial(self._ready, squares=squares)
        if self._beside:
            answered = overlapped(parts, prepare, self._repainted, self._segmented_and_pasted, self._ahead)
        else:
            answered = overlapped(parts, prepare, self._repainted_and_segmented, self._pasted, self._ahead)
        return [mask for masks in answered for mask in masks]

    def _ready(self, part: Part, squares: Squares) -> Ready:
        """What the models are given. An instance's one generator draws for x first, then its points."""
        (queries, seeds, places), params = part, self.params
        windows = [find_window(query.visible, params.region) for query in queries]
        rngs = [np.random.default_rng(seed) for seed in seeds]
        visible = [self._seen(query, window) for query, window in zip(queries, windows, strict=True)]
        conditioned = [
            self._conditioned(squares.of(query.image, window), window, seen, rng, where)
            for query, window, seen, rng, where in zip(queries, windows, visible, rngs, places, strict=True)
        ]
        points = [draw_points(mask, params.segmenter, rng) for mask, rng in zip(visible, rngs, strict=True)]
        log.debug("conditioned %d instances at %d pixels", len(conditioned), params.resolution)
        x, area = np.stack([one.x for one in conditioned]), np.stack([one.area for one in conditioned])
        return Ready(queries, seeds, windows, visible, places, x, area, points)

    def _conditioned(
        self, image: Image, window: Window, visible: Mask, rng: np.random.Generator, where: Where
    ) -> Conditioned:
        return condition(image, visible, self.params.condition, rng, where.cut(window, self.params.resolution))

    def _seen(self, query: AmodalQuery, window: Window) -> Mask:
        """The visible mask at the resolution the models work on."""
        return cut_visible(query.visible, window, self.params.resolution, self.params.region.masks == "area")

    def _repainted(self, ready: Ready) -> NDArray[np.uint8]:
        assert self._fill is not None
        shown, prompt = (ready.x, ready.area, ready.seeds), self.params.denoising.prompt
        whole = self._fill(*shown, prompts_of(ready.queries, prompt)) if by_category(prompt) else self._fill(*shown)
        log.debug("repainted them with %s", self.params.fill)
        return whole

    def _segmented(self, ready: Ready, whole: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        assert self._segmenter is not None
        logits = self._segmenter.segment(list(whole), ready.points, ready.visible)
        log.debug("segmented them with %s", self.params.segmenter.checkpoint)
        return logits

    def _pasted(self, ready: Ready, logits: Sequence[NDArray[np.float32]]) -> list[Mask]:
        parts = zip(ready.queries, ready.windows, logits, ready.area, ready.places, strict=True)
        return [self._answer(*part) for part in parts]

    def _repainted_and_segmented(self, ready: Ready) -> list[NDArray[np.float32]]:
        return self._segmented(ready, self._repainted(ready))

    def _segmented_and_pasted(self, ready: Ready, whole: NDArray[np.uint8]) -> list[Mask]:
        return self._pasted(ready, self._segmented(ready, whole))

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
