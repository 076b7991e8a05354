"""The methods `sam` and `sam2`: windows, unions, chance, weights that are missing."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amodal_bench.errors import Refused, WeightsNotFound
from amodal_bench.methods._segment.choose import Logits
from amodal_bench.methods._segment.load import find
from amodal_bench.methods._segment.points import Points
from amodal_bench.methods._segment.settings import Segmenter
from amodal_bench.methods.sam import Sam, SamParams
from amodal_bench.methods.sam2 import Sam2, Sam2Params
from amodal_bench.plugin import Runtime
from amodal_bench.types import AmodalQuery, Image, Mask

Scenes = Callable[..., list[AmodalQuery]]
Cli = Callable[..., Any]


def made(path: Path, **changes: Any) -> Sam:
    """`sam` with the tiny network of `sam_file`."""
    segmenter = {"type": "nano", "checkpoint": path.name, **changes.pop("segmenter", {})}
    method = Sam(SamParams.model_validate({"segmenter": segmenter, **changes}))
    method.load(Runtime(weights=path.parent))
    return method


def answers(method: Sam | Sam2, asked: Sequence[AmodalQuery], batch: int, seeds: Sequence[int]) -> list[Mask]:
    return [
        mask
        for start in range(0, len(asked), batch)
        for mask in method.predict(asked[start : start + batch], seeds[start : start + batch])
    ]


@pytest.mark.parametrize("region", [{"mode": "none"}, {"mode": "box"}, {"mode": "square", "min_side": 0.5}])
@pytest.mark.parametrize("forward_batch", [1, 4])
def test_batches_and_order_change_nothing(
    sam_file: Path, scenes: Scenes, region: dict[str, Any], forward_batch: int
) -> None:
    method = made(sam_file, region=region, forward_batch=forward_batch)
    asked = [*scenes(1, (48, 70), 3), *scenes(2, (64, 64)), *scenes(3, (90, 31), 2)]
    seeds = list(range(len(asked)))
    one = answers(method, asked, 1, seeds)
    assert all(np.array_equal(a, b) for a, b in zip(one, answers(method, asked, 6, seeds), strict=True))
    backwards = answers(method, asked[::-1], 4, seeds[::-1])[::-1]
    assert all(np.array_equal(a, b) for a, b in zip(one, backwards, strict=True))


class Recorder:
    """A segmenter that calls the upper half of what it is shown object, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Image, Points, Mask, str | None]] = []

    def segment(
        self,
        images: Sequence[Image],
        points: Sequence[Points],
        visible: Sequence[Mask],
        keys: Sequence[str | None] | None = None,
    ) -> list[Logits]:
        self.asked += zip(images, points, visible, keys or [None] * len(images), strict=True)
        found = [np.ones(image.shape[:2], dtype=np.float32) for image in images]
        for logits in found:
            logits[len(logits) // 2 :] = -1
        return found


def test_only_the_window_is_shown_and_the_answer_is_put_back(scenes: Scenes) -> None:
    (query,) = scenes(2, (80, 100))
    rows, columns = (np.flatnonzero(query.visible.any(axis=axis)) for axis in (1, 0))
    method, recorder = Sam(SamParams.model_validate({"region": {"mode": "box", "enlarge": 1}})), Recorder()
    method.use(recorder)
    (mask,) = method.predict([query], [0])
    image, points, visible, key = recorder.asked[0]
    inside = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    assert np.array_equal(image, query.image[inside])
    assert np.array_equal(visible, query.visible[inside])
    assert visible[points[:, 1].astype(int), points[:, 0].astype(int)].all()
    assert key is None, "another window of this image is another image"
    half = np.zeros_like(query.visible)
    half[rows[0] : rows[0] + len(rows) // 2, columns[0] : columns[-1] + 1] = True
    assert np.array_equal(mask, half)


def test_the_whole_image_is_named_so_that_it_is_embedded_once(scenes: Scenes) -> None:
    method, recorder = Sam(SamParams()), Recorder()
    method.use(recorder)
    method.predict(scenes(5, (40, 40), 3), [0, 1, 2])
    assert [key for *_, key in recorder.asked] == ["5", "5", "5"]


@pytest.mark.parametrize("union", [False, True])
def test_the_visible_mask_is_added_where_that_is_asked_for(scenes: Scenes, union: bool) -> None:
    (query,) = scenes(2, (80, 100))
    before = query.visible.copy()
    method = Sam(SamParams(union_visible=union))
    method.use(Recorder())
    (mask,) = method.predict([query], [0])
    upper = np.arange(80)[:, None] < 40
    assert np.array_equal(mask, upper | query.visible if union else np.broadcast_to(upper, (80, 100)))
    assert not np.shares_memory(mask, query.visible)
    assert np.array_equal(query.visible, before)


def test_the_seed_is_the_only_chance(sam_file: Path, scenes: Scenes) -> None:
    query = scenes(1)[0]
    recorder = Recorder()
    method = made(sam_file)
    method.use(recorder)
    for seed in (7, 7, 8):
        method.predict([query], [seed])
    first, again, other = (points for _, points, *_ in recorder.asked)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("shape", [(1, 9), (7, 5), (200, 40), (1, 200)])
@pytest.mark.parametrize("region", ["none", "box", "square"])
def test_one_pixel_and_a_full_frame(sam_file: Path, shape: tuple[int, int], region: str) -> None:
    pixel = np.zeros(shape, dtype=np.bool_)
    pixel[shape[0] // 2, shape[1] // 2] = True
    image = np.zeros((*shape, 3), dtype=np.uint8)
    asked = [AmodalQuery(f"made/test/0/{k}", "0", image, m) for k, m in enumerate((pixel, np.ones_like(pixel)))]
    for mask in made(sam_file, region={"mode": region}).predict(asked, [0, 1]):
        assert mask.shape == shape
        assert mask.dtype == np.bool_


def test_sam2_answers_too(sam2_folder: Path, scenes: Scenes) -> None:
    method = Sam2(Sam2Params.model_validate({"segmenter": {"checkpoint": sam2_folder.name}}))
    assert method.pretrained(sam2_folder.parent) == {"segmenter": sam2_folder}
    method.load(Runtime(weights=sam2_folder.parent))
    asked = [*scenes(1, (48, 70), 2), *scenes(2, (64, 64))]
    one, all_at_once = answers(method, asked, 1, [0, 1, 2]), answers(method, asked, 3, [0, 1, 2])
    assert all(np.array_equal(a, b) for a, b in zip(one, all_at_once, strict=True))
    assert [mask.shape for mask in one] == [query.visible.shape for query in asked]


def test_predicting_before_loading_is_an_error(scenes: Scenes) -> None:
    with pytest.raises(RuntimeError, match="before load"):
        Sam(SamParams()).predict(scenes(1), [0])


# Weights that are missing or of another size.


def test_the_papers_models_are_the_defaults() -> None:
    assert SamParams().segmenter == Segmenter()
    assert (SamParams().segmenter.type, SamParams().segmenter.points) == ("vit_h", 9)
    assert (Sam2Params().segmenter.backend, Sam2Params().segmenter.points) == ("sam2", 9)


def test_a_change_inside_keeps_the_other_defaults() -> None:
    """Nested parameters that are given in part are filled with these methods' defaults, not with those of others."""
    params = Sam2Params.model_validate({"segmenter": {"points": 3}, "region": {"enlarge": 3}})
    assert (params.segmenter.backend, params.segmenter.checkpoint) == ("sam2", "facebook/sam2.1-hiera-large")
    assert params.region.mode == "none"
    with pytest.raises(ValueError, match="Input should be 'sam2'"):
        Sam2Params.model_validate({"segmenter": {"backend": "sam"}})


def test_a_missing_nano_says_how_it_is_trained(tmp_path: Path) -> None:
    with pytest.raises(
        WeightsNotFound, match=r"(?s)SAM nano .* is not on this machine.*amodal-bench train --method sam-nano"
    ):
        find(Segmenter(type="nano", checkpoint="no-such.safetensors"), tmp_path)


@pytest.mark.parametrize(
    ("params", "lines"),
    [
        (
            SamParams(),
            [
                "SAM ViT-H (sam_vit_h_4b8939.pth) is not on this machine.",
                "Looked for: {weights}/sam_vit_h_4b8939.pth",
                "_segment/weights/sam_vit_h_4b8939.pth",
                "Licence: Apache-2.0. Size: 2.6 GB.",
                "Get it: curl -L --create-dirs -o {weights}/sam_vit_h_4b8939.pth "
                "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_h_4b8939.pth",
            ],
        ),
        (
            Sam2Params.model_validate({"segmenter": {"revision": "abc"}}),
            [
                "SAM 2.1 large (facebook/sam2.1-hiera-large) is not on this machine.",
                "and: the hub's cache",
                "Licence: Apache-2.0. Size: 0.9 GB.",
                'Get it: hf download facebook/sam2.1-hiera-large --revision abc --exclude "*.pt" '
                "--local-dir {weights}/facebook/sam2.1-hiera-large",
            ],
        ),
    ],
)
def test_a_missing_checkpoint_is_told_with_the_way_to_get_it(
    tmp_path: Path, params: SamParams | Sam2Params, lines: list[str]
) -> None:
    method = Sam2(params) if isinstance(params, Sam2Params) else Sam(params)
    with pytest.raises(WeightsNotFound) as caught:
        method.pretrained(tmp_path)
    assert [line for line in lines if line.format(weights=tmp_path) not in str(caught.value)] == []
    with pytest.raises(WeightsNotFound):
        method.load(Runtime(weights=tmp_path))


@pytest.mark.parametrize(
    ("settings", "way_out"),
    [
        (
            Segmenter(checkpoint="mine/fine.pth"),
            "put a .pth or .safetensors file of that size at {}; Meta's own is segmenter.checkpoint="
            "sam_vit_h_4b8939.pth",
        ),
        (
            Segmenter(backend="sam2", checkpoint="mine"),
            "put a folder in transformers' format, as save_pretrained leaves it, at {}",
        ),
    ],
)
def test_a_missing_checkpoint_of_ones_own_is_not_downloaded_as_metas(
    tmp_path: Path, settings: Segmenter, way_out: str
) -> None:
    with pytest.raises(WeightsNotFound) as caught:
        find(settings, tmp_path)
    assert f"Get it: {way_out.format(tmp_path / settings.checkpoint)}\n" in str(caught.value)
    assert "Licence: its own." in str(caught.value)


def test_the_official_file_of_another_size_is_refused_before_it_is_looked_for(tmp_path: Path) -> None:
    expected = (
        r"sam_vit_h_4b8939\.pth is the official vit_h file, segmenter\.type asks for vit_b: "
        r"--set segmenter\.type=vit_h, or keep the type and segmenter\.checkpoint=sam_vit_b_01ec64\.pth"
    )
    with pytest.raises(Refused, match=expected):
        find(Segmenter(type="vit_b"), tmp_path)


def test_a_folder_is_no_checkpoint_of_sam(tmp_path: Path) -> None:
    (tmp_path / "facebook").mkdir()
    with pytest.raises(Refused, match=r"facebook is a folder, expected a \.pth or \.safetensors file"):
        find(Segmenter(checkpoint="facebook"), tmp_path)


@pytest.mark.parametrize(("method", "title"), [("sam", "SAM ViT-H"), ("sam2", "SAM 2.1 large")])
def test_the_command_line_says_what_is_missing_and_writes_nothing(
    cli: Cli, tmp_path: Path, method: str, title: str
) -> None:
    done = cli("bench", "--method", method, "--dataset", "synthetic", HF_HOME=str(tmp_path / "hub"))
    assert done.returncode == 2
    assert f"{title} (" in done.stderr
    assert "Get it: " in done.stderr
    assert list((tmp_path / "cwd").iterdir()) == []


def test_the_command_line_names_the_size_of_a_checkpoint(cli: Cli, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("segment_anything")
    weights = tmp_path / "weights"
    weights.mkdir()
    torch.save({"image_encoder.pos_embed": torch.zeros(1, 64, 64, 768)}, weights / "mine.pth")
    changes = ("--set", "segmenter.checkpoint=mine.pth")
    done = cli("bench", "--method", "sam", "--dataset", "synthetic", "--limit", "1", "--weights", weights, *changes)
    assert done.returncode == 2
    assert "mine.pth is a vit_b checkpoint; asked for vit_h: --set segmenter.type=vit_b" in " ".join(
        done.stderr.split()
    )
    assert [path.name for path in (tmp_path / "cwd").iterdir()] == []
