"""The device does not wait for the CPU: judged by the order of events on a stand-in that sleeps, not by a clock."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from amodal_bench.masks.boxes import Window
from amodal_bench.methods import _squares, inpaint
from amodal_bench.methods._segment.points import Points
from amodal_bench.methods._squares import Squares
from amodal_bench.methods._window import cut_image, find_window
from amodal_bench.methods.inpaint import Inpaint, InpaintParams
from amodal_bench.methods.inpaint.condition import to_pixels
from amodal_bench.types import AmodalQuery, Image, Mask

pytest.importorskip("cv2")

from .test_method import queries, tiny_sam, unpainted

PATIENCE = 60.0  # seconds: what should have happened meanwhile never does
COUNT = 6


class Device:
    """Two models on one device. A call sleeps, and does not end before what may be done beside it is done."""

    def __init__(self, patient: bool) -> None:
        self.events: list[tuple[str, str]] = []  # what, begin or end, in the order in which it was
        self._patient, self._change = patient, threading.Condition()
        self._painted = 0

    @contextmanager
    def noted(self, what: str) -> Iterator[None]:
        self._note(what, "begin")
        try:
            yield
        finally:
            self._note(what, "end")

    def _note(self, what: str, when: str) -> None:
        with self._change:
            self.events.append((what, when))
            self._change.notify_all()

    def count(self, what: str, when: str) -> int:
        return self.events.count((what, when))

    def wait(self, what: str, when: str, times: int) -> None:
        time.sleep(0.002)  # without the CPU, as a driver does
        if self._patient:
            with self._change:
                done = self._change.wait_for(lambda: self.count(what, when) >= times, PATIENCE)
                assert done, (what, when, times, self.events)

    def fill(self, x: Any, area: Mask, seeds: Sequence[int], prompts: Any = None) -> Image:
        with self.noted("paint"):
            self._painted += 1
            self.wait("condition", "end", min(COUNT, self._painted + 1))
            return to_pixels(x)

    def waited_for(self) -> tuple[int, int]:
        """How many instances' conditioning and pasting the device had to wait for, between two of its own."""

        def place(what: str, when: str, number: int) -> int:
            return [k for k, event in enumerate(self.events) if event == (what, when)][number]

        conditioned = [place("condition", "end", k) for k in range(COUNT)]
        painted = [-1, *(place("paint", "end", k) for k in range(COUNT - 1))]
        begun = [*(place("paint", "begin", k) for k in range(1, COUNT)), len(self.events)]
        pasted = [place("paste", "end", k) for k in range(COUNT)]
        return (
            sum(ready > free for ready, free in zip(conditioned, painted, strict=True)),
            sum(done < following for done, following in zip(pasted, begun, strict=True)),
        )


class Segmenter:
    """Answers nothing after a sleep; beside the painting of the next one, that waits for it."""

    def __init__(self, device: Device) -> None:
        self._device = device

    def segment(self, images: Sequence[Image], points: Sequence[Points], *_: Any) -> list[Any]:
        with self._device.noted("segment"):
            time.sleep(0.002)
            return [np.full(image.shape[:2], -1, dtype=np.float32) for image in images]


def one_by_one(parts: Any, prepare: Any, work: Any, finish: Any, ahead: int = 1) -> list[Any]:
    """What `overlapped` gives, without threads."""
    ready = [prepare(part) for part in parts]
    return [finish(one, work(one)) for one in ready]


def in_turn(parts: Any, prepare: Any, work: Any, finish: Any, ahead: int = 1) -> list[Any]:
    """The same, part after part, as a plain loop does it."""
    return [finish(ready, work(ready)) for ready in map(prepare, parts)]


def ran(device: Device, monkeypatch: pytest.MonkeyPatch, where: str, **segmenter: Any) -> list[Mask]:
    for name in ("condition", "paste"):
        stage: Callable[..., Any] = getattr(inpaint, name)

        def noted(*given: Any, stage: Any = stage, name: str = name, **named: Any) -> Any:
            with device.noted(name):
                if name == "paste":  # the next is being painted already
                    device.wait("paint", "begin", min(COUNT, device.count("paste", "begin") + 1))
                return stage(*given, **named)

        monkeypatch.setattr(inpaint, name, noted)
    made = Inpaint(InpaintParams.model_validate({"fill": "telea", "resolution": 64, "segmenter": segmenter}))
    made.use(device.fill, Segmenter(device), device=where)
    return made.predict(queries(COUNT), list(range(COUNT)))


@pytest.mark.parametrize("where", ["cpu", "cuda"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_device_waits_for_the_first_and_the_last_step_alone(
    where: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """2 of 12 steps, however many there are: what is idle is one instance's share of those that are asked at once."""
    device = Device(patient=True)
    assert len(ran(device, monkeypatch, where, dtype=dtype)) == COUNT
    assert device.waited_for() == (1, 1)


def test_a_plain_loop_lets_it_wait_for_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the count above would be, so that it can fail."""
    monkeypatch.setattr(inpaint, "overlapped", in_turn)
    device = Device(patient=False)
    ran(device, monkeypatch, "cpu")
    assert device.waited_for() == (COUNT, COUNT)


@pytest.mark.parametrize(("where", "dtype", "beside"), [
    ("cuda", "bfloat16", True), ("cuda", "float16", True), ("cpu", "bfloat16", False), ("cuda", "float32", False),
    ("cuda", "tf32", False),
])  # fmt: skip
def test_a_batch_is_segmented_while_the_next_is_painted_where_that_is_safe(
    where: str, dtype: str, beside: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU, and with a precision that needs no switch of the whole process."""
    device = Device(patient=True)

    def segmented(times: int) -> None:
        if beside:
            device.wait("segment", "end", times)

    paint = device.fill

    def fill(x: Any, area: Mask, seeds: Sequence[int], prompts: Any = None) -> Image:
        with device.noted("whole paint"):
            done = device.count("paint", "end")
            found = paint(x, area, seeds)
            segmented(done)
            return found

    monkeypatch.setattr(device, "fill", fill)
    ran(device, monkeypatch, where, dtype=dtype)
    inside, meanwhile = False, []
    for what, when in device.events:
        if what == "whole paint":
            inside = when == "begin"
        elif what == "segment" and when == "end":
            meanwhile.append(inside)
    assert meanwhile == ([True] * (COUNT - 1) + [False] if beside else [False] * COUNT)


@pytest.mark.parametrize("where", ["cpu", "cuda"])
@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("mode", ["none", "square"])
def test_masks_are_the_same_with_and_without_overlap(
    where: str, batch: int, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, seeds = queries(9), list(range(9))
    params = InpaintParams.model_validate({
        "fill": "telea", "resolution": 64, "forward_batch": batch, "region": {"mode": mode},
        "segmenter": {"dtype": "bfloat16"},
    })  # fmt: skip
    made = Inpaint(params)
    made.use(unpainted, tiny_sam(), device=where)
    together = made.predict(asked, seeds)
    monkeypatch.setattr(inpaint, "overlapped", one_by_one)
    alone = made.predict(asked, seeds)
    assert all(np.array_equal(a, b) for a, b in zip(together, alone, strict=True))
    assert len({mask.tobytes() for mask in together}) > 5


# What an image's instances share


def shared(image: Image, count: int, name: str) -> list[AmodalQuery]:
    """Instances of one image, each with a view of its own on the same memory, as the core hands them out."""
    made = []
    for number in range(count):
        visible = np.zeros(image.shape[:2], dtype=np.bool_)
        visible[40 + 4 * number : 70, 50:80] = True
        made.append(AmodalQuery(f"made/test/{name}/{number}", name, image.view(), visible))
    return made


def test_a_whole_image_is_brought_to_its_square_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, ...]] = []

    def cut(image: Image, window: Window, size: int) -> Image:
        calls.append(image.shape)
        return cut_image(image, window, size)

    monkeypatch.setattr(_squares, "cut_image", cut)
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (120, 160, 3), dtype=np.uint8) for _ in range(2)]
    asked = [*shared(images[0], 4, "a"), *shared(images[1], 3, "b")]
    for mode, times in (("none", 2), ("square", 7)):
        calls.clear()
        made = Inpaint(InpaintParams.model_validate({"fill": "telea", "resolution": 64, "region": {"mode": mode}}))
        made.use(unpainted, tiny_sam())
        found = made.predict(asked, list(range(7)))
        assert len(calls) == times
        alone = [made.predict([query], [number])[0] for number, query in enumerate(asked)]
        assert all(np.array_equal(a, b) for a, b in zip(found, alone, strict=True))


def test_other_images_and_other_windows_are_other_squares() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (120, 160, 3), dtype=np.uint8)
    squares = Squares(64)
    (query,) = shared(image, 1, "a")
    whole = find_window(query.visible, InpaintParams().region)
    first = squares.of(image, whole)
    assert squares.of(image.view(), whole) is first
    assert not first.flags.writeable
    assert not np.array_equal(squares.of(255 - image, whole), first)
    part = whole._replace(bottom=60)
    assert not np.array_equal(squares.of(image, part), first)
    assert not np.array_equal(squares.of(image[:60], part), squares.of(image[60:], part))
