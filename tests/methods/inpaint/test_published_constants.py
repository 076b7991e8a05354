"""Every number that the tuning-free paper publishes, where it says so, and that each of them decides something.

Two tests a row. The first holds the value. The second is the row's own mutant: the preset with the value a fifth
smaller or larger is told by the first, and what that number steers comes out differently, so it is a number that is
used, not only stated. Values that the paper leaves open stand at the end, marked as ours; they are held too.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amodal_bench.masks.boxes import Window
from amodal_bench.methods._segment.points import draw_points
from amodal_bench.methods._window import cut_image, find_window
from amodal_bench.methods.inpaint.condition import condition
from amodal_bench.methods.inpaint.params import InpaintParams
from amodal_bench.resolve.presets import find_preset
from amodal_bench.resolve.registry import Registry

REGISTRY = Registry()
PLAIN = ("inpaint-sd15", "inpaint-sd2", "inpaint-sdxl", "inpaint-flux")
Folders = Callable[..., Path]
Of = Callable[[str], InpaintParams]


@dataclass(frozen=True)
class Constant:
    """A number of the paper: in which presets, under which name, its value, and where the paper gives it."""

    presets: tuple[str, ...]
    name: str
    value: float
    source: str


PUBLISHED = (
    Constant(PLAIN, "denoising.strength", 0.3, "Sec. 3.2, Eq. 7: s, 30 % new and 70 % given"),
    Constant(PLAIN, "condition.object_noise", 0.3, "Sec. 3.2, Eq. 9: the same s, the weight of N(0, 1) in the object"),
    Constant(PLAIN, "denoising.steps", 20, "Sec. 4, implementation: 20 steps"),
    Constant(("inpaint-sd15", "inpaint-sdxl"), "denoising.guidance_weight", 0.75, "Eq. 11: w"),
    Constant(("inpaint-flux",), "denoising.guidance_weight", 1.5, "Eq. 11: w of Flux"),
    Constant(PLAIN, "segmenter.points", 9, "Sec. 4: nine points of V"),
    Constant(("inpaint-sd15", "inpaint-sd2"), "resolution", 512, "Table 1: the model's own size"),
    Constant(("inpaint-sdxl", "inpaint-flux"), "resolution", 1024, "Table 1: the model's own size"),
)
OURS = (
    Constant(("inpaint-sd2",), "denoising.guidance_weight", 0.75, "w of SD2 is never given: as SD1.5's and SDXL's"),
    Constant(PLAIN, "condition.blur", 1 / 64, "the background is blurred, by how much is not said"),
    Constant(tuple(f"{name}-crop" for name in PLAIN), "region.enlarge", 2, "ours: nothing in the text says crop"),
    Constant(("inpaint-sdxl-20-calls",), "denoising.steps", 67, "the other reading of 20 steps: 20 calls at s = .3"),
    Constant(("inpaint-flux-fill",), "denoising.guidance_weight", 30, "what Flux Fill was distilled for"),
)
ROWS = [(preset, constant) for constant in (*PUBLISHED, *OURS) for preset in constant.presets]
IDS = [f"{preset}:{constant.name}" for preset, constant in ROWS]


def preset(name: str) -> InpaintParams:
    found = find_preset(name, REGISTRY).params
    assert isinstance(found, InpaintParams)
    return found


def at(params: InpaintParams, name: str) -> Any:
    value: Any = params
    for part in name.split("."):
        value = getattr(value, part)
    return value


def faults(of: Of) -> list[str]:
    """Which rows do not hold, as a test names them."""
    return [name for name, (label, row) in zip(IDS, ROWS, strict=True) if at(of(label), row.name) != row.value]


def mutant(name: str, constant: Constant, factor: float) -> InpaintParams:
    """The preset with that number another one; whole where it is whole, a size that a model can have."""
    value = constant.value * factor
    if constant.name == "resolution":
        value = round(value / 64) * 64
    elif isinstance(constant.value, int) and "weight" not in constant.name and "enlarge" not in constant.name:
        value = round(value)
    changes: Any = value
    for part in reversed(constant.name.split(".")):
        changes = {part: changes}
    found = find_preset(name, REGISTRY, changes).params
    assert isinstance(found, InpaintParams)
    return found


def test_every_number_is_the_papers() -> None:
    assert faults(preset) == []


def test_every_row_says_where_its_number_stands() -> None:
    assert all(any(word in row.source for word in ("Sec.", "Eq.", "Table")) for row in PUBLISHED)
    assert not {row.name for row in PUBLISHED} & {"condition.blur", "region.enlarge"}, "nowhere in the paper"


# What each number steers


@pytest.fixture(scope="module")
def scene() -> tuple[Any, Any]:
    """An image of noise and the visible mask of an object in it."""
    image = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    visible = np.zeros((64, 64), dtype=np.bool_)
    visible[20:41, 12:30] = True
    return image, visible


def given(params: InpaintParams, scene: tuple[Any, Any], folder: Folders) -> bytes:
    """What the inpainting model is shown."""
    x, area = condition(*scene, params.condition, np.random.default_rng(2))
    return x.tobytes() + area.tobytes()


def painted(params: InpaintParams, scene: tuple[Any, Any], folder: Folders) -> bytes:
    """What a tiny pipeline makes of it: Eq. 11's for UNets, the distilled model's for Flux."""
    pytest.importorskip("diffusers")
    from amodal_bench.methods.inpaint.diffusion import DiffusionFill

    flux = params.denoising.guidance == "text"
    size = 128 if flux else 64
    small = params.model_copy(update={"resolution": size, "backbone": type(params.backbone)()})
    fill = DiffusionFill(folder("fill" if flux else "sd9"), small, "cpu")
    x, area = condition(*scene, type(params.condition)(), np.random.default_rng(2))
    times = size // 64
    x, area = x.repeat(times, 0).repeat(times, 1), area.repeat(times, 0).repeat(times, 1)
    return fill(x[None], area[None], [3]).tobytes()


def pointed(params: InpaintParams, scene: tuple[Any, Any], folder: Folders) -> bytes:
    """The points that the segmenter is given."""
    return draw_points(scene[1], params.segmenter, np.random.default_rng(2)).tobytes()


def shown(params: InpaintParams, scene: tuple[Any, Any], folder: Folders) -> bytes:
    """The square that the models see of the image."""
    window: Window = find_window(scene[1], params.region)
    return cut_image(scene[0], window, params.resolution).tobytes()


STEERS: Mapping[str, Callable[..., bytes]] = {
    "condition": given,
    "denoising": painted,
    "segmenter": pointed,
    "resolution": shown,
    "region": shown,
}


@pytest.mark.parametrize(("name", "constant"), ROWS, ids=IDS)
def test_a_fifth_more_or_less_is_told_and_changes_what_comes_out(
    name: str, constant: Constant, scene: tuple[Any, Any], folder: Folders
) -> None:
    outcome = STEERS[constant.name.split(".")[0]]
    found = [outcome(preset(name), scene, folder)]
    for factor in (0.8, 1.2):
        other = mutant(name, constant, factor)
        assert at(other, constant.name) != constant.value
        assert faults(lambda label, other=other: other if label == name else preset(label)) == [  # type: ignore[misc]
            f"{name}:{constant.name}"
        ]
        found.append(outcome(other, scene, folder))
    assert len(set(found)) == 3


@pytest.mark.parametrize("outcome", [given, painted, pointed, shown])
def test_an_outcome_is_no_chance(outcome: Callable[..., bytes], scene: tuple[Any, Any], folder: Folders) -> None:
    asked = preset("inpaint-sdxl-crop")
    assert outcome(asked, scene, folder) == outcome(asked, scene, folder)


def test_the_twenty_calls_are_twenty() -> None:
    found = preset("inpaint-sdxl-20-calls").denoising
    assert int(found.steps * found.strength) == 20
    for name in ("inpaint-sd15", "inpaint-sd2", "inpaint-flux"):
        changed = find_preset(name, REGISTRY, {"denoising": {"steps": 67}}).params
        assert isinstance(changed, InpaintParams)
        assert int(changed.denoising.steps * changed.denoising.strength) == 20
