"""SAM: the same logits as the package's own predictor, whatever else is asked; checkpoints that do not fit."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
segment_anything = pytest.importorskip("segment_anything")

from safetensors.torch import save_file  # noqa: E402

from amodal_bench.errors import Refused  # noqa: E402
from amodal_bench.methods._segment import sam  # noqa: E402
from amodal_bench.methods._segment.load import load  # noqa: E402
from amodal_bench.methods._segment.points import Points, draw_points  # noqa: E402
from amodal_bench.methods._segment.sam import SamSegmenter  # noqa: E402
from amodal_bench.methods._segment.settings import Segmenter  # noqa: E402
from amodal_bench.types import AmodalQuery  # noqa: E402

NANO = Segmenter(type="nano", checkpoint="tiny.pth")
Scenes = Callable[..., list[AmodalQuery]]


def drawn(queries: list[AmodalQuery], settings: Segmenter = NANO) -> list[Points]:
    return [draw_points(q.visible, settings, np.random.default_rng(k)) for k, q in enumerate(queries)]


def ask(segmenter: Any, queries: list[AmodalQuery], points: list[Points], keys: bool = True) -> list[Any]:
    images, visible = [query.image for query in queries], [query.visible for query in queries]
    return segmenter.segment(images, points, visible, [query.image_id for query in queries] if keys else None)


def mixed(scenes: Scenes) -> list[AmodalQuery]:
    """Seven objects in images of several sizes."""
    return [*scenes(1, (48, 70), 2), *scenes(2, (64, 64)), *scenes(3, (90, 31), 3), *scenes(4, (200, 150))]


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("multimask", ["single", "best_iou"])
def test_the_logits_are_those_of_the_packages_predictor(
    tiny: Any, sam_file: Path, scenes: Scenes, suffix: str, multimask: str
) -> None:
    path = sam_file.with_suffix(suffix)
    if suffix == ".safetensors":
        save_file(tiny.state_dict(), path)
    settings = Segmenter.model_validate({**NANO.model_dump(), "multimask": multimask})
    segmenter = load(settings, path, "cpu", 1)
    predictor = segment_anything.SamPredictor(tiny)
    queries = mixed(scenes)
    for query, points, found in zip(queries, drawn(queries), ask(segmenter, queries, drawn(queries)), strict=True):
        predictor.set_image(query.image)
        labels = np.ones(len(points))
        logits, quality, _ = predictor.predict(
            points, labels, multimask_output=multimask != "single", return_logits=True
        )
        assert found.dtype == np.float32
        assert found.shape == query.visible.shape
        assert np.abs(found - logits[quality.argmax()]).max() < 1e-5
        assert found.std() > 1e-3, "the tiny network says something"


@pytest.mark.parametrize("batch", [1, 4])
def test_an_object_does_not_depend_on_its_companions(tiny: Any, scenes: Scenes, batch: int) -> None:
    segmenter = SamSegmenter(tiny, NANO, "cpu", batch)
    queries = mixed(scenes)
    points = drawn(queries)
    together = ask(segmenter, queries, points)
    alone = [ask(segmenter, [q], [p], keys=False)[0] for q, p in zip(queries, points, strict=True)]
    backwards = ask(segmenter, queries[::-1], points[::-1])[::-1]
    assert all(np.array_equal(a, b) for a, b in zip(together, alone, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(together, backwards, strict=True))


def test_one_image_is_encoded_once_for_all_its_instances(tiny: Any, scenes: Scenes) -> None:
    segmenter = SamSegmenter(tiny, NANO, "cpu", 1)
    calls: list[int] = []
    hook = tiny.image_encoder.register_forward_hook(lambda *given: calls.append(len(given[1][0])))
    try:
        queries = scenes(3, (60, 60), 5)
        points = drawn(queries)
        shared = [*ask(segmenter, queries[:3], points[:3]), *ask(segmenter, queries[3:], points[3:])]
        assert calls == [1]
        own = ask(segmenter, queries, points, keys=False)
        assert calls == [1] * 6
    finally:
        hook.remove()
    assert all(np.array_equal(a, b) for a, b in zip(shared, own, strict=True))
    assert len({logits.tobytes() for logits in shared}) == 5


@pytest.mark.parametrize("multimask", ["best_iou", "max_area", "cover_v"])
def test_one_of_three_masks_is_taken(tiny: Any, scenes: Scenes, multimask: str) -> None:
    queries = mixed(scenes)
    settings = Segmenter.model_validate({**NANO.model_dump(), "multimask": multimask})
    found = ask(SamSegmenter(tiny, settings, "cpu", 1), queries, drawn(queries))
    predictor = segment_anything.SamPredictor(tiny)
    for query, points, logits in zip(queries, drawn(queries), found, strict=True):
        predictor.set_image(query.image)
        three, quality, _ = predictor.predict(points, np.ones(9), return_logits=True)
        score = {
            "best_iou": quality,
            "max_area": (three > 0).sum(axis=(1, 2)),
            "cover_v": (three > 0)[:, query.visible].sum(axis=1),
        }[multimask]
        nearest = int(np.abs(three - logits).max(axis=(1, 2)).argmin())
        assert np.abs(three[nearest] - logits).max() < 1e-5
        assert score[nearest] == score.max()


def test_an_image_that_is_all_length_keeps_one_pixel_of_its_width(tiny: Any) -> None:
    image, visible = np.zeros((1, 300, 3), dtype=np.uint8), np.zeros((1, 300), dtype=np.bool_)
    visible[0, 7] = True
    points = draw_points(visible, NANO, np.random.default_rng(0))
    (logits,) = SamSegmenter(tiny, NANO, "cpu", 1).segment([image], [points], [visible])
    assert logits.shape == (1, 300)


def test_half_precision_is_read_as_single(tiny: Any, sam_file: Path) -> None:
    half = {name: value.half() for name, value in tiny.state_dict().items()}
    save_file(half, sam_file.with_suffix(".safetensors"))
    found = sam.load_sam("nano", sam_file.with_suffix(".safetensors")).state_dict()
    assert {value.dtype for value in found.values()} == {torch.float32}
    assert all(torch.equal(found[name], half[name].float()) for name in half)


def test_the_tensors_may_lie_one_level_down(tiny: Any, sam_file: Path) -> None:
    torch.save({"model": tiny.state_dict(), "epoch": 3}, sam_file)
    found = sam.load_sam("nano", sam_file).state_dict()
    assert all(torch.equal(found[name], value) for name, value in tiny.state_dict().items())


# Checkpoints that do not fit.


def resized(state: dict[str, Any], width: int) -> dict[str, Any]:
    """The state of another size, as far as is looked at before a model is built."""
    return {**state, sam.POSITION: torch.zeros(1, 64, 64, width)}


@pytest.mark.parametrize(
    ("width", "asked", "text"),
    [
        (768, "vit_h", r"is a vit_b checkpoint; asked for vit_h: --set segmenter\.type=vit_b"),
        (1280, "vit_l", r"is a vit_h checkpoint; asked for vit_l: --set segmenter\.type=vit_h"),
        (1024, "nano", r"is a vit_l checkpoint; asked for nano: --set segmenter\.type=vit_l"),
        (32, "vit_b", r"is a checkpoint of width 32 \(nano, or of another project\); asked for vit_b: .*type=nano"),
    ],
)
def test_another_size_is_named_before_anything_is_built(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int, asked: str, text: str
) -> None:
    def build() -> None:
        raise AssertionError("built")

    for name in sam.BUILDERS:
        monkeypatch.setitem(sam.BUILDERS, name, build)
    torch.save(resized(tiny.state_dict(), width), tmp_path / "other.pth")
    with pytest.raises(Refused, match=rf"other\.pth {text}"):
        sam.load_sam(asked, tmp_path / "other.pth")


def test_tensors_that_do_not_fit_are_named(tiny: Any, sam_file: Path) -> None:
    state = tiny.state_dict()
    state["neck"] = state.pop("image_encoder.neck.0.weight")
    state["mask_decoder.iou_token.weight"] = torch.zeros(1, 16)
    torch.save(state, sam_file)
    expected = (
        r"(?s)tiny\.pth does not fit this network \(3 tensors differ\):\n  missing image_encoder\.neck\.0\.weight .*"
        r"unknown neck .*mask_decoder\.iou_token\.weight is \(1, 16\), expected \(1, 32\)"
    )
    with pytest.raises(Refused, match=expected):
        sam.load_sam("nano", sam_file)


def test_a_checkpoint_of_another_kind_is_refused(tmp_path: Path) -> None:
    torch.save({"conv.weight": torch.zeros(2), "conv.bias": torch.zeros(2)}, tmp_path / "m.pth")
    expected = r"m\.pth is no SAM checkpoint: it has no image_encoder\.pos_embed, but conv\.weight, conv\.bias, \.\.\."
    with pytest.raises(Refused, match=expected):
        sam.load_sam("vit_b", tmp_path / "m.pth")


@pytest.mark.parametrize("share", [0, 0.001, 0.5, 0.999])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_that_was_cut_off_is_refused(tiny: Any, sam_file: Path, suffix: str, share: float) -> None:
    path = sam_file.with_suffix(suffix)
    if suffix == ".safetensors":
        save_file(tiny.state_dict(), path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(Refused, match=r"not a whole checkpoint of tensors: "):
        sam.load_sam("nano", path)


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch.save({"model": Path("x")}, tmp_path / "code.pth")
    with pytest.raises(Refused, match=r"code\.pth: not a whole checkpoint of tensors: "):
        sam.load_sam("nano", tmp_path / "code.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps({"model": Path("x")}, protocol=2))
    with pytest.raises(Refused, match=r"plain\.pth: not a whole checkpoint of tensors: "):
        sam.load_sam("nano", tmp_path / "plain.pth")


@pytest.mark.parametrize("start", [0, 20, 60, 200])
def test_a_damaged_file_of_the_old_format_is_refused(tiny: Any, tmp_path: Path, start: int) -> None:
    torch.save(tiny.state_dict(), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    data = bytearray((tmp_path / "old.pth").read_bytes())
    data[start : start + 20] = b"<html>404 not found."
    (tmp_path / "old.pth").write_bytes(data)
    with pytest.raises(Refused, match=r"old\.pth: not a whole checkpoint of tensors: \w+"):
        sam.load_sam("nano", tmp_path / "old.pth")


@pytest.mark.parametrize(
    ("held", "text"), [({"epoch": 3}, "found 'epoch': int"), ([1, 2], "found list"), (torch.zeros(2), "found Tensor")]
)
def test_what_is_no_mapping_to_tensors_is_refused(tmp_path: Path, held: Any, text: str) -> None:
    torch.save(held, tmp_path / "odd.pth")
    with pytest.raises(Refused, match=rf"odd\.pth: expected a mapping of names to tensors, {text}"):
        sam.load_sam("nano", tmp_path / "odd.pth")


def test_the_small_model_of_this_project_is_built_by_the_loader() -> None:
    nano = pytest.importorskip("amodal_bench.methods._segment.nano")
    built = sam.BUILDERS["nano"]()
    assert built.image_encoder.img_size == 64
    assert built.state_dict().keys() == nano.build_nano().state_dict().keys()
    assert built.image_encoder.pos_embed.shape[-1] not in sam.WIDTHS.values()
