"""SAM 2 for single images, through transformers: checkpoints, prompts."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import Sam2ImageProcessor, Sam2Model
from transformers.utils import logging

from amodal_bench.errors import Refused
from amodal_bench.files.documents import BadDocument, parse_json
from amodal_bench.types import Image, Mask

from .choose import Logits, choose
from .encoded import EncodedOnce
from .points import Points
from .settings import Segmenter

Embedding = list[Tensor]  # (1, C, h, w) each, from fine to coarse
KINDS = ("sam2", "sam2_video")  # the hub's folders say video; the image model is a part of that one
_SHOWN = 5


def load_sam2(folder: Path) -> tuple[Sam2Model, Sam2ImageProcessor]:
    """The model, float32, and its image processor from a folder in transformers' format; raises `Refused`.

    The library itself only warns where tensors are missing, and takes the smallest model where there is no config.
    """
    _check_kind(folder)
    try:
        with _quiet():
            processor = Sam2ImageProcessor.from_pretrained(folder, local_files_only=True)
            model, loading = Sam2Model.from_pretrained(
                folder,
                local_files_only=True,
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
            )
    except (SafetensorError, OSError, ValueError) as error:
        raise Refused(f"{folder}: not a whole SAM 2 folder: {str(error).splitlines()[0]}") from None
    faults = [
        *(f"missing {name}" for name in sorted(loading["missing_keys"])),
        *(f"unknown {name}" for name in sorted(loading["unexpected_keys"])),
        *(
            f"{name} is {tuple(found)}, expected {tuple(expected)}"
            for name, found, expected in sorted(loading["mismatched_keys"], key=lambda fault: str(fault[0]))
        ),
    ]
    if faults:
        more = f"\n  ... and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        listed = "\n  ".join(faults[:_SHOWN])
        raise Refused(f"{folder} does not fit its config.json ({len(faults)} tensors differ):\n  {listed}{more}")
    return model.eval(), processor


def _check_kind(folder: Path) -> None:
    path = folder / "config.json"
    if not path.is_file():
        raise Refused(
            f"segmenter.checkpoint {folder} has no config.json: expected a folder in transformers' format, "
            "such as that of facebook/sam2.1-hiera-large"
        )
    try:
        config = parse_json(path.read_bytes())
    except BadDocument as error:
        raise Refused(f"{path} {error}") from None
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind not in KINDS:
        raise Refused(f"{path} is of a {kind!r} model, expected one of {', '.join(KINDS)}")


@contextmanager
def _quiet() -> Iterator[None]:
    """No bars and no warnings of the library: what it would warn of is checked here."""
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


class Sam2Segmenter(EncodedOnce):
    """A loaded SAM 2 and how it is asked."""

    def __init__(
        self, model: Sam2Model, processor: Sam2ImageProcessor, settings: Segmenter, device: str, batch: int
    ) -> None:
        super().__init__(settings, device, batch)
        self.model = model.eval().to(device)
        self._processor = processor
        self._compiled(self.model.vision_encoder)

    @classmethod
    def load(cls, settings: Segmenter, path: Path, device: str, batch: int) -> Self:
        """From a folder; raises `Refused`."""
        model, processor = load_sam2(path)
        return cls(model, processor, settings, device, batch)

    def encode(self, images: Sequence[Image]) -> list[Embedding]:
        """As `EncodedOnce` says."""
        # One by one: the processor would sort images of one size together.
        shown = [
            self._processor(images=np.array(image), input_data_format="channels_last", return_tensors="pt")
            for image in images
        ]
        batch = torch.cat([image["pixel_values"] for image in shown]).to(self._device)
        levels = [level.float() for level in self.model.get_image_embeddings(batch)]
        return [[level[k : k + 1] for level in levels] for k in range(len(images))]

    def decode(self, embedding: Embedding, points: Points, visible: Mask) -> Logits:
        """As `EncodedOnce` says."""
        height, width = visible.shape
        scale = self.model.prompt_encoder.input_image_size / np.array([width, height])
        prompt = torch.as_tensor(points * scale, dtype=torch.float32, device=self._device)[None, None]
        found = self.model(
            image_embeddings=embedding,
            input_points=prompt,
            input_labels=torch.ones(prompt.shape[:3], dtype=torch.int, device=self._device),
            multimask_output=self._settings.multimask != "single",
        )
        (masks,) = self._processor.post_process_masks(found.pred_masks, [(height, width)], binarize=False)
        logits = masks[0].float().cpu().numpy()
        taken = choose(logits, found.iou_scores[0, 0].float().cpu().numpy(), visible, self._settings.multimask)
        return np.ascontiguousarray(logits[taken])
