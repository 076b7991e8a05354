"""What the modal baselines share: a segmenter pointed at the visible mask answers for the amodal one. No torch here."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from pydantic import Field

from amodal_bench.methods._window import RegionSettings, find_window
from amodal_bench.plugin import Method, Runtime, Settings
from amodal_bench.types import AmodalQuery, Mask

from .load import PointSegmenter, find, load
from .points import draw_points
from .settings import Segmenter


class PromptedParams(Settings):
    """All that can change a prediction.

    `region` is the part of the image that the segmenter is shown; it is not resized before, so `region.masks` is not
    used. `forward_batch` is how many images the encoder always sees at once (short batches are filled), so that an
    instance's mask does not depend on its companions.
    """

    segmenter: Segmenter = Segmenter()
    region: RegionSettings = RegionSettings()
    union_visible: bool = False
    forward_batch: int = Field(default=1, ge=1)


class Prompted(Method[PromptedParams]):
    """Predict what a segmenter finds at points of the visible mask in the image as it is."""

    def __init__(self, params: PromptedParams) -> None:
        super().__init__(params)
        self._segmenter: PointSegmenter | None = None

    def pretrained(self, weights: Path) -> Mapping[str, Path]:
        """The segmenter's checkpoint."""
        return {"segmenter": find(self.params.segmenter, weights)}

    def load(self, runtime: Runtime) -> None:
        """Read the segmenter."""
        settings = self.params.segmenter
        self.use(load(settings, find(settings, runtime.weights), runtime.device, self.params.forward_batch))

    def use(self, segmenter: PointSegmenter) -> None:
        """Predict with this segmenter from now on."""
        self._segmenter = segmenter

    def predict(self, queries: Sequence[AmodalQuery], seeds: Sequence[int]) -> list[Mask]:
        """Point at every object once; the instances of one image share its embedding where the whole is shown."""
        if self._segmenter is None:
            raise RuntimeError("predict was called before load")
        params = self.params
        windows = [find_window(query.visible, params.region) for query in queries]
        visible = [query.visible[window.slices] for query, window in zip(queries, windows, strict=True)]
        found = self._segmenter.segment(
            [query.image[window.slices] for query, window in zip(queries, windows, strict=True)],
            [
                draw_points(mask, params.segmenter, np.random.default_rng(seed))
                for mask, seed in zip(visible, seeds, strict=True)
            ],
            visible,
            [query.image_id if params.region.mode == "none" else None for query in queries],
        )
        answers = []
        for query, window, logits in zip(queries, windows, found, strict=True):
            answer = query.visible.copy() if params.union_visible else np.zeros_like(query.visible)
            answer[window.slices] |= logits > 0
            answers.append(answer)
        return answers
