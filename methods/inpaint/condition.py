"""What the inpainting model is given: the image x (Eq. 8, 9) and the area M that it may repaint (Eq. 10). No torch."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from amodal_bench.masks.boxes import extent
from amodal_bench.masks.hull import hull_mask
from amodal_bench.types import Image, Mask

from .params import Condition
from .where import NOWHERE, Where

Floats = NDArray[np.float32]  # (R, R, 3) in [-1, 1]


class Conditioned(NamedTuple):
    """One instance as the inpainting model gets it: `x` (R, R, 3) in [-1, 1], `area` (R, R)."""

    x: Floats
    area: Mask


def condition(
    image: Image, visible: Mask, settings: Condition, rng: np.random.Generator, where: Where = NOWHERE
) -> Conditioned:
    """x and M of one instance, from its image (R, R, 3), visible mask (R, R), not empty, and what is around it (R, R).

    Draws from `rng` first the background, then Eq. 9's noise: always both, so that settings with and without them
    share all other chance.
    """
    back = background(image, visible, settings, len(image), rng)
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    x = compose(x_obj(to_floats(image), noise, settings), back, visible)
    return Conditioned(x, repaint_area(visible, settings, where))


def to_floats(image: Image) -> Floats:
    """[0, 255] as [-1, 1]."""
    return image.astype(np.float32) / np.float32(127.5) - 1


def to_pixels(x: Floats) -> Image:
    """[-1, 1] as [0, 255], rounded."""
    return np.clip(np.rint((x + 1) * 127.5), 0, 255).astype(np.uint8)


def compose(obj: Floats, back: Floats, visible: Mask) -> Floats:
    """Eq. 8: x = V x_obj + (1 - V) x_bck."""
    return np.where(visible[..., None], obj, back)


def x_obj(pixels: Floats, noise: Floats, settings: Condition) -> Floats:
    """Eq. 9: (1 - s) I + s e, with e of N(0, 1); brought back into [-1, 1] where `clamp`.

    I is the image on [-1, 1], or on [0, 1] where `range` is `unit`; the answer is on [-1, 1] either way.
    """
    s = np.float32(settings.object_noise)
    noised = (1 - s) * pixels + s * noise
    if settings.range == "unit":
        noised += s * (noise - 1)  # 2 ((1 - s) (I + 1) / 2 + s e) - 1
    return np.clip(noised, -1, 1) if settings.clamp else noised


def background(image: Image, visible: Mask, settings: Condition, size: int, rng: np.random.Generator) -> Floats:
    """x_bck (H, W, 3) in [-1, 1], what surrounds the object; the blur is a share of `size` pixels."""
    drawn = draw_colours(image, visible, rng)
    if settings.background == "image":
        return to_floats(image)
    if settings.background == "hist":
        return blurred(drawn, settings.blur * size)
    mean = to_floats(image[visible]).mean(axis=0, dtype=np.float64)
    return np.full_like(drawn, {"mean": mean, "black": -1.0, "white": 1.0}[settings.background])


def draw_colours(image: Image, visible: Mask, rng: np.random.Generator) -> Floats:
    """A colour of the visible object for every pixel: iid draws from its joint histogram of 256^3 bins."""
    colours = to_floats(image[visible])
    return colours[rng.integers(0, len(colours), visible.shape)]


def blurred(x: Floats, sigma: float) -> Floats:
    """Gaussian blur over rows and columns, mirrored at the borders (no dark rim, the mean stays as it is).

    scipy.ndimage.gaussian_filter as a product in the cosine transform: a third of its time at 1024 pixels.
    """
    from scipy.fft import dctn, idctn  # slow to import, and `list` imports every method

    spread = dctn(x, axes=(0, 1))
    spread *= gaussian_response(sigma, x.shape[0])[:, None, None]
    spread *= gaussian_response(sigma, x.shape[1])[None, :, None]
    return idctn(spread, axes=(0, 1), overwrite_x=True)


def gaussian_response(sigma: float, length: int) -> NDArray[np.float32]:
    """What a Gaussian kernel, cut at 4 sigma, leaves of each cosine (length,) of a mirrored row."""
    reach = int(4 * sigma + 0.5)
    offsets = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (offsets / max(sigma, 1e-3)) ** 2)
    waves = np.cos(np.pi / length * np.outer(np.arange(length), offsets))
    return (waves @ (weights / weights.sum())).astype(np.float32)


def box_mask(mask: Mask) -> Mask:
    """The smallest upright box that holds the set pixels."""
    top, left, bottom, right = extent(mask)
    box = np.zeros_like(mask)
    box[top : bottom + 1, left : right + 1] = True
    return box


def grown(mask: Mask, radius: float) -> Mask:
    """All pixels whose centres are at most `radius` from the centre of a set one."""
    from scipy.ndimage import distance_transform_edt  # as above

    distance = distance_transform_edt(~mask)
    return np.asarray(distance <= radius)


_AREAS: Mapping[str, Callable[[Mask], Mask]] = {
    "hull": hull_mask,
    "visible": np.copy,
    "bbox": box_mask,
    "full": np.ones_like,
}


def repaint_area(visible: Mask, settings: Condition, where: Where = NOWHERE) -> Mask:
    """Eq. 10: M, the convex hull of all visible pixels, or what the settings say instead.

    Where things were asked for (ours), M ∩ things or M ∩ occluders; the former leaves the visible pixels in M.
    """
    found = where.occluders if settings.area == "occluders" else _AREAS[settings.area](visible)
    area = _known(found, "condition.area")
    if settings.grow:
        top, left, bottom, right = extent(visible)
        area = grown(area, settings.grow * max(bottom - top + 1, right - left + 1))
    if settings.keep_visible:
        area = area & ~visible
    if settings.within == "none":
        return area
    allowed = _known(where.within, "condition.within")
    return area & (allowed | visible if settings.within == "things" else allowed & ~visible)


def _known(mask: Mask | None, setting: str) -> Mask:
    if mask is None:
        raise ValueError(f"{setting} asks for what is around the object, and nobody has looked")
    return mask
