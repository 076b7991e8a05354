"""The tiny segmenter is trained, cut off, resumed, and answers as segment-anything does."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("segment_anything")
pytest.importorskip("accelerate")

from amodal_bench.errors import Refused  # noqa: E402
from amodal_bench.methods._segment.load import load  # noqa: E402
from amodal_bench.methods._segment.nano import build_nano  # noqa: E402
from amodal_bench.methods._segment.points import draw_points  # noqa: E402
from amodal_bench.methods._segment.settings import Segmenter  # noqa: E402
from amodal_bench.methods._training.progress import read  # noqa: E402
from amodal_bench.methods.sam import Sam, SamParams, SamTraining  # noqa: E402
from amodal_bench.methods.sam.train import PointModel, iou, train  # noqa: E402
from amodal_bench.plugin import TrainingRun  # noqa: E402

Start = Callable[..., TrainingRun]
NANO = Segmenter(type="nano", checkpoint="model.safetensors")
TINY: dict[str, Any] = {
    "epochs": 4, "batch_size": 4, "lr": 1e-3, "val_limit": 4, "log_every": 1, "schedule": "step", "ema": 0.9,
}  # fmt: skip


def test_a_batch_is_decoded_as_the_package_decodes_one_image() -> None:
    from segment_anything import SamPredictor

    torch.manual_seed(0)
    sam, rng = build_nano(), np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    points = rng.integers(0, 64, (3, 5, 2)).astype(np.float32)
    with torch.no_grad():
        logits, quality = PointModel(sam)(
            torch.from_numpy(images).permute(0, 3, 1, 2).float(), torch.from_numpy(points)
        )
    predictor = SamPredictor(sam)
    for k in range(3):
        predictor.set_image(images[k])
        found, scores, _ = predictor.predict(points[k], np.ones(5), multimask_output=False, return_logits=True)
        assert np.allclose(logits[k].numpy(), found[0], atol=1e-4)
        assert float(quality[k]) == pytest.approx(float(scores[0]), abs=1e-5)


def test_ellipses_are_learned(ellipses: Any, start: Start) -> None:
    config = {**TINY, "epochs": 15, "pieces": 0, "black": 0, "own": 0, "soften": 0, "warmup": 10, "val_every": 15}
    run = start(SamTraining.model_validate(config))
    train(ellipses(8), ellipses(8), run)
    rows = read(run.out / "train_log.csv")
    assert float(rows[-1]["val_iou"]) > 75
    segmenter = load(NANO, run.out / "model.safetensors", "cpu", 4)
    samples = [ellipses(8)[k] for k in range(4)]
    points = [draw_points(sample.visible, NANO, np.random.default_rng(0)) for sample in samples]
    found = segmenter.segment([s.query.image for s in samples], points, [s.visible for s in samples])
    masks = torch.from_numpy(np.stack(found)) > 0
    assert float(iou(masks, torch.from_numpy(np.stack([s.amodal for s in samples]))).mean()) > 0.7


def test_an_epoch_and_one_more_equal_two(ellipses: Any, interrupted: Any, start: Start) -> None:
    config = SamTraining.model_validate({**TINY, "epochs": 2})
    whole, parts = start(config, "whole"), start(config, "parts")
    train(ellipses(8), ellipses(8), whole)
    with pytest.raises(interrupted):
        train(ellipses(8, calls=12), ellipses(8), parts)
    assert not (parts.out / "model.safetensors").exists()
    train(ellipses(8), ellipses(8), parts)
    assert (parts.out / "model.safetensors").read_bytes() == (whole.out / "model.safetensors").read_bytes()


def test_metas_sizes_are_not_trained_here(ellipses: Any, start: Start) -> None:
    with pytest.raises(Refused, match=r"segmenter.type vit_h is Meta's, not trained here.*--method sam-nano"):
        Sam(SamParams()).train(ellipses(4), ellipses(4), start(SamTraining.model_validate(TINY)))
