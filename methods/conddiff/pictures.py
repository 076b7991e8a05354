"""What a training's predictions look like: image, visible, predicted and true mask side by side."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from amodal_bench.methods._window import cut_image, cut_mask, find_window
from amodal_bench.types import AmodalSample, Mask

from .params import CondDiffParams


def panels(samples: Sequence[AmodalSample], masks: Sequence[Mask], params: CondDiffParams) -> NDArray[np.uint8]:
    """(N, S, 4 S, 3): each sample in the window that the network saw."""
    size, rows = params.model.size, []
    for sample, mask in zip(samples, masks, strict=True):
        window = find_window(sample.query.visible, params.crop)
        shown = [cut_image(sample.query.image, window, size)]
        for part in (sample.query.visible, mask, sample.amodal):
            cut = np.asarray(cut_mask(part, window, size, False))
            shown.append(np.repeat((255 * cut[..., None]).astype(np.uint8), 3, axis=2))
        rows.append(np.concatenate(shown, axis=1))
    return np.stack(rows)
