"""SAM through the package segment_anything: sizes, checkpoints, prompts."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from segment_anything import build_sam_vit_b, build_sam_vit_h, build_sam_vit_l
from segment_anything.modeling import Sam
from segment_anything.utils.transforms import ResizeLongestSide
from torch import Tensor

from amodal_bench.errors import Refused
from amodal_bench.methods._training import weights
from amodal_bench.types import Image, Mask

from .choose import Logits, choose
from .encoded import EncodedOnce
from .points import Points
from .settings import Segmenter

State = dict[str, Tensor]
POSITION = "image_encoder.pos_embed"  # (1, rows, columns, width of the transformer)
WIDTHS = {"vit_b": 768, "vit_l": 1024, "vit_h": 1280}


def _nano() -> Sam:
    from .nano import build_nano

    return build_nano()


BUILDERS: Mapping[str, Callable[[], Sam]] = {
    "vit_b": build_sam_vit_b,
    "vit_l": build_sam_vit_l,
    "vit_h": build_sam_vit_h,
    "nano": _nano,
}


def load_sam(kind: str, path: Path) -> Sam:
    """The model of size `kind` with the weights of a .pth or .safetensors file; fp16 becomes fp32.

    Raises `Refused` that names what does not fit, and which size the file is where it is another one.
    """
    state = read(path)
    if POSITION not in state:
        first = ", ".join(list(state)[:3]) or "nothing"
        raise Refused(f"{path} is no SAM checkpoint: it has no {POSITION}, but {first}, ...")
    width = state[POSITION].shape[-1]
    found = next((name for name, known in WIDTHS.items() if known == width), None)
    # Said before the model is built: that of vit_h takes a while and 2.6 GB.
    if found not in (None, kind) or (found is None and kind in WIDTHS):
        what = f"a {found} checkpoint" if found else f"a checkpoint of width {width} (nano, or of another project)"
        change = f"--set segmenter.type={found or 'nano'}"
        raise Refused(f"{path} is {what}; asked for {kind}: {change}, or another segmenter.checkpoint")
    sam = BUILDERS[kind]()
    weights.fit(sam, state, str(path))
    return sam.eval()


def read(path: Path) -> State:
    """The tensors of a checkpoint, which is never unpickled beyond plain data; raises `Refused`."""
    loaded = weights.read(path)
    for inside in ("model", "state_dict"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(inside), Mapping):
            loaded = loaded[inside]
    if not isinstance(loaded, Mapping) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise Refused(f"{path}: expected a mapping of names to tensors, found {_described(loaded)}")
    return dict(loaded)


def _described(loaded: Any) -> str:
    if not isinstance(loaded, Mapping):
        return type(loaded).__name__
    name, value = next((name, value) for name, value in loaded.items() if not isinstance(value, Tensor))
    return f"{name!r}: {type(value).__name__}"


class Resize(ResizeLongestSide):
    """The package's resizing, with one pixel left of the short side of a very long image, where it leaves none."""

    @staticmethod
    def get_preprocess_shape(oldh: int, oldw: int, long_side_length: int) -> tuple[int, int]:
        """Height and width after resizing."""
        height, width = ResizeLongestSide.get_preprocess_shape(oldh, oldw, long_side_length)
        return max(1, height), max(1, width)


class Embedded(NamedTuple):
    """An image as the decoder sees it, (1, C, h, w), and its height and width as encoded, without the padding."""

    features: Tensor
    size: tuple[int, int]


class SamSegmenter(EncodedOnce):
    """A loaded SAM and how it is asked."""

    def __init__(self, sam: Sam, settings: Segmenter, device: str, batch: int) -> None:
        super().__init__(settings, device, batch)
        self.sam = sam.eval().to(device)
        self._resize = Resize(sam.image_encoder.img_size)
        self._compiled(self.sam.image_encoder)

    @classmethod
    def load(cls, settings: Segmenter, path: Path, device: str, batch: int) -> Self:
        """From a file; raises `Refused`."""
        return cls(load_sam(settings.type, path), settings, device, batch)

    def encode(self, images: Sequence[Image]) -> list[Embedded]:
        """As `EncodedOnce` says."""
        shown = [torch.from_numpy(self._resize.apply_image(image)).permute(2, 0, 1) for image in images]
        batch = torch.stack([self.sam.preprocess(image.to(self._device)) for image in shown])
        features = self.sam.image_encoder(batch).float()
        return [Embedded(features[k : k + 1], tuple(image.shape[1:])) for k, image in enumerate(shown)]

    def decode(self, embedded: Embedded, points: Points, visible: Mask) -> Logits:
        """As `EncodedOnce` says."""
        sam, device = self.sam, self._device
        coordinates = self._resize.apply_coords(points, visible.shape)[None]
        labels = torch.ones(coordinates.shape[:2], dtype=torch.int, device=device)
        prompt = (torch.as_tensor(coordinates, dtype=torch.float32, device=device), labels)
        sparse, dense = sam.prompt_encoder(points=prompt, boxes=None, masks=None)
        masks, quality = sam.mask_decoder(
            image_embeddings=embedded.features,
            image_pe=sam.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=self._settings.multimask != "single",
        )
        logits = sam.postprocess_masks(masks, embedded.size, visible.shape)[0].float().cpu().numpy()
        taken = choose(logits, quality[0].float().cpu().numpy(), visible, self._settings.multimask)
        return np.ascontiguousarray(logits[taken])
