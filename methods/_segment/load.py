"""Find and load a segmenter. Importing this needs no torch; `load` does."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from amodal_bench.errors import Refused
from amodal_bench.methods import _pretrained
from amodal_bench.methods._pretrained import WeightsSource
from amodal_bench.types import Image, Mask

from .choose import Logits
from .points import Points
from .settings import Segmenter

SHIPPED = Path(__file__).parent / "weights"
# The official files of each size.
OFFICIAL = {"vit_b": "sam_vit_b_01ec64.pth", "vit_l": "sam_vit_l_0b3195.pth", "vit_h": "sam_vit_h_4b8939.pth"}
_TITLES = {"vit_b": "ViT-B", "vit_l": "ViT-L", "vit_h": "ViT-H"}
_SIZES = {"vit_b": "375 MB", "vit_l": "1.2 GB", "vit_h": "2.6 GB"}
_SAM2 = {
    "facebook/sam2.1-hiera-large": ("SAM 2.1 large", "0.9 GB"),
    "facebook/sam2.1-hiera-tiny": ("SAM 2.1 tiny", "0.2 GB"),
}


class PointSegmenter(Protocol):
    """A model that is shown points of an object and answers the object."""

    def segment(
        self,
        images: Sequence[Image],
        points: Sequence[Points],
        visible: Sequence[Mask],
        keys: Sequence[str | None] | None = None,
    ) -> list[Logits]:
        """Logits (H, W) of one object an image, at the image's size, float32; above 0 is object.

        `images` are uint8 (H, W, 3) RGB of any sizes; `points` and `visible` lie in the same frame. Images with
        equal `keys` that are not None are one image, which is embedded once where they come one after the other.
        What else is asked in the same call changes nothing.
        """


def find(settings: Segmenter, weights: Path) -> Path:
    """The checkpoint's file (`sam`) or folder (`sam2`); raises `WeightsNotFound` that says how to get it.

    Raises `Refused` where `checkpoint` is the official file of another size than `type`.
    """
    if settings.backend == "sam2":
        return _pretrained.find(settings.checkpoint, _sam2(settings), weights, SHIPPED, settings.revision)
    for size, name in OFFICIAL.items():
        if Path(settings.checkpoint).name == name and settings.type != size:
            way_out = f" and segmenter.checkpoint={OFFICIAL[settings.type]}" if settings.type in OFFICIAL else ""
            raise Refused(
                f"segmenter.checkpoint {settings.checkpoint} is the official {size} file, segmenter.type asks for "
                f"{settings.type}: --set segmenter.type={size}, or keep the type{way_out}"
            )
    path = _pretrained.find(settings.checkpoint, _sam(settings), weights, SHIPPED)
    if not path.is_file():
        raise Refused(f"segmenter.checkpoint {path} is a folder, expected a .pth or .safetensors file")
    return path


def load(settings: Segmenter, path: Path, device: str, batch: int) -> PointSegmenter:
    """The segmenter at `path`, ready on `device`; its encoder always sees `batch` images.

    Raises `Refused` where the files do not hold that model.
    """
    if settings.backend == "sam2":
        from .sam2 import Sam2Segmenter

        return Sam2Segmenter.load(settings, path, device, batch)
    from .sam import SamSegmenter

    return SamSegmenter.load(settings, path, device, batch)


def _sam(settings: Segmenter) -> WeightsSource:
    if settings.type == "nano":
        train = "amodal-bench train --method sam-nano --dataset synthetic, whose model.safetensors belongs at {folder}"
        return WeightsSource("SAM nano of this project", "Apache-2.0", "a few MB", train)
    if Path(settings.checkpoint).name != OFFICIAL[settings.type]:
        hint = "put a .pth or .safetensors file of that size at {folder}; Meta's own is "
        return WeightsSource(
            f"SAM {_TITLES[settings.type]}",
            "its own",
            _SIZES[settings.type],
            f"{hint}segmenter.checkpoint={OFFICIAL[settings.type]}",
        )
    url = f"https://dl.fbaipublicfiles.com/segment_anything/{OFFICIAL[settings.type]}"
    return WeightsSource(
        f"SAM {_TITLES[settings.type]}",
        "Apache-2.0",
        _SIZES[settings.type],
        f"curl -L --create-dirs -o {{folder}} {url}",
    )


def _sam2(settings: Segmenter) -> WeightsSource:
    if not _pretrained.is_hub_id(settings.checkpoint):
        hint = "put a folder in transformers' format, as save_pretrained leaves it, at {folder}"
        return WeightsSource("SAM 2", "its own", "its own", hint)
    revision = f" --revision {settings.revision}" if settings.revision else ""
    # The repositories also hold the same weights for another library.
    get = f'hf download {settings.checkpoint}{revision} --exclude "*.pt" --local-dir {{folder}}'
    title, size = _SAM2.get(settings.checkpoint, ("SAM 2", "see its page"))
    return WeightsSource(title, "Apache-2.0", size, get)
