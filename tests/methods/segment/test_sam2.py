"""SAM 2: the same logits as the library's own call, whatever else is asked; folders that do not fit."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from safetensors.torch import load_file, save_file  # noqa: E402

from amodal_bench.errors import Refused  # noqa: E402
from amodal_bench.methods._segment.load import load  # noqa: E402
from amodal_bench.methods._segment.points import Points, draw_points  # noqa: E402
from amodal_bench.methods._segment.sam2 import load_sam2  # noqa: E402
from amodal_bench.methods._segment.settings import Segmenter  # noqa: E402
from amodal_bench.types import AmodalQuery  # noqa: E402

SAM2 = Segmenter(backend="sam2", checkpoint="tiny")
Scenes = Callable[..., list[AmodalQuery]]


def drawn(queries: list[AmodalQuery]) -> list[Points]:
    return [draw_points(q.visible, SAM2, np.random.default_rng(k)) for k, q in enumerate(queries)]


def ask(segmenter: Any, queries: list[AmodalQuery], points: list[Points], keys: bool = True) -> list[Any]:
    images, visible = [query.image for query in queries], [query.visible for query in queries]
    return segmenter.segment(images, points, visible, [query.image_id for query in queries] if keys else None)


def mixed(scenes: Scenes) -> list[AmodalQuery]:
    return [*scenes(1, (48, 70), 2), *scenes(2, (64, 64)), *scenes(3, (90, 31), 3)]


@pytest.mark.parametrize("multimask", ["single", "best_iou"])
def test_the_logits_are_those_of_the_librarys_processor_and_model(
    sam2_folder: Path, scenes: Scenes, multimask: str
) -> None:
    segmenter: Any = load(SAM2.model_copy(update={"multimask": multimask}), sam2_folder, "cpu", 1)
    processor = transformers.Sam2Processor(transformers.Sam2ImageProcessor.from_pretrained(sam2_folder))
    queries = mixed(scenes)
    for query, points, found in zip(queries, drawn(queries), ask(segmenter, queries, drawn(queries)), strict=True):
        labels = [[[1] * len(points)]]
        given = processor(
            images=query.image.copy(), input_points=[[points.tolist()]], input_labels=labels, return_tensors="pt"
        )
        with torch.no_grad():
            told = segmenter.model(
                pixel_values=given["pixel_values"],
                input_points=given["input_points"],
                input_labels=given["input_labels"],
                multimask_output=multimask != "single",
            )
        (logits,) = processor.post_process_masks(told.pred_masks, given["original_sizes"], binarize=False)
        assert found.dtype == np.float32
        assert found.shape == query.visible.shape
        assert np.abs(found - logits[0, told.iou_scores[0, 0].argmax()].numpy()).max() < 1e-5
        assert found.std() > 1e-3, "the tiny network says something"


@pytest.mark.parametrize("batch", [1, 4])
def test_an_object_does_not_depend_on_its_companions(sam2_folder: Path, scenes: Scenes, batch: int) -> None:
    segmenter = load(SAM2, sam2_folder, "cpu", batch)
    queries = mixed(scenes)
    points = drawn(queries)
    together = ask(segmenter, queries, points)
    alone = [ask(segmenter, [q], [p], keys=False)[0] for q, p in zip(queries, points, strict=True)]
    backwards = ask(segmenter, queries[::-1], points[::-1])[::-1]
    assert all(np.array_equal(a, b) for a, b in zip(together, alone, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(together, backwards, strict=True))


def test_one_image_is_encoded_once_for_all_its_instances(sam2_folder: Path, scenes: Scenes) -> None:
    segmenter: Any = load(SAM2, sam2_folder, "cpu", 1)
    calls: list[int] = []
    segmenter.model.vision_encoder.register_forward_hook(lambda *given: calls.append(1))
    queries = scenes(3, (60, 60), 4)
    points = drawn(queries)
    shared = [*ask(segmenter, queries[:1], points[:1]), *ask(segmenter, queries[1:], points[1:])]
    assert len(calls) == 1
    own = ask(segmenter, queries, points, keys=False)
    assert len(calls) == 5
    assert all(np.array_equal(a, b) for a, b in zip(shared, own, strict=True))


@pytest.mark.parametrize("shape", [(1, 9), (300, 1)])
def test_a_thread_of_an_image(sam2_folder: Path, shape: tuple[int, int]) -> None:
    visible = np.zeros(shape, dtype=np.bool_)
    visible[0, 0] = True
    points = draw_points(visible, SAM2, np.random.default_rng(0))
    image = np.zeros((*shape, 3), dtype=np.uint8)
    (logits,) = load(SAM2, sam2_folder, "cpu", 1).segment([image], [points], [visible])
    assert logits.shape == shape


def test_the_hubs_folders_of_the_video_model_hold_the_image_model(
    tmp_path: Path, sizes_of_sam2: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    """Those of Meta say `sam2_video` in config.json and use older names of the image processor."""
    narrow = {
        "memory_attention_hidden_size": 32, "memory_attention_num_layers": 1, "memory_attention_num_attention_heads": 1,
        "memory_attention_feed_forward_hidden_size": 32, "memory_encoder_hidden_size": 32,
        "memory_encoder_output_channels": 16, "mask_downsampler_embed_dim": 32, "memory_fuser_embed_dim": 32,
        "memory_fuser_intermediate_dim": 32, "image_size": 64,
    }  # fmt: skip
    video = transformers.Sam2VideoModel(transformers.Sam2VideoConfig(**sizes_of_sam2, **narrow))
    video.save_pretrained(tmp_path)
    transformers.Sam2ImageProcessor(size={"height": 64, "width": 64}).save_pretrained(tmp_path)
    path = tmp_path / "preprocessor_config.json"
    older = {"image_processor_type": "Sam2ImageProcessorFast", "processor_class": "Sam2VideoProcessor"}
    path.write_text(json.dumps({**json.loads(path.read_text()), **older}))
    capfd.readouterr()
    model, processor = load_sam2(tmp_path)
    assert capfd.readouterr() == ("", ""), "no bars, no warnings"
    assert processor.size["height"] == 64
    state = model.state_dict()
    assert all(torch.equal(state[name], value) for name, value in video.state_dict().items() if name in state)
    assert "mask_decoder.iou_token.weight" in video.state_dict()


# Folders that do not fit.


@pytest.fixture
def broken(sam2_folder: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "broken"
    shutil.copytree(sam2_folder, folder)
    return folder


def test_a_folder_without_config_is_refused(broken: Path) -> None:
    (broken / "config.json").unlink()
    with pytest.raises(Refused, match=r"broken has no config\.json: expected a folder in transformers' format"):
        load_sam2(broken)
    with pytest.raises(Refused, match=r"model\.safetensors has no config\.json"):
        load_sam2(broken / "model.safetensors")


def test_another_kind_of_model_is_refused(broken: Path) -> None:
    (broken / "config.json").write_text('{"model_type": "sam"}')
    with pytest.raises(Refused, match=r"config\.json is of a 'sam' model, expected one of sam2, sam2_video"):
        load_sam2(broken)
    (broken / "config.json").write_text("{")
    with pytest.raises(Refused, match=r"config\.json is not JSON"):
        load_sam2(broken)
    (broken / "config.json").write_text("[]")
    with pytest.raises(Refused, match=r"config\.json is of a None model"):
        load_sam2(broken)


def test_tensors_that_do_not_fit_are_named(broken: Path) -> None:
    path = broken / "model.safetensors"
    state = load_file(path)
    state["mask_decoder.iou_token.weight"] = torch.zeros(1, 16)
    state["surplus"] = torch.zeros(1)
    del state["vision_encoder.neck.convs.0.bias"]
    save_file(state, path, {"format": "pt"})
    expected = (
        r"broken does not fit its config\.json \(3 tensors differ\):\n  missing vision_encoder\.neck\.convs\.0\.bias\n"
        r"  unknown surplus\n  mask_decoder\.iou_token\.weight is \(1, 16\), expected \(1, 32\)"
    )
    with pytest.raises(Refused, match=expected):
        load_sam2(broken)


@pytest.mark.parametrize("kept", [0, 100, 10_000])
def test_a_file_that_was_cut_off_is_refused(broken: Path, kept: int) -> None:
    path = broken / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(Refused, match="not a whole SAM 2 folder"):
        load_sam2(broken)


@pytest.mark.parametrize("name", ["model.safetensors", "preprocessor_config.json"])
def test_a_folder_that_lacks_a_file_is_refused(broken: Path, name: str) -> None:
    (broken / name).unlink()
    with pytest.raises(Refused, match="not a whole SAM 2 folder"):
        load_sam2(broken)
