"""x of Eq. 8 and 9, against plain numpy and scipy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import gaussian_filter

from amodal_bench.methods.inpaint.condition import (
    Floats,
    background,
    blurred,
    compose,
    condition,
    draw_colours,
    to_floats,
    to_pixels,
    x_obj,
)
from amodal_bench.methods.inpaint.params import Condition
from amodal_bench.types import Image, Mask

SIZE = 64


@pytest.fixture
def image(rng: np.random.Generator) -> Image:
    """Anything, with two colours where the object is."""
    made = rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    made[20:40, 10:30] = (200, 40, 90)
    made[25:30, 10:30] = (30, 220, 10)
    return made


@pytest.fixture
def visible() -> Mask:
    mask = np.zeros((SIZE, SIZE), dtype=np.bool_)
    mask[20:40, 10:30] = True
    return mask


def seeded(seed: int = 3) -> np.random.Generator:
    return np.random.default_rng(seed)


# Eq. 8 and 9


def test_x_is_the_object_where_it_is_visible_and_the_background_elsewhere(image: Image, visible: Mask) -> None:
    settings = Condition()
    back = background(image, visible, settings, SIZE, rng := seeded())
    obj = x_obj(to_floats(image), rng.standard_normal(image.shape, dtype=np.float32), settings)
    x, _ = condition(image, visible, settings, seeded())
    assert x.dtype == np.float32
    assert np.array_equal(x[visible], obj[visible])
    assert np.array_equal(x[~visible], back[~visible])


@given(hnp.arrays(np.bool_, (5, 5)))
def test_compose_is_the_formula(mask: Mask) -> None:
    obj, back = seeded().uniform(-1, 1, (2, 5, 5, 3)).astype(np.float32)
    v = mask[..., None]
    assert np.array_equal(compose(obj, back, mask), v * obj + (1 - v) * back)


@given(hnp.arrays(np.uint8, (3, 4, 3)))
def test_pixels_come_back_from_their_floats(image: Image) -> None:
    floats = to_floats(image)
    assert floats.min() >= -1
    assert floats.max() <= 1
    assert np.array_equal(to_pixels(floats), image)


def test_floats_out_of_range_are_cut_and_not_wrapped() -> None:
    assert to_pixels(np.array([[[-1.5, 2.0, 0.0]]], dtype=np.float32)).tolist() == [[[0, 255, 128]]]


def test_without_noise_the_object_is_the_image(image: Image, visible: Mask) -> None:
    x, _ = condition(image, visible, Condition(object_noise=0), seeded())
    assert np.array_equal(to_pixels(x)[visible], image[visible])


def test_with_all_noise_nothing_of_the_image_is_left(image: Image) -> None:
    noise = seeded().standard_normal(image.shape, dtype=np.float32)
    found = x_obj(to_floats(image), noise, Condition(object_noise=1, clamp=False))
    assert np.array_equal(found, noise)


@pytest.mark.parametrize("s", [0.1, 0.3, 0.8])
def test_noise_has_the_weight_s_and_the_image_the_rest(s: float) -> None:
    """Mean (1 - s) I, deviation s; a clamp only where the result leaves [-1, 1]."""
    pixels = np.full((200, 200, 3), 0.5, dtype=np.float32)
    noise = seeded().standard_normal(pixels.shape, dtype=np.float32)
    free = x_obj(pixels, noise, Condition(object_noise=s, clamp=False))
    assert free.mean() == pytest.approx((1 - s) * 0.5, abs=0.01)
    assert free.std() == pytest.approx(s, rel=0.02)
    held = x_obj(pixels, noise, Condition(object_noise=s))
    assert np.array_equal(held, np.clip(free, -1, 1))
    assert np.abs(held).max() <= 1 < np.abs(free).max() + (s < 0.2)


def test_the_range_is_that_of_the_numbers_that_the_noise_is_added_to() -> None:
    """On [0, 1] plain arithmetic there and the way back: the same noise is twice as loud on [-1, 1]."""
    pixels = seeded().uniform(-1, 1, (40, 40, 3)).astype(np.float32)
    noise = seeded(4).standard_normal(pixels.shape, dtype=np.float32)
    unit = (1 - 0.3) * (pixels.astype(np.float64) + 1) / 2 + 0.3 * noise
    free = x_obj(pixels, noise, Condition(range="unit", clamp=False))
    np.testing.assert_allclose(free, 2 * unit - 1, atol=1e-6)
    held = x_obj(pixels, noise, Condition(range="unit"))
    np.testing.assert_allclose(held, 2 * unit.clip(0, 1) - 1, atol=1e-6)
    quiet = x_obj(pixels, noise, Condition(range="unit", object_noise=0))
    np.testing.assert_allclose(quiet, pixels, atol=1e-6)
    signed = x_obj(pixels, noise, Condition(clamp=False))
    assert np.abs(free - signed).mean() > 0.2


# The background


def test_the_background_is_drawn_from_the_objects_own_colours(image: Image, visible: Mask) -> None:
    """Joint in RGB: the two colours of the object in their shares, and no mixture of them."""
    drawn = to_pixels(draw_colours(image, visible, seeded()))
    colours, counts = np.unique(drawn.reshape(-1, 3), axis=0, return_counts=True)
    assert colours.tolist() == [[30, 220, 10], [200, 40, 90]]
    assert counts[0] / counts.sum() == pytest.approx(0.25, abs=0.03)


def test_the_background_is_that_of_a_slow_reference(image: Image, visible: Mask) -> None:
    """Colour by colour from the list of visible pixels, then scipy's Gaussian."""
    positions = list(zip(*np.nonzero(visible), strict=True))
    drawn = np.zeros(image.shape)
    numbers = seeded().integers(0, len(positions), SIZE * SIZE)
    for pixel, number in enumerate(numbers):
        drawn[divmod(pixel, SIZE)] = image[positions[number]] / 127.5 - 1
    wanted = gaussian_filter(drawn, (2.0, 2.0, 0), mode="reflect")
    found = background(image, visible, Condition(blur=2 / SIZE), SIZE, seeded())
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("shape", [(64, 64, 3), (40, 23, 3), (1, 9, 3)])
@pytest.mark.parametrize("sigma", [0.3, 1.0, 3.5])
def test_the_blur_is_scipys(shape: tuple[int, int, int], sigma: float) -> None:
    x = seeded().uniform(-1, 1, shape).astype(np.float32)
    wanted = gaussian_filter(x.astype(np.float64), (sigma, sigma, 0), mode="reflect")
    np.testing.assert_allclose(blurred(x, sigma), wanted, atol=1e-5)


def test_no_blur_leaves_the_draws_and_a_wide_one_their_mean(image: Image, visible: Mask) -> None:
    drawn = draw_colours(image, visible, seeded())
    sharp = background(image, visible, Condition(blur=0), SIZE, seeded())
    np.testing.assert_allclose(sharp, drawn, atol=1e-6)
    flat = background(image, visible, Condition(blur=1), SIZE, seeded())
    np.testing.assert_allclose(flat, np.broadcast_to(drawn.mean(axis=(0, 1)), flat.shape), atol=0.02)


def test_blurring_iid_draws_leaves_the_known_share_of_their_deviation() -> None:
    """1 / (2 sqrt(pi) sigma) for iid pixels; a share of the size, so 4 pixels at 256 and not 64 times one."""
    image = seeded().integers(0, 256, (256, 256, 3), dtype=np.uint8)
    whole = np.ones((256, 256), dtype=np.bool_)
    found = background(image, whole, Condition(), 256, seeded())
    share = found.std(axis=(0, 1)) / to_floats(image).std(axis=(0, 1))
    np.testing.assert_allclose(share, 1 / (2 * np.sqrt(np.pi) * 4), rtol=0.1)
    np.testing.assert_allclose(found.mean(axis=(0, 1)), to_floats(image).mean(axis=(0, 1)), atol=0.01)


def test_plain_backgrounds(image: Image, visible: Mask) -> None:
    def made(kind: str) -> Floats:
        return background(image, visible, Condition.model_validate({"background": kind}), SIZE, seeded())

    assert (to_pixels(made("black")) == 0).all()
    assert (to_pixels(made("white")) == 255).all()
    assert np.array_equal(to_pixels(made("image")), image)
    mean = image[visible].astype(float).mean(axis=0)
    np.testing.assert_allclose((made("mean") + 1) * 127.5, np.broadcast_to(mean, image.shape), atol=1e-3)
    assert {made(kind).dtype for kind in ("black", "white", "image", "mean", "hist")} == {np.dtype(np.float32)}


def test_a_noisy_object_lies_in_a_clean_background(image: Image, visible: Mask) -> None:
    x, _ = condition(image, visible, Condition(background="image"), seeded())
    assert np.array_equal(to_pixels(x)[~visible], image[~visible])
    assert not np.array_equal(to_pixels(x)[visible], image[visible])


# Chance and the edge of what can be


def test_the_seed_is_the_only_chance(image: Image, visible: Mask) -> None:
    first, again, other = (condition(image, visible, Condition(), seeded(seed)).x for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("changed", [{"background": "black"}, {"background": "image"}, {"object_noise": 0}])
def test_settings_share_what_is_drawn_after_them(image: Image, visible: Mask, changed: dict[str, object]) -> None:
    """Points and noise are those of the full method in every ablation."""
    full, ablated = seeded(), seeded()
    condition(image, visible, Condition(), full)
    condition(image, visible, Condition.model_validate(changed), ablated)
    assert full.random() == ablated.random()


def test_inputs_stay_as_they_are(image: Image, visible: Mask) -> None:
    before = image.tobytes(), visible.tobytes()
    image.setflags(write=False)
    visible.setflags(write=False)
    for area in ("hull", "visible", "bbox", "full"):
        for kind in ("hist", "mean", "image"):
            settings = Condition.model_validate({"area": area, "background": kind})
            x, found = condition(image, visible, settings, seeded())
            assert not np.shares_memory(x, image)
            assert not np.shares_memory(found, visible)
    assert (image.tobytes(), visible.tobytes()) == before


@given(st.sampled_from(["pixel", "three", "full"]), st.integers(0, 99))
def test_the_smallest_and_the_largest_object(what: str, seed: int) -> None:
    image = seeded(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    visible = np.full((16, 16), what == "full")
    visible.ravel()[{"pixel": [37], "three": [0, 100, 255], "full": []}[what]] = True
    x, area = condition(image, visible, Condition(), seeded(seed))
    assert np.isfinite(x).all()
    assert np.abs(x).max() <= 1 + 1e-5
    assert area[visible].all()
    if what == "pixel":
        np.testing.assert_allclose(x[~visible], np.tile(to_floats(image[visible]), (255, 1)), atol=1e-5)
