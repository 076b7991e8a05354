"""The sampler against a second one that is written from the equations, to the bit; and that faults would be seen."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import cycle, product
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("timm")

from amodal_bench.methods.conddiff import CondDiffParams  # noqa: E402
from amodal_bench.methods.conddiff import sampler as module  # noqa: E402
from amodal_bench.methods.conddiff.network import Network  # noqa: E402
from tests.methods.conddiff.plain_sampler import plain_sample  # noqa: E402

sampler: Any = module  # its imports are what the faults below replace
SIZE, SEEDS = 32, [5, 6]
MODEL: dict[str, Any] = {
    "backbone": "pvt_v2_b0", "depths": (1, 1, 1, 1), "dims": (16, 32, 40, 64), "size": SIZE, "width": 32, "ocr": False,
}  # fmt: skip


@cache
def noisy_network() -> Any:
    """A tiny network with noise on every weight, so that x_t, image, visible mask and time all count."""
    torch.manual_seed(0)
    network = Network(params().model).eval()
    with torch.inference_mode():
        for weight in network.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
        network.dn.up[3][1].bias.add_(2)  # the last ReLU lets most through
        network.dn.head[1].bias.zero_()
        x, image, visible = shown()
        logits = network(torch.randn(x.shape), image / 255, visible.float(), torch.tensor([-5.0]))
        network.dn.head[1].weight.div_(logits.std())  # logits of spread 1 about 0
        network.dn.head[1].bias.sub_(logits.median() / logits.std())
    return network


@cache
def shown() -> tuple[Any, Any, Any]:
    """A first x, images and visible masks: a block each."""
    generator = torch.Generator().manual_seed(1)
    image = torch.randint(0, 256, (len(SEEDS), 3, SIZE, SIZE), generator=generator, dtype=torch.uint8)
    visible = torch.zeros(len(SEEDS), 1, SIZE, SIZE, dtype=torch.bool)
    for number in range(len(SEEDS)):
        visible[number, 0, 4 + 5 * number : 16 + 5 * number, 6:20] = True
    return torch.randn(len(SEEDS), 1, SIZE, SIZE, generator=generator), image, visible


def params(vgpe: Any = None, **diffusion: Any) -> CondDiffParams:
    """Four steps unless told otherwise: two that VGPE leaves free and two that it holds."""
    noise = {"noise_d": 5.8, "steps": 4, **diffusion}
    return CondDiffParams.model_validate({"model": MODEL, "diffusion": noise, "vgpe": vgpe or {}})


def both(asked: CondDiffParams) -> tuple[Any, Any]:
    """Answers of the package's sampler and of the plain one."""
    _, image, visible = shown()
    found = sampler.sample(noisy_network(), image, visible, SEEDS, asked, "cpu")
    return found, plainly(asked)


@cache
def plainly(asked: CondDiffParams) -> Any:
    """The plain sampler's answer; no fault that is put into the package's reaches it."""
    _, image, visible = shown()
    return plain_sample(noisy_network(), image, visible, SEEDS, asked)


# What training noised is no part of sampling (a test of its own says so), so it takes turns instead of a loop.
FORWARD = cycle(("ust", "gaussian_gt", "gaussian_visible"))
LOOPS: list[dict[str, Any]] = [
    {"ust_schedule": schedule, "sampler": kind, "x0_map": x0_map, "vgpe": held, "forward": next(FORWARD)}
    for held, schedule, x0_map, kind in product(
        ({"constrain": False}, {"constrain": True, "first_step": 0}, {"constrain": True, "first_step": 1}),
        ("linear", "segrefiner", "tied"),
        ("tanh", "sigmoid"),
        ("posterior", "ust_renoise"),
    )
]
ANSWERS: list[dict[str, Any]] = [
    {"ensemble": True, "vote": "ge", "scale": "affine"}, {"ensemble": False}, {"ensemble": True, "vote": "gt"},
    {"ensemble": True, "scale": "minmax"}, {"ensemble": True, "vote": "gt", "scale": "minmax"},
]  # fmt: skip
STEPS = (4, 3, 4, 5, 4, 10, 4)  # seven, so that no switch above takes turns with them
MIXED = [
    {**loop, "vgpe": {**loop["vgpe"], **answer}, "steps": steps}
    for loop, answer, steps in zip(LOOPS, cycle(ANSWERS), cycle(STEPS), strict=False)
]
WHOLE = [
    {"sampler": kind, "vgpe": {**answer, "constrain": held}}
    for kind, answer, held in product(("posterior", "ust_renoise"), ANSWERS, (True, False))
]


def name_of(variant: dict[str, Any]) -> str:
    return "-".join(str(value) for value in {**variant, **variant["vgpe"]}.values() if not isinstance(value, dict))


@pytest.mark.parametrize("variant", [*MIXED, *WHOLE, {"vgpe": {}, "steps": 1}], ids=name_of)
def test_the_sampler_is_the_papers_to_the_bit(variant: dict[str, Any]) -> None:
    found, wanted = both(params(**variant))
    assert torch.equal(found, wanted)


def test_the_network_of_these_tests_is_undecided_and_heeds_all_it_is_shown() -> None:
    x, image, visible = shown()
    image = image / 255

    def says(*inputs: Any, snr: float = -5.0) -> Any:
        with torch.inference_mode():
            return noisy_network()(*inputs, torch.tensor([snr])).tanh()

    usual = says(x, image, visible.float())
    assert 0.2 < float((usual > 0).float().mean()) < 0.8
    assert float((usual.abs() < 0.9).float().mean()) > 0.5
    for other in (says(-x, image, visible.float()), says(x, 1 - image, visible.float()),
                  says(x, image, 1 - visible.float()), says(x, image, visible.float(), snr=2.0)):  # fmt: skip
        assert float((usual - other).abs().mean()) > 0.01


def test_no_two_variants_of_a_switch_answer_alike() -> None:
    """A switch that did nothing would pass above if the plain sampler missed it too."""
    held = {"constrain": True, "first_step": 0}
    base = {"sampler": "ust_renoise", "ust_schedule": "linear", "vgpe": held}
    others: list[dict[str, Any]] = [
        {"sampler": "posterior"}, {"ust_schedule": "segrefiner"}, {"ust_schedule": "tied"}, {"x0_map": "sigmoid"},
        {"steps": 5}, {"vgpe": {"constrain": False}}, {"vgpe": {**held, "first_step": 1}},
        {"vgpe": {"ensemble": False}}, {"vgpe": {"vote": "gt"}}, {"vgpe": {"scale": "minmax"}},
    ]  # fmt: skip
    answers = [both(params(**{**base, **other}))[0] for other in ({}, *others)]
    assert len({answer.numpy().tobytes() for answer in answers}) == len(answers)


def test_what_training_noised_changes_no_sampling() -> None:
    answers = {both(params(forward=kind))[0].numpy().tobytes() for kind in ("ust", "gaussian_gt", "gaussian_visible")}
    assert len(answers) == 1


Patch = Callable[[pytest.MonkeyPatch], None]


def no_noise_in_the_reverse_step(patch: pytest.MonkeyPatch) -> None:
    steps = sampler.reverse_steps
    patch.setattr(sampler, "reverse_steps", lambda *a: [replace(step, deviation=0.0) for step in steps(*a)])


def held_from_the_wrong_end(patch: pytest.MonkeyPatch) -> None:
    held = sampler.constrained
    patch.setattr(sampler, "constrained", lambda x0, seen, step, steps: held(x0, seen, steps - 1 - step, steps))


def the_free_prediction_in_equation_3(patch: pytest.MonkeyPatch) -> None:
    held, after = sampler.constrained, sampler._next
    free: list[Any] = []

    def remembering(x0: Any, *rest: Any) -> Any:
        free.append(x0)
        return held(x0, *rest)

    patch.setattr(sampler, "constrained", remembering)
    patch.setattr(sampler, "_next", lambda x, x0, *rest: after(x, free[-1], *rest))


def half_the_logit(patch: pytest.MonkeyPatch) -> None:
    said = sampler.predicted_mask
    patch.setattr(sampler, "predicted_mask", lambda logits, how: said(logits / 2, how))


def the_next_time_told(patch: pytest.MonkeyPatch) -> None:
    steps = sampler.reverse_steps
    patch.setattr(sampler, "reverse_steps", lambda *a: [replace(step, snr=step.snr_next) for step in steps(*a)])


def images_as_they_are(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sampler, "normalised", lambda image: image.float())


def x_never_moved(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sampler, "_next", lambda x, *rest: x)


def the_first_step_alone_votes(patch: pytest.MonkeyPatch) -> None:
    add = sampler.Ensemble.add
    patch.setattr(sampler.Ensemble, "add", lambda self, x0: None if self._count else add(self, x0))


def one_chance_for_all(patch: pytest.MonkeyPatch) -> None:
    normal = sampler.Noise.normal
    patch.setattr(sampler.Noise, "normal", lambda self: normal(self)[:1].expand(len(SEEDS), -1, -1, -1))


def noise_at_the_time_before(patch: pytest.MonkeyPatch) -> None:
    after = sampler._next
    patch.setattr(sampler, "_next", lambda x, x0, seen, step, *rest: after(
        x, x0, seen, replace(step, snr_next=step.snr), *rest))  # fmt: skip


def thinned_for_the_time_before(patch: pytest.MonkeyPatch) -> None:
    keep = sampler.keep_probability
    patch.setattr(sampler, "keep_probability", lambda t, *rest: keep(t + 0.1, *rest))


def thinned_to_nothing(patch: pytest.MonkeyPatch) -> None:
    thin = sampler.ust
    patch.setattr(sampler, "ust", lambda mask, seen, keep, uniform: thin(mask, 0 * seen, keep, uniform))


OF_BOTH: list[Patch] = [
    held_from_the_wrong_end, the_free_prediction_in_equation_3, half_the_logit, the_next_time_told, images_as_they_are,
    x_never_moved, the_first_step_alone_votes, one_chance_for_all,
]  # fmt: skip
MUTANTS: list[tuple[str, Patch]] = [
    *(("posterior", fault) for fault in [no_noise_in_the_reverse_step, *OF_BOTH]),
    *(("ust_renoise", fault) for fault in [
        noise_at_the_time_before, thinned_for_the_time_before, thinned_to_nothing,
        *(fault for fault in OF_BOTH if fault is not half_the_logit),
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "fault"), MUTANTS)
def test_a_fault_of_the_sampler_is_seen(kind: str, fault: Patch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each parts the two samplers, which are equal without: by pixels of the answer, not by rounding."""
    fault(monkeypatch)
    found, wanted = both(params(sampler=kind))
    assert float(((found > 0.5) != (wanted > 0.5)).float().mean()) > 0.002
