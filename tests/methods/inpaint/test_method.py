"""The method as a whole: condition, fill, segment, and back into the frame."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("cv2")

from amodal_bench.errors import WeightsNotFound
from amodal_bench.methods._segment.points import Points
from amodal_bench.methods.inpaint import Inpaint, InpaintParams
from amodal_bench.methods.inpaint.condition import Floats, to_pixels
from amodal_bench.methods.inpaint.telea import telea_fill
from amodal_bench.plugin import Runtime
from amodal_bench.types import AmodalQuery, Image, Mask

RED, BLUE = (200, 40, 60), (20, 60, 210)
AS_IT_IS = {"background": "image", "object_noise": 0}
REGIONS: list[dict[str, Any]] = [
    {"mode": "none", "masks": "area"},
    {"mode": "square", "enlarge": 2, "masks": "area"},
    {"mode": "box"},
]


class Wand:
    """A segmenter: what has about the colours at the points is object. Remembers what it was asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[Sequence[Image], Sequence[Points], Sequence[Mask]]] = []

    def segment(
        self, images: Sequence[Image], points: Sequence[Points], visible: Sequence[Mask], keys: object = None
    ) -> list[NDArray[np.float32]]:
        self.calls.append((images, points, visible))
        return [self._found(image, pixels.astype(int)) for image, pixels in zip(images, points, strict=True)]

    @staticmethod
    def _found(image: Image, points: NDArray[np.int64]) -> NDArray[np.float32]:
        colours = np.unique(image[points[:, 1], points[:, 0]], axis=0).astype(np.float32)
        apart = np.abs(image[:, :, None].astype(np.float32) - colours).max(axis=3).min(axis=2)
        return 60 - apart


def unpainted(x: Floats, area: Mask, seeds: Sequence[int], prompts: Any = None) -> Image:
    """A fill that leaves everything as it is."""
    return to_pixels(x)


def method(fill: Callable[..., Any] = telea_fill, segmenter: Any = None, **params: Any) -> Inpaint:
    made = Inpaint(InpaintParams.model_validate({"fill": "telea", "resolution": 64, **params}))
    made.use(fill, segmenter or Wand())
    return made


def query(image: Image, visible: Mask, number: int = 0) -> AmodalQuery:
    return AmodalQuery(f"made/test/{number}/0", str(number), image, visible)


def queries(count: int, shape: tuple[int, int] = (48, 70)) -> list[AmodalQuery]:
    """Two-coloured objects with a notch on noise, some at the border."""
    rng = np.random.default_rng(count)
    made = []
    for number in range(count):
        visible = np.zeros(shape, dtype=np.bool_)
        top, left = rng.integers(0, shape[0] - 15), rng.integers(0, shape[1] - 19)
        visible[top : top + 16, left : left + 20] = True
        visible[top + 4 : top + 9, left + 6 :] = False
        image = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
        image[visible] = RED
        image[visible & (np.indices(shape)[1] % 8 < 4)] = BLUE
        made.append(query(image, visible, number))
    return made


def flat(shape: tuple[int, int], rows: slice, columns: slice) -> AmodalQuery:
    """A red box on cyan, from which half of a blurred edge is far."""
    visible = np.zeros(shape, dtype=np.bool_)
    visible[rows, columns] = True
    image = np.full((*shape, 3), (0, 250, 250), dtype=np.uint8)
    image[visible] = RED
    return query(image, visible)


def answers(made: Inpaint, asked: Sequence[AmodalQuery], batch: int, seeds: Sequence[int]) -> list[Mask]:
    return [
        mask
        for start in range(0, len(asked), batch)
        for mask in made.predict(asked[start : start + batch], seeds[start : start + batch])
    ]


def tiny_sam() -> Any:
    """The real segmenter on a SAM of 64 pixels with random weights."""
    torch = pytest.importorskip("torch")
    modeling = pytest.importorskip("segment_anything.modeling")
    from amodal_bench.methods._segment.sam import SamSegmenter
    from amodal_bench.methods._segment.settings import Segmenter

    torch.manual_seed(5)
    sam = modeling.Sam(
        modeling.ImageEncoderViT(
            img_size=64, patch_size=8, embed_dim=32, depth=1, num_heads=2, window_size=4, out_chans=32,
            global_attn_indexes=(), use_rel_pos=True, qkv_bias=True,
        ),
        modeling.PromptEncoder(embed_dim=32, image_embedding_size=(8, 8), input_image_size=(64, 64), mask_in_chans=16),
        modeling.MaskDecoder(
            num_multimask_outputs=3, transformer_dim=32,
            transformer=modeling.TwoWayTransformer(depth=1, embedding_dim=32, mlp_dim=64, num_heads=2),
        ),
    )  # fmt: skip
    return SamSegmenter(sam, Segmenter(), "cpu", 4)


# Companions and chance


@pytest.mark.parametrize("region", REGIONS)
def test_batches_order_and_companions_change_nothing(region: dict[str, Any]) -> None:
    made = method(segmenter=tiny_sam(), region=region, forward_batch=4, union_visible=True)
    asked, seeds = queries(9), list(range(100, 109))
    one = answers(made, asked, 1, seeds)
    for batch in (4, 7):
        assert all(np.array_equal(a, b) for a, b in zip(one, answers(made, asked, batch, seeds), strict=True))
    back = answers(made, asked[::-1], 7, seeds[::-1])[::-1]
    assert all(np.array_equal(a, b) for a, b in zip(one, back, strict=True))
    assert len({mask.tobytes() for mask in one}) == 9


def test_the_seed_is_the_only_chance() -> None:
    asked, wands = queries(2), [Wand() for _ in range(3)]
    for wand, seeds in zip(wands, ([1, 2], [1, 2], [3, 4]), strict=True):
        method(unpainted, wand, forward_batch=2).predict(asked, seeds)
    (first,), (again,), (other,) = (wand.calls for wand in wands)
    for k in (0, 1):
        for part in (0, 1):  # images, points
            assert np.array_equal(np.asarray(first[part][k]), np.asarray(again[part][k]))
            assert not np.array_equal(np.asarray(first[part][k]), np.asarray(other[part][k]))


def test_the_fill_gets_the_seeds_and_never_more_than_a_forward_batch() -> None:
    seen: list[tuple[int, ...]] = []

    def fill(x: Floats, area: Mask, seeds: Sequence[int]) -> Image:
        assert x.shape == (len(seeds), 64, 64, 3)
        assert area.shape == (len(seeds), 64, 64)
        assert x.dtype == np.float32
        assert area.dtype == np.bool_
        seen.append(tuple(seeds))
        return unpainted(x, area, seeds)

    assert len(method(fill, forward_batch=3).predict(queries(7), list(range(7)))) == 7
    assert seen == [(0, 1, 2), (3, 4, 5), (6,)]


# What the segmenter is shown


@pytest.mark.parametrize("region", REGIONS)
def test_the_segmenter_sees_the_repainted_square_with_points_on_the_object(region: dict[str, Any]) -> None:
    wand = Wand()
    method(unpainted, wand, region=region, condition=AS_IT_IS).predict(queries(3), [1, 2, 3])
    for images, points, visible in wand.calls:
        assert [image.shape for image in images] == [(64, 64, 3)]
        assert images[0].dtype == np.uint8
        columns, rows = points[0].T.astype(int)
        assert len(set(zip(columns, rows, strict=True))) == 9
        assert visible[0][rows, columns].all()
        assert visible[0].shape == (64, 64)


def test_thin_objects_keep_their_area_where_the_image_shrinks() -> None:
    """Every third row of 192: by area they vanish or not as a whole; one pixel always stays."""
    visible = np.zeros((192, 192), dtype=np.bool_)
    visible[90, 30:160] = True
    wand = Wand()
    method(unpainted, wand).predict([query(np.zeros((192, 192, 3), dtype=np.uint8), visible)], [0])
    assert wand.calls[0][2][0].sum() == 1
    nearest = Wand()
    made = method(unpainted, nearest, region={"mode": "none", "masks": "nearest"})
    made.predict([query(np.zeros((192, 192, 3), dtype=np.uint8), np.roll(visible, 1, axis=0))], [0])
    assert nearest.calls[0][2][0].sum() == 43


# Back into the frame


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize(
    "rectangle",
    [
        (slice(0, 12), slice(0, 20)),
        (slice(85, 96), slice(100, 128)),
        (slice(0, 96), slice(60, 70)),
        (slice(40, 44), slice(3, 90)),
        (slice(0, 96), slice(0, 128)),
    ],
)
def test_what_is_found_comes_back_to_where_it_was(region: dict[str, Any], rectangle: tuple[slice, slice]) -> None:
    """At the models' resolution to the pixel, else within the pixel around the edge that resizing blurs."""
    asked = flat((96, 128), *rectangle)
    (mask,) = method(unpainted, region=region, resolution=128, condition=AS_IT_IS).predict([asked], [0])
    rows, columns = np.nonzero(asked.visible)
    around = np.zeros_like(mask)
    around[max(0, rows.min() - 1) : rows.max() + 2, max(0, columns.min() - 1) : columns.max() + 2] = True
    inner = np.zeros_like(mask)
    inner[rows.min() + 1 : rows.max(), columns.min() + 1 : columns.max()] = True
    assert not mask[~around].any()
    assert mask[inner].all()
    assert mask.shape == (96, 128)


def test_nothing_is_lost_where_nothing_is_resized() -> None:
    asked = flat((64, 64), slice(50, 64), slice(0, 31))
    (mask,) = method(unpainted, condition=AS_IT_IS).predict([asked], [0])
    assert np.array_equal(mask, asked.visible)


def test_logits_are_scaled_back_before_they_are_cut() -> None:
    """A slope whose zero lies between two of the model's pixels comes out between them, not at a block's edge."""

    class Slope(Wand):
        def segment(self, images: Sequence[Image], *_: Any) -> list[NDArray[np.float32]]:
            return [np.tile(np.arange(64, dtype=np.float32) - 31.8, (64, 1)) for _ in images]

    asked = flat((640, 640), slice(0, 64), slice(0, 64))
    (mask,) = method(unpainted, Slope()).predict([asked], [0])
    assert mask.all(axis=0).argmax() == 323  # (31.8 + .5) x 10
    assert mask.any(axis=0).sum() == 640 - 323


def test_the_answer_is_the_callers_own() -> None:
    for union in (False, True):
        asked = queries(1)
        (mask,) = method(union_visible=union).predict(asked, [0])
        assert not np.shares_memory(mask, asked[0].visible)
        assert mask.dtype == np.bool_
        assert mask.shape == (48, 70)


def test_the_visible_mask_is_added_where_asked_for() -> None:
    class Nothing(Wand):
        def segment(self, images: Sequence[Image], *_: Any) -> list[NDArray[np.float32]]:
            return [np.full(image.shape[:2], -1, dtype=np.float32) for image in images]

    asked = queries(2)
    without = method(segmenter=Nothing()).predict(asked, [1, 2])
    united = method(segmenter=Nothing(), union_visible=True).predict(asked, [1, 2])
    assert not any(mask.any() for mask in without)
    assert all(np.array_equal(mask, one.visible) for mask, one in zip(united, asked, strict=True))


@pytest.mark.parametrize("shape", [(1, 9), (7, 5), (300, 40)])
@pytest.mark.parametrize("what", ["pixel", "full"])
@pytest.mark.parametrize("keep", [False, True])
def test_the_smallest_and_the_largest_visible_mask(shape: tuple[int, int], what: str, keep: bool) -> None:
    visible = np.full(shape, what == "full")
    visible[shape[0] // 2, shape[1] // 2] = True
    asked = query(np.full((*shape, 3), 90, dtype=np.uint8), visible)
    for region in REGIONS:
        made = method(region=region, condition={"keep_visible": keep}, union_visible=True)
        (mask,) = made.predict([asked], [0])
        assert mask.shape == shape
        assert mask[visible].all()


# Telea


def test_telea_changes_the_area_only() -> None:
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32)
    area = np.zeros((2, 32, 32), dtype=np.bool_)
    area[0, 5:20, 10:31] = True
    found = telea_fill(x, area, [0, 0])
    assert found.dtype == np.uint8
    assert found.shape == (2, 32, 32, 3)
    assert np.array_equal(found[~area], to_pixels(x)[~area])
    assert not np.array_equal(found[0], to_pixels(x)[0])
    assert np.array_equal(telea_fill(x, np.ones_like(area), [0, 0]), to_pixels(x))


def test_a_notch_is_closed_from_the_object_around_it() -> None:
    """The whole way with real parts: black around, the hull's gap filled by Telea, found by colour."""
    visible = np.zeros((64, 64), dtype=np.bool_)
    visible[20:45, 15:50] = True
    visible[28:34, 25:40] = False
    image = np.full((64, 64, 3), 250, dtype=np.uint8)
    image[visible] = RED
    condition = {"background": "black", "object_noise": 0, "keep_visible": True}
    (mask,) = method(condition=condition).predict([query(image, visible)], [0])
    whole = np.zeros_like(visible)
    whole[20:45, 15:50] = True
    assert np.array_equal(mask, whole)
    (without,) = method(condition={**condition, "area": "visible"}).predict([query(image, visible)], [0])
    assert np.array_equal(without, visible)


# Weights


def test_predicting_before_loading_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="before load"):
        Inpaint(InpaintParams()).predict(queries(1), [0])


def test_all_that_is_missing_is_told_at_once(tmp_path: Path) -> None:
    expected = (
        r"(?s)stable-diffusion-xl-1.0-inpainting-0.1\) is not on this machine.*Licence: .*Size: .*"
        r"hf download diffusers/stable-diffusion-xl-1.0-inpainting-0.1 .* --local-dir \S+\n.*"
        r"sam_vit_h_4b8939.pth\) is not on this machine.*Licence: Apache-2.0"
    )
    made = Inpaint(InpaintParams())
    with pytest.raises(WeightsNotFound, match=expected) as caught:
        made.pretrained(tmp_path)
    assert caught.value.missing == ("Stable Diffusion XL inpainting", "SAM ViT-H")
    with pytest.raises(WeightsNotFound, match=expected):
        made.load(Runtime(weights=tmp_path))


def test_telea_needs_the_segmenter_only(tmp_path: Path) -> None:
    made = Inpaint(InpaintParams(fill="telea"))
    with pytest.raises(WeightsNotFound) as caught:
        made.pretrained(tmp_path)
    assert "sam_vit_h" in str(caught.value)
    assert "inpainting" not in str(caught.value)
    (tmp_path / "sam_vit_h_4b8939.pth").write_bytes(b"")
    assert made.pretrained(tmp_path) == {"segmenter": tmp_path / "sam_vit_h_4b8939.pth"}


def test_both_parts_are_found_below_the_weights(folder: Callable[[str], Path], tmp_path: Path) -> None:
    params = InpaintParams()
    pipeline = tmp_path / params.backbone.model
    pipeline.parent.mkdir(parents=True)
    pipeline.symlink_to(folder("xl"))
    (tmp_path / params.segmenter.checkpoint).write_bytes(b"")
    found = Inpaint(params).pretrained(tmp_path)
    assert found == {"inpainting": pipeline, "segmenter": tmp_path / params.segmenter.checkpoint}


# All real parts


def test_a_pipeline_and_a_sam_from_disk_give_the_same_masks_alone_and_together(
    folder: Callable[[str], Path], tmp_path: Path
) -> None:
    """A tiny UNet with 9 channels and a tiny SAM, both with random weights, through `load`."""
    torch = pytest.importorskip("torch")
    from amodal_bench.methods._segment.nano import build_nano
    from amodal_bench.methods._training import weights

    (tmp_path / "pipe").symlink_to(folder("sd9"))
    torch.manual_seed(1)
    weights.save(build_nano(), tmp_path / "sam.safetensors", {}, half=False)
    params = InpaintParams.model_validate(
        {
            "resolution": 64,
            "forward_batch": 2,
            "backbone": {"model": "pipe"},
            "segmenter": {"type": "nano", "checkpoint": "sam.safetensors"},
            "denoising": {"steps": 7},
        }
    )
    asked, seeds = queries(3), [5, 6, 7]
    found = []
    for batch in (1, 3):
        made = Inpaint(params)
        assert sorted(made.pretrained(tmp_path)) == ["inpainting", "segmenter"]
        made.load(Runtime(weights=tmp_path))
        found.append(answers(made, asked, batch, seeds))
    assert all(np.array_equal(a, b) for a, b in zip(*found, strict=True))
    assert all(mask.shape == (48, 70) for mask in found[0])
    assert any(not np.array_equal(a, b) for a, b in zip(found[0], answers(made, asked, 3, [8, 9, 10]), strict=True))
