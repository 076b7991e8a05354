"""Prediction: batches, chance, masks at the edge of what can be, weights that do not fit."""

import json
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from amodal_bench.errors import Refused, WeightsNotFound  # noqa: E402
from amodal_bench.methods._training import weights  # noqa: E402
from amodal_bench.methods.conddiff import CondDiff, CondDiffParams, CondDiffTraining  # noqa: E402
from amodal_bench.methods.conddiff.network import Network  # noqa: E402
from amodal_bench.plugin import Runtime  # noqa: E402
from amodal_bench.store.spec import resolved  # noqa: E402
from amodal_bench.types import AmodalQuery, Mask  # noqa: E402

Make = Callable[..., CondDiff]


def queries(count: int, shape: tuple[int, int] = (48, 70)) -> list[AmodalQuery]:
    rng = np.random.default_rng(count)
    made = []
    for number in range(count):
        visible = np.zeros(shape, dtype=np.bool_)
        top, left = rng.integers(0, shape[0] - 12), rng.integers(0, shape[1] - 12)
        visible[top : top + 12, left : left + 9] = True
        image = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
        made.append(AmodalQuery(f"made/test/{number}/0", str(number), image, visible))
    return made


def answers(method: CondDiff, asked: Sequence[AmodalQuery], batch: int, seeds: Sequence[int]) -> list[Mask]:
    return [
        mask
        for start in range(0, len(asked), batch)
        for mask in method.predict(asked[start : start + batch], seeds[start : start + batch])
    ]


@pytest.mark.parametrize("crop", [{"mode": "box"}, {"mode": "square", "masks": "area"}, {"mode": "none"}])
@pytest.mark.parametrize("sampler", ["posterior", "ust_renoise"])
def test_batches_of_one_and_of_eight_give_the_same_masks(method: Make, crop: dict[str, Any], sampler: str) -> None:
    made = method(crop=crop, diffusion={"noise_d": 11.6, "steps": 2, "sampler": sampler}, forward_batch=8)
    asked, seeds = queries(11), list(range(100, 111))
    one, eight = answers(made, asked, 1, seeds), answers(made, asked, 8, seeds)
    assert all(np.array_equal(a, b) for a, b in zip(one, eight, strict=True))
    assert len({mask.tobytes() for mask in one}) > 1


def test_the_seed_is_the_only_chance(method: Make) -> None:
    made, asked = method(vgpe={"ensemble": False}, diffusion={"noise_d": 64, "steps": 1}), queries(2)
    first, again, other = (made.predict(asked, seeds) for seeds in ([1, 2], [1, 2], [3, 4]))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("shape", [(1, 9), (7, 5), (300, 40)])
@pytest.mark.parametrize("what", ["pixel", "full"])
def test_the_smallest_and_the_largest_visible_mask(method: Make, shape: tuple[int, int], what: str) -> None:
    visible = np.ones(shape, dtype=np.bool_) if what == "full" else np.zeros(shape, dtype=np.bool_)
    visible[shape[0] // 2, shape[1] // 2] = True
    query = AmodalQuery("made/test/0/0", "0", np.zeros((*shape, 3), dtype=np.uint8), visible)
    for crop in ("box", "square", "none"):
        made = method(crop={"mode": crop}, union_visible=True, diffusion={"noise_d": 11.6, "steps": 2})
        (mask,) = made.predict([query], [0])
        assert mask.shape == shape
        assert mask.dtype == np.bool_
        assert mask[visible].all()


def test_the_ensemble_keeps_what_is_visible(method: Make) -> None:
    """Half of the votes are the visible mask's own, and a tie is foreground; nothing is lost at the network's size."""
    asked = queries(3, (64, 64))
    made = method(diffusion={"noise_d": 11.6, "steps": 4})
    for query, mask in zip(asked, made.predict(asked, [1, 2, 3]), strict=True):
        assert (mask & query.visible).sum() > 0.99 * query.visible.sum()


def test_predicting_before_loading_is_an_error(tiny: CondDiffParams) -> None:
    with pytest.raises(RuntimeError, match="before load"):
        CondDiff(tiny).predict(queries(1), [0])
    with pytest.raises(WeightsNotFound, match="amodal-bench train"):
        CondDiff(tiny).load(Runtime())


def saved(path: Path, params: CondDiffParams, half: bool = False, **metadata: str) -> Path:
    weights.save(Network(params.model), path, {"params": json.dumps(resolved(params)), **metadata}, half)
    return path


def test_weights_come_back_from_disk(tiny: CondDiffParams, tmp_path: Path) -> None:
    path = saved(tmp_path / "model.safetensors", tiny)
    first, second = CondDiff(tiny), CondDiff(tiny)
    first.load(Runtime(checkpoint=path))
    second.load(Runtime(checkpoint=path))
    asked = queries(2)
    masks = zip(first.predict(asked, [1, 2]), second.predict(asked, [1, 2]), strict=True)
    assert all(np.array_equal(a, b) for a, b in masks)


def test_half_precision_halves_the_file(tiny: CondDiffParams, tmp_path: Path) -> None:
    whole, half = saved(tmp_path / "a.safetensors", tiny), saved(tmp_path / "b.safetensors", tiny, half=True)
    assert half.stat().st_size < 0.55 * whole.stat().st_size
    method = CondDiff(tiny)
    method.load(Runtime(checkpoint=half))
    assert len(method.predict(queries(1), [0])) == 1


def test_weights_of_another_network_are_refused_naming_the_first_tensors(tiny: CondDiffParams, tmp_path: Path) -> None:
    path = saved(tmp_path / "model.safetensors", tiny)
    wider = CondDiffParams.model_validate({**tiny.model_dump(), "model": {**tiny.model.model_dump(), "width": 48}})
    expected = r"(?s)does not fit this network \(\d+ tensors differ\):\n  dn\.\S+ is \(32, .* and \d+ more"
    with pytest.raises(Refused, match=expected):
        CondDiff(wider).load(Runtime(checkpoint=path))
    without = CondDiffParams.model_validate({**tiny.model_dump(), "model": {**tiny.model.model_dump(), "token": False}})
    with pytest.raises(Refused, match=r"unknown pcn\.time\.0\.net\.0\.weight \(64, 16\)"):
        CondDiff(without).load(Runtime(checkpoint=path))


def test_metadata_says_beforehand_what_does_not_fit(tiny: CondDiffParams) -> None:
    metadata = {"params": json.dumps(resolved(tiny))}
    changed = tiny.model_dump()
    changed["model"]["width"] = 48
    changed["diffusion"]["noise_d"] = 3.0
    with pytest.raises(Refused, match=r"model\.width: trained with 32, asked for 48\n.*noise_d: trained with 11\.6"):
        CondDiff(CondDiffParams.model_validate(changed)).check_weights(metadata)
    sampling = {**tiny.model_dump(), "vgpe": {"ensemble": False}, "crop": {"mode": "box"}}
    sampling["diffusion"]["steps"] = 3
    CondDiff(CondDiffParams.model_validate(sampling)).check_weights(metadata)


@pytest.mark.parametrize(
    ("trained", "asked", "fault"),
    [
        ({"ust_schedule": "tied"}, {}, r"  diffusion\.ust_schedule: trained with 'tied', asked for 'linear'$"),
        ({}, {"ust_schedule": "segrefiner"}, r"ust_schedule: trained with 'linear', asked for 'segrefiner'$"),
        (
            {"ust_schedule": "segrefiner"},
            {"ust_schedule": "segrefiner", "ust_start": 0.9},
            r"parameters:\n  diffusion\.ust_start: trained with 0\.8, asked for 0\.9$",
        ),
        ({"ust_start": 0.9}, {}, None),  # of another schedule
        (
            {"forward": "gaussian_gt", "ust_schedule": "tied"},
            {"forward": "gaussian_gt"},
            None,  # no UST in either
        ),
        ({"x0_map": "sigmoid", "sampler": "ust_renoise", "steps": 3}, {}, None),  # of sampling
    ],
)
def test_weights_are_bound_to_how_ust_thinned(trained: Any, asked: Any, fault: str | None) -> None:
    stored, params = (CondDiffParams.model_validate({"diffusion": change}) for change in (trained, asked))
    metadata = {"params": json.dumps(resolved(stored))}
    if fault is None:
        CondDiff(params).check_weights(metadata)
        return
    with pytest.raises(Refused, match=fault):
        CondDiff(params).check_weights(metadata)


def test_weights_that_do_not_state_a_parameter_were_made_with_its_default(tiny: CondDiffParams) -> None:
    """Headers from before a parameter came, or of weights that were made elsewhere."""
    stored = resolved(tiny)
    del stored["diffusion"]["ust_schedule"]
    assert "vm_kernel" not in stored["model"]
    metadata = {"params": json.dumps(stored)}
    CondDiff(tiny).check_weights(metadata)
    changed = tiny.model_dump()
    changed["model"]["vm_kernel"] = 3
    changed["diffusion"]["ust_schedule"] = "tied"
    fault = r"model\.vm_kernel: trained with 1, asked for 3\n.*ust_schedule: trained with 'linear', asked for 'tied'$"
    with pytest.raises(Refused, match=fault):
        CondDiff(CondDiffParams.model_validate(changed)).check_weights(metadata)


def test_parameters_that_came_later_change_no_key_at_their_default() -> None:
    """As the runs and weights that are kept have it: none of the newer names."""
    kept = {
        "model": {
            "backbone", "depths", "dims", "heads", "mlp_ratios", "size", "width", "use_vm", "vm_input", "zoe", "token",
            "ocr", "ocr_width", "ocr_dilations", "ocr_residual", "fusion", "afg_kernel",
        },
        "diffusion": {"noise_d", "forward", "ust_schedule", "ust_start", "ust_stop", "sampler", "steps"},
        "vgpe": {"constrain", "ensemble", "vote", "scale"},
    }  # fmt: skip
    params = resolved(CondDiffParams())
    assert {part: set(params[part]) for part in kept} == kept
    assert not {"times", "vm_start", "drop_path_joint"} & set(resolved(CondDiffTraining()))
    asked: dict[str, dict[str, Any]] = {
        "model": {"vm_kernel": 3},
        "diffusion": {"x0_map": "sigmoid"},
        "vgpe": {"first_step": 1},
    }
    changed = resolved(CondDiffParams.model_validate(asked))
    assert all(changed[part][name] == value for part, values in asked.items() for name, value in values.items())


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", '{"model": 3}', "[" * 9999])
def test_metadata_that_is_damaged_is_refused(tiny: CondDiffParams, text: str) -> None:
    with pytest.raises(Refused, match="the parameters in the header of these weights"):
        CondDiff(tiny).check_weights({"params": text})
    with pytest.raises(Refused, match=r"diffusion\.noise_d: trained with \{\}, asked for"):
        CondDiff(tiny).check_weights({"params": json.dumps({**resolved(tiny), "diffusion": "linear"})})


def test_a_file_that_was_cut_off_is_refused(tiny: CondDiffParams, tmp_path: Path) -> None:
    path = saved(tmp_path / "model.safetensors", tiny)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(Refused, match="not a whole checkpoint of tensors"):
        CondDiff(tiny).load(Runtime(checkpoint=path))
    path.write_bytes(struct.pack("<Q", 10**9))
    with pytest.raises(Refused, match="not a whole checkpoint of tensors"):
        CondDiff(tiny).load(Runtime(checkpoint=path))


def test_the_papers_network_runs_one_instance(tmp_path: Path) -> None:
    """PVTv2-B4 at 256 pixels, two of its ten steps, random weights."""
    params = CondDiffParams.model_validate({"diffusion": {"steps": 2}, "forward_batch": 1})
    torch.manual_seed(0)
    method = CondDiff(params)
    method.use(Network(params.model), "cpu")
    (mask,) = method.predict(queries(1, (120, 200)), [0])
    assert mask.shape == (120, 200)


def test_an_unknown_parameter_is_refused() -> None:
    with pytest.raises(ValueError, match="Extra inputs are not permitted"):
        CondDiffParams.model_validate({"model": {"depth": 3}})
    with pytest.raises(ValueError, match="multiple of 32"):
        CondDiffParams.model_validate({"model": {"size": 100}})
    with pytest.raises(ValueError, match="can not come back"):
        CondDiffParams.model_validate({"diffusion": {"ust_start": 0.1, "ust_stop": 0.5}})


def test_averaged_over_its_mirror_a_prediction_knows_no_left_and_right(method: Make) -> None:
    """Each of the two passes takes the other's place for a mirrored image, noise and all."""
    asked = queries(5, (64, 64))
    mirrored = [AmodalQuery(q.id, q.image_id, q.image[:, ::-1].copy(), q.visible[:, ::-1].copy()) for q in asked]
    for average in (True, False):
        made = method(flip_average=average, diffusion={"noise_d": 64, "steps": 3})
        masks, others = made.predict(asked, range(5)), made.predict(mirrored, range(5))
        assert all(np.array_equal(a, b[:, ::-1]) for a, b in zip(masks, others, strict=True)) == average


def test_a_higher_threshold_leaves_fewer_pixels_and_all_that_are_seen(method: Make) -> None:
    asked = queries(3, (64, 64))
    found = [
        method(threshold=above, union_visible=True, diffusion={"noise_d": 64, "steps": 1}, flip_average=True).predict(
            asked, range(3)
        )
        for above in (0.5, 0.6, 0.7)
    ]
    for query, low, middle, high in zip(asked, *found, strict=True):
        assert (high & ~middle).sum() == (middle & ~low).sum() == (query.visible & ~high).sum() == 0
    counts = [sum(int(mask.sum()) for mask in masks) for masks in found]
    assert counts[0] > counts[1] > counts[2]
