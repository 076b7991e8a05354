"""The schedule, the forward process and the reverse step against their equations and known tables."""

import math
from itertools import pairwise
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from amodal_bench.methods._training.chance import Chance  # noqa: E402
from amodal_bench.methods.conddiff.diffusion import (  # noqa: E402
    alpha_sigma,
    diffuse,
    draw_times,
    keep_probability,
    log_snr,
    posterior,
    predicted_mask,
    reverse_steps,
    ust,
)
from amodal_bench.methods.conddiff.params import Diffusion, Times  # noqa: E402

GRID = torch.linspace(1, 0, 11, dtype=torch.float64)
ALPHA = [1.0e-4, 0.029, 0.059, 0.092, 0.131, 0.179, 0.243, 0.336, 0.488, 0.753, 1.0]


def test_the_schedule_is_the_one_of_the_paper() -> None:
    snr = log_snr(GRID, 46.5, 256)
    alpha, sigma = alpha_sigma(snr)
    assert alpha.tolist() == pytest.approx(ALPHA, abs=6e-4)
    assert float(sigma[-1]) == pytest.approx(0.003, abs=5e-4)
    assert (snr[0].item(), snr[-1].item()) == pytest.approx((-18.41, 11.59), abs=0.01)
    assert torch.allclose(alpha**2 + sigma**2, torch.ones(11, dtype=torch.float64))


def test_the_shift_is_two_log_noise_d_over_size() -> None:
    t = torch.tensor([0.5], dtype=torch.float64)
    assert float(log_snr(t, 64, 64)) == pytest.approx(0, abs=1e-9)
    assert float(log_snr(t, 32, 64)) == pytest.approx(2 * math.log(0.5))


def test_the_reverse_step_is_equation_3() -> None:
    """mean = (sqrt(abar') beta x0 + sqrt(alpha) (1 - abar') x_t) / (1 - abar), var = (1 - abar') beta / (1 - abar)."""
    for now, then in pairwise(log_snr(GRID, 46.5, 256)):
        step = posterior(float(now), float(then))
        abar, abar_next = torch.sigmoid(now), torch.sigmoid(then)
        rest, rest_next = torch.sigmoid(-now), torch.sigmoid(-then)
        alpha = abar / abar_next
        beta = 1 - alpha
        assert step.x0_scale == pytest.approx(float(torch.sqrt(abar_next) * beta / rest), abs=1e-12)
        assert step.x_scale == pytest.approx(float(torch.sqrt(alpha) * rest_next / rest), abs=1e-12)
        assert step.deviation == pytest.approx(float(torch.sqrt(rest_next * beta / rest)), abs=1e-12)


def test_the_coefficients_of_ten_steps() -> None:
    steps = reverse_steps(Diffusion(), 256)
    wanted = [
        (0.003, 0.029, 1.0), (0.49, 0.045, 0.87), (0.64, 0.055, 0.77), (0.70, 0.067, 0.71), (0.72, 0.084, 0.68),
        (0.72, 0.115, 0.67), (0.68, 0.171, 0.67), (0.59, 0.289, 0.67), (0.37, 0.573, 0.57), (0.0, 1.0, 0.003),
    ]  # fmt: skip
    found = [value for step in steps for value in (step.x_scale, step.x0_scale, step.deviation)]
    assert found == pytest.approx([value for row in wanted for value in row], abs=6e-3)


def gumbel_step(amodal: Any, keep: float, generator: Any) -> Any:
    """One transition of Eq. 4 by Gumbel-max over the classes (amodal, visible); visible is absorbing."""
    weights = torch.tensor([max(keep, 1e-300), max(1 - keep, 1e-300)], dtype=torch.float64).log()
    uniform = torch.rand((*amodal.shape, 2), generator=generator, dtype=torch.float64)
    gumbel = -torch.log(-torch.log(uniform.clamp(1e-300, 1 - 1e-16)))
    return amodal & ((weights + gumbel).argmax(-1) == 0)


def test_ten_gumbel_steps_have_the_closed_forms_marginal() -> None:
    generator = torch.Generator().manual_seed(0)
    still = torch.ones(200_000, dtype=torch.bool)
    kept = keep_probability(torch.linspace(0, 1, 11), Diffusion(), 64).tolist()
    for before, after in pairwise(kept):
        still = gumbel_step(still, after / before, generator)
        drawn = torch.rand(200_000, generator=generator) < after
        assert float(still.double().mean()) == pytest.approx(after, abs=0.004)
        assert float(drawn.double().mean()) == pytest.approx(after, abs=0.004)


def test_the_transition_changes_only_pixels_in_which_the_masks_differ() -> None:
    generator = torch.Generator().manual_seed(1)
    amodal, visible, uniform = (torch.rand(1, 1, 64, 64, generator=generator) for _ in range(3))
    amodal, visible = (amodal > 0.4).float(), (visible > 0.6).float()
    mixed = ust(amodal, visible, torch.tensor(0.3), uniform)
    assert torch.equal(mixed[amodal == visible], amodal[amodal == visible])
    assert set(mixed.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(ust(amodal, visible, torch.tensor(1.0), uniform), amodal)
    assert torch.equal(ust(amodal, visible, torch.tensor(0.0), uniform), visible)


@pytest.mark.parametrize(
    ("schedule", "ends"), [("linear", (1.0, 0.0)), ("segrefiner", (0.8, 0.0)), ("tied", (1.0, 0.0))]
)
def test_every_ust_schedule_falls_to_the_visible_mask(schedule: str, ends: tuple[float, float]) -> None:
    params = Diffusion.model_validate({"ust_schedule": schedule})
    kept = keep_probability(torch.linspace(0, 1, 50, dtype=torch.float64), params, 256)
    assert (float(kept[0]), float(kept[-1])) == pytest.approx(ends, abs=1e-4)
    assert bool((kept.diff() <= 0).all())


@pytest.mark.parametrize(("forward", "mean"), [("ust", 0.5), ("gaussian_gt", 1.0), ("gaussian_visible", 0.0)])
def test_what_noise_is_added_to(forward: str, mean: float) -> None:
    """With an all-ones amodal and an empty visible mask, the mean of x_t tells the share of amodal pixels."""
    generator = torch.Generator().manual_seed(2)
    shape = (4, 1, 64, 64)
    t = torch.full((4, 1, 1, 1), 0.5)
    noise, uniform = torch.randn(shape, generator=generator), torch.rand(shape, generator=generator)
    params = Diffusion.model_validate({"forward": forward, "noise_d": 64})
    x = diffuse(torch.ones(shape), torch.zeros(shape), t, noise, uniform, params)
    assert float(x.mean() / math.sqrt(0.5) + 1) / 2 == pytest.approx(mean, abs=0.02)


def drawn(asked: dict[str, Any], seed: int) -> Any:
    return draw_times(Chance(seed, 0, range(5_000)), Times.model_validate(asked))


def test_the_times_of_training_are_uniform_as_they_were() -> None:
    """The default draws what was drawn before there was a choice, so that trainings repeat."""
    assert torch.equal(drawn({}, 3), Chance(3, 0, range(5_000)).uniform(1, 1, 1))


@pytest.mark.parametrize(
    ("asked", "low", "mean", "high"),
    [
        ({"low": 0.5}, 0.5, 0.75, 1.0),
        ({"low": 0.2, "high": 0.4}, 0.2, 0.3, 0.4),
        ({"draw": "logit_normal"}, 0.0, 0.5, 1.0),
        ({"draw": "logit_normal", "mean": 1.0, "spread": 0.001}, 0.72, 0.7311, 0.74),
        ({"draw": "logit_normal", "low": 0.5}, 0.5, 0.75, 1.0),
    ],
)
def test_times_keep_to_their_range(asked: dict[str, Any], low: float, mean: float, high: float) -> None:
    times = drawn(asked, 4)
    assert times.shape == (5_000, 1, 1, 1)
    assert low <= float(times.min()) <= float(times.max()) <= high
    assert float(times.mean()) == pytest.approx(mean, abs=0.015)


def test_logit_normal_times_are_normal_before_the_sigmoid() -> None:
    logits = torch.logit(drawn({"draw": "logit_normal", "mean": 0.5, "spread": 0.7}, 5))
    assert (float(logits.mean()), float(logits.std())) == pytest.approx((0.5, 0.7), abs=0.03)


def test_a_range_of_times_without_a_width_is_refused() -> None:
    with pytest.raises(ValueError, match=r"times from low 0\.8 to high 0\.3: give a high above the low"):
        Times(low=0.8, high=0.3)


def test_both_maps_of_the_logits_end_in_plus_and_minus_one_and_agree_in_sign() -> None:
    logits = torch.linspace(-20, 20, 401, dtype=torch.float64)
    sharp, plain = predicted_mask(logits, "tanh"), predicted_mask(logits, "sigmoid")
    assert torch.allclose(sharp, torch.tanh(logits))
    assert torch.allclose(plain, torch.tanh(logits / 2))
    assert torch.equal(sharp.sign(), plain.sign())
