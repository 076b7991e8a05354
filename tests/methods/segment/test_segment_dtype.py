"""The segmenters' precision and their compiled encoder: what is rounded, and what is not."""

from collections.abc import Callable, Iterator
from functools import partialmethod
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("segment_anything")

from amodal_bench.methods._segment.load import load  # noqa: E402
from amodal_bench.methods._segment.points import draw_points  # noqa: E402
from amodal_bench.methods._segment.settings import Segmenter  # noqa: E402
from amodal_bench.types import AmodalQuery  # noqa: E402

Scenes = Callable[..., list[AmodalQuery]]


def made(backend: str, request: pytest.FixtureRequest, **asked: Any) -> Any:
    """A tiny segmenter from its file or folder, as the methods load it."""
    if backend == "sam2":
        pytest.importorskip("transformers")
    path: Path = request.getfixturevalue("sam2_folder" if backend == "sam2" else "sam_file")
    settings = Segmenter.model_validate({"backend": backend, "type": "nano", "checkpoint": path.name, **asked})
    return load(settings, path, "cpu", 2)


def answers(segmenter: Any, asked: list[AmodalQuery]) -> np.ndarray[Any, Any]:
    points = [draw_points(q.visible, Segmenter(), np.random.default_rng(k)) for k, q in enumerate(asked)]
    return np.stack(segmenter.segment([q.image for q in asked], points, [q.visible for q in asked]))


@pytest.mark.parametrize("backend", ["sam", "sam2"])
def test_half_precision_moves_the_logits_a_little_and_the_masks_hardly(
    backend: str, request: pytest.FixtureRequest, scenes: Scenes
) -> None:
    asked = scenes(1, (48, 70), 3)
    plain, half = (answers(made(backend, request, **how), asked) for how in ({}, {"dtype": "bfloat16"}))
    assert half.dtype == np.float32
    apart = np.abs(half - plain).max()
    assert 0 < apart < 0.2 * np.abs(plain).max()
    assert ((half > 0) != (plain > 0)).mean() < 0.1
    assert np.array_equal(plain, answers(made(backend, request, dtype="float32"), asked)), "the default"
    assert np.array_equal(plain, answers(made(backend, request, dtype="tf32"), asked)), "for GPUs"


@pytest.mark.parametrize("backend", ["sam", "sam2"])
def test_the_encoder_alone_is_rounded(backend: str, request: pytest.FixtureRequest, scenes: Scenes) -> None:
    """Its embeddings are float32 again, and the decoder computes outside of autocast."""
    segmenter = made(backend, request, dtype="bfloat16")
    inner, seen = segmenter.decode, []

    def decode(embedding: Any, *given: Any) -> Any:
        tensors = embedding if isinstance(embedding, list) else [embedding.features]
        seen.append((torch.is_autocast_enabled("cpu"), {tensor.dtype for tensor in tensors}))
        return inner(embedding, *given)

    segmenter.decode = decode
    answers(segmenter, scenes(2, (40, 40), 1))
    assert seen == [(False, {torch.float32})]


@pytest.fixture
def switches() -> Iterator[tuple[Any, Any]]:
    """What the process has of TF32: of matrix products, of convolutions; as before afterwards."""
    found = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [one.allow_tf32 for one in found]
    yield found
    for one, value in zip(found, before, strict=True):
        one.allow_tf32 = value


@pytest.mark.parametrize(("dtype", "switched"), [("float32", False), ("tf32", True), ("bfloat16", None)])
def test_half_precision_leaves_the_switches_of_the_process_alone(
    dtype: str, switched: bool | None, request: pytest.FixtureRequest, scenes: Scenes, switches: tuple[Any, Any]
) -> None:
    """So that it can compute beside another thread; the others set TF32 while they encode, and set it back."""
    segmenter = made("sam", request, dtype=dtype)
    inner, seen = segmenter.encode, []

    def encode(images: Any) -> Any:
        seen.append(tuple(one.allow_tf32 for one in switches))
        return inner(images)

    segmenter.encode = encode
    for before in ((False, True), (True, False)):
        for one, value in zip(switches, before, strict=True):
            one.allow_tf32 = value
        answers(segmenter, scenes(2, (40, 40), 1))
        assert seen.pop() == (before if switched is None else (switched, switched))
        assert tuple(one.allow_tf32 for one in switches) == before


def test_companions_change_nothing_in_half_precision_either(request: pytest.FixtureRequest, scenes: Scenes) -> None:
    segmenter = made("sam", request, dtype="bfloat16")
    asked = [*scenes(1, (48, 70), 1), *scenes(2, (48, 70), 1), *scenes(3, (48, 70), 1)]
    together = answers(segmenter, asked)
    assert np.array_equal(answers(segmenter, asked[:1])[0], together[0])


@pytest.mark.parametrize("backend", ["sam", "sam2"])
def test_a_compiled_encoder_is_warm_when_it_is_loaded(
    backend: str,
    request: pytest.FixtureRequest,
    scenes: Scenes,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Traced for real, without the code that a compiler would make of the trace: that takes minutes."""
    plain = answers(made(backend, request), asked := scenes(1, (48, 70), 2))
    monkeypatch.setattr(torch.nn.Module, "compile", partialmethod(torch.nn.Module.compile, backend="eager"))
    with caplog.at_level("INFO", "amodal_bench"):
        segmenter = made(backend, request, compile=True)
    assert "compiled the segmenter's encoder, warm after" in caplog.text
    encoder = segmenter.model.vision_encoder if backend == "sam2" else segmenter.sam.image_encoder
    assert encoder._compiled_call_impl is not None
    with torch.compiler.set_stance("fail_on_recompile"):
        found = answers(segmenter, asked)
    np.testing.assert_allclose(found, plain, atol=1e-4)
