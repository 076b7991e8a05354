"""A tiny SAM and a tiny SAM 2 with random weights, and scenes of two-coloured discs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amodal_bench.types import AmodalQuery

SIZES_OF_SAM2: dict[str, Any] = {
    "vision_config": {
        "backbone_config": {
            "model_type": "sam2_hiera_det_model", "hidden_size": 8, "num_attention_heads": 1, "image_size": [64, 64],
            "blocks_per_stage": [1, 1, 2, 1], "embed_dim_per_stage": [8, 16, 32, 64],
            "num_attention_heads_per_stage": [1, 1, 2, 2], "window_size_per_stage": [4, 4, 2, 2],
            "global_attention_blocks": [3], "window_positional_embedding_background_size": [4, 4],
        },
        "backbone_channel_list": [64, 32, 16, 8], "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        "fpn_hidden_size": 32,
    },
    "prompt_encoder_config": {"hidden_size": 32, "image_size": 64, "patch_size": 16},
    "mask_decoder_config": {
        "hidden_size": 32, "mlp_dim": 64, "num_attention_heads": 4, "iou_head_hidden_dim": 32,
    },
}  # fmt: skip


def build_tiny() -> Any:
    """A SAM of 64 pixels and .1 million weights, whose answer depends on image and points."""
    import torch
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    sam = Sam(
        ImageEncoderViT(
            img_size=64, patch_size=8, embed_dim=32, depth=2, num_heads=2, window_size=4, global_attn_indexes=(1,),
            out_chans=32, use_rel_pos=True,
        ),
        PromptEncoder(embed_dim=32, image_embedding_size=(8, 8), input_image_size=(64, 64), mask_in_chans=8),
        MaskDecoder(
            transformer_dim=32,
            transformer=TwoWayTransformer(depth=1, embedding_dim=32, mlp_dim=32, num_heads=2),
            iou_head_hidden_dim=32,
        ),
    )  # fmt: skip
    with torch.no_grad():
        for parameter in sam.image_encoder.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return sam.eval()


@pytest.fixture(scope="session")
def tiny() -> Any:
    """The tiny SAM itself."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("segment_anything")
    torch.manual_seed(0)
    return build_tiny()


@pytest.fixture
def sam_file(tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Its checkpoint; `segmenter.type=nano` builds its shape."""
    import torch

    from amodal_bench.methods._segment import sam

    monkeypatch.setitem(sam.BUILDERS, "nano", build_tiny)
    path = tmp_path / "tiny.pth"
    torch.save(tiny.state_dict(), path)
    return path


@pytest.fixture(scope="session")
def sam2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a tiny SAM 2, as the library saves it."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("tiny-sam2")
    torch.manual_seed(0)
    model = transformers.Sam2Model(transformers.Sam2Config(**SIZES_OF_SAM2))
    with torch.no_grad():  # a fresh network says next to nothing
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    transformers.Sam2ImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


@pytest.fixture
def sizes_of_sam2() -> dict[str, Any]:
    """Its configuration."""
    return SIZES_OF_SAM2


def scene(number: int, shape: tuple[int, int] = (48, 70), instances: int = 1) -> list[AmodalQuery]:
    """Discs on noise; the instances of one image."""
    rng = np.random.default_rng(number)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    image = rng.integers(0, 90, (*shape, 3), dtype=np.uint8)
    made = []
    for instance in range(instances):
        centre = rng.uniform(0.3, 0.7, 2) * shape
        disc = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= (0.2 * min(shape)) ** 2
        image[disc] = rng.integers(120, 256, 3)
        made.append((f"made/test/{number}/{instance}", disc))
    image.setflags(write=False)
    return [AmodalQuery(id, str(number), image, disc) for id, disc in made]


@pytest.fixture
def scenes() -> Callable[..., list[AmodalQuery]]:
    """`scenes(number, shape, instances)`: the queries of one image."""
    return scene
