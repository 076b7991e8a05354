"""What is seen around the object cuts M and the answer, and only where it is asked for."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from amodal_bench.errors import WeightsNotFound
from amodal_bench.masks.hull import hull_mask
from amodal_bench.methods._segment.points import Points
from amodal_bench.methods.inpaint import Inpaint, InpaintParams
from amodal_bench.methods.inpaint.condition import Floats, condition, repaint_area, to_pixels
from amodal_bench.methods.inpaint.params import Condition
from amodal_bench.methods.inpaint.where import Where
from amodal_bench.store.spec import resolved
from amodal_bench.types import AmodalQuery, Image, Mask

SIZE = 64
RED, BLUE, GREEN, GREY = (200, 40, 60), (20, 60, 210), (30, 220, 40), (120, 120, 120)


def box(top: int, left: int, bottom: int, right: int) -> Mask:
    mask = np.zeros((SIZE, SIZE), dtype=np.bool_)
    mask[top:bottom, left:right] = True
    return mask


VISIBLE = box(16, 16, 48, 24) | box(40, 16, 48, 48)  # an L: its hull spans what is above to the right
OCCLUDER, APART = box(20, 24, 40, 34), box(36, 38, 40, 46)
HULL = hull_mask(VISIBLE)


class Known:
    """A finder that knows, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def things(self, queries: Sequence[AmodalQuery]) -> list[Mask]:
        self.asked.append("things")
        return [VISIBLE | OCCLUDER | APART] * len(queries)

    def occluders(self, queries: Sequence[AmodalQuery]) -> list[Mask]:
        self.asked.append("occluders")
        return [OCCLUDER] * len(queries)


class Everywhere:
    """A segmenter for which all is object, and a fill that leaves x as it is; both remember."""

    def __init__(self) -> None:
        self.areas: list[Mask] = []
        self.prompts: list[Any] = []

    def segment(
        self, images: Sequence[Image], points: Sequence[Points], visible: Sequence[Mask], keys: object = None
    ) -> list[NDArray[np.float32]]:
        return [np.ones(image.shape[:2], dtype=np.float32) for image in images]

    def fill(self, x: Floats, area: Mask, seeds: Sequence[int], prompts: Any = None) -> Image:
        self.areas += list(area)
        self.prompts.append(prompts)
        return to_pixels(x)


def query(category: str | None = None) -> AmodalQuery:
    image = np.zeros((SIZE, SIZE, 3), dtype=np.uint8)
    for mask, colour in ((APART, GREEN), (VISIBLE, RED), (OCCLUDER, BLUE)):
        image[mask] = colour
    return AmodalQuery("made/test/0/7", "0", image, VISIBLE, category)


def run(**params: Any) -> tuple[Mask, Mask, list[str]]:
    """M, the answer, what the finder was asked."""
    parts, finder = Everywhere(), Known()
    made = Inpaint(InpaintParams.model_validate({"resolution": SIZE, **params}))
    made.use(parts.fill, parts, finder if made.params.condition.looks_around else None)
    (answer,) = made.predict([query()], [1])
    return parts.areas[0], answer, finder.asked


def test_nothing_is_asked_by_default() -> None:
    area, answer, asked = run()
    assert np.array_equal(area, HULL)
    assert answer.all()
    assert asked == []


@pytest.mark.parametrize("keep", [False, True])
def test_things_cut_the_area_and_the_answer_and_leave_the_object(keep: bool) -> None:
    area, answer, asked = run(condition={"within": "things", "keep_visible": keep})
    hidden = HULL & (OCCLUDER | APART)
    assert np.array_equal(area, hidden if keep else hidden | VISIBLE)
    assert np.array_equal(answer, VISIBLE | OCCLUDER | APART)
    assert asked == ["things"]


@pytest.mark.parametrize("keep", [False, True])
def test_occluders_leave_the_object_and_what_stands_apart_alone(keep: bool) -> None:
    area, answer, asked = run(condition={"within": "occluders", "keep_visible": keep})
    assert np.array_equal(area, HULL & OCCLUDER)
    assert np.array_equal(answer, VISIBLE | OCCLUDER)
    assert asked == ["occluders"]


def test_the_occluders_are_an_area_of_their_own() -> None:
    area, answer, asked = run(condition={"area": "occluders"})
    assert np.array_equal(area, OCCLUDER)
    assert (OCCLUDER & ~HULL).any()
    assert answer.all()
    assert asked == ["occluders"]
    grown, _, _ = run(condition={"area": "occluders", "grow": 0.1, "keep_visible": True})
    assert (grown & ~OCCLUDER).any()
    assert not (grown & VISIBLE).any()


def test_area_and_limit_together_ask_once_each() -> None:
    area, answer, asked = run(condition={"area": "occluders", "within": "things"})
    assert np.array_equal(area, OCCLUDER)
    assert np.array_equal(answer, VISIBLE | OCCLUDER | APART)
    assert asked == ["occluders", "things"]


def test_the_answer_stays_in_the_area_where_asked_for() -> None:
    _, answer, asked = run(within_area=True)
    assert np.array_equal(answer, HULL)
    assert asked == []
    _, answer, _ = run(within_area=True, condition={"within": "things", "keep_visible": True})
    assert np.array_equal(answer, VISIBLE | (HULL & (OCCLUDER | APART)))


def test_x_is_not_changed_by_what_is_around() -> None:
    where = Where(OCCLUDER, VISIBLE | OCCLUDER)
    image = query().image
    before = condition(image, VISIBLE, Condition(), np.random.default_rng(3)).x
    for settings in (Condition(within="things"), Condition(area="occluders")):
        assert np.array_equal(before, condition(image, VISIBLE, settings, np.random.default_rng(3), where).x)


def test_a_square_of_the_frame_is_cut_as_the_visible_mask_is() -> None:
    area, answer, _ = run(
        condition={"within": "things", "keep_visible": True}, region={"mode": "square", "enlarge": 1.0}, resolution=128
    )
    assert area.shape == (128, 128)
    frame = np.repeat(np.repeat(HULL & (OCCLUDER | APART), 4, axis=0), 4, axis=1)[64:192, 64:192]
    assert (area != frame).mean() < 0.02
    assert not (answer & ~(VISIBLE | OCCLUDER | APART)).any()


def test_asking_without_an_answer_is_a_fault_of_the_caller() -> None:
    for settings in (Condition(within="things"), Condition(area="occluders")):
        with pytest.raises(ValueError, match=r"condition\.(within|area) asks for what is around the object"):
            repaint_area(VISIBLE, settings)


def test_settings_at_their_defaults_stand_in_no_key() -> None:
    plain = resolved(InpaintParams())
    assert not {"things", "within_area"} & set(plain)
    assert "within" not in plain["condition"]
    asking = resolved(InpaintParams.model_validate({"condition": {"within": "things"}, "within_area": True}))
    assert (asking["condition"]["within"], asking["within_area"]) == ("things", True)


@pytest.mark.parametrize("asking", [{"within": "things"}, {"within": "occluders"}, {"area": "occluders"}])
def test_the_network_is_a_part_where_it_is_asked_and_there_only(asking: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "sam.pth").touch()
    (tmp_path / "things.safetensors").touch()
    params: dict[str, Any] = {
        "fill": "telea", "things": {"checkpoint": "things.safetensors"},
        "segmenter": {"type": "nano", "checkpoint": "sam.pth"},
    }  # fmt: skip
    assert set(Inpaint(InpaintParams.model_validate(params)).pretrained(tmp_path)) == {"segmenter"}
    made = Inpaint(InpaintParams.model_validate({**params, "condition": asking}))
    assert made.pretrained(tmp_path)["things"] == tmp_path / "things.safetensors"
    (tmp_path / "things.safetensors").unlink()
    with pytest.raises(WeightsNotFound, match="things network of this project"):
        made.pretrained(tmp_path)


def test_a_prompt_names_each_category_and_refuses_an_instance_without_one_by_its_name() -> None:
    parts = Everywhere()
    made = Inpaint(InpaintParams.model_validate({"resolution": SIZE, "denoising": {"prompt": "a {category} {x}"}}))
    made.use(parts.fill, parts)
    made.predict([query("cat"), query("dog")], [1, 2])
    assert parts.prompts == [["a cat {x}"], ["a dog {x}"]]
    with pytest.raises(Exception, match=r"made/test/0/7: has no category for denoising.prompt 'a \{category\} \{x\}'"):
        made.predict([query()], [1])
    plain = Everywhere()
    made = Inpaint(InpaintParams(resolution=SIZE))
    made.use(plain.fill, plain)
    made.predict([query()], [1])
    assert plain.prompts == [None]
