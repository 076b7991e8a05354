"""The samplers with a perfect denoiser: what is wrong with its samples is the sampler's doing (docs/iterating.md)."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from amodal_bench.methods.conddiff import CondDiffParams  # noqa: E402
from amodal_bench.methods.conddiff.diffusion import diffuse, log_snr  # noqa: E402

ROOT = Path(__file__).parents[3]


def program() -> Any:
    """The benchmark as a module: the folder of benchmarks is on nobody's path, its names are those of libraries."""
    spec = spec_from_file_location("iterating_program", ROOT / "benchmarks" / "iterating.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


iterating = program()
LENGTHS, SIZE, ExactDenoiser = iterating.LENGTHS, iterating.SIZE, iterating.ExactDenoiser
draw, judged, time_of, variants = iterating.draw, iterating.judged, iterating.time_of, iterating.variants
visible_bar, whole_bars = iterating.visible_bar, iterating.whole_bars

EXACT: dict[str, Any] = {"x0_map": "sigmoid", "steps": 10}
PAGE = ROOT / "docs" / "iterating.md"


def test_the_schedule_can_be_read_backwards() -> None:
    for t in (0.05, 0.5, 0.95):
        snr = float(log_snr(torch.tensor(t, dtype=torch.float64), 17.5, SIZE))
        assert time_of(snr, 17.5) == pytest.approx(t, abs=1e-9)


@pytest.mark.parametrize("forward", ["ust", "gaussian_gt", "gaussian_visible"])
def test_the_denoiser_is_calibrated_on_what_training_shows(forward: str) -> None:
    """Of the pixels that it calls amodal with probability p, a share p is, on x_t as `diffuse` makes it."""
    generator = torch.Generator().manual_seed(0)
    params = CondDiffParams.model_validate({"model": {"size": SIZE}, "diffusion": {"forward": forward, "noise_d": 32}})
    seen = visible_bar().expand(3000, 1, SIZE, SIZE)
    amodal = whole_bars()[torch.randint(LENGTHS, (3000,), generator=generator)][:, None]
    noise, uniform = torch.randn(amodal.shape, generator=generator), torch.rand(amodal.shape, generator=generator)
    t = torch.full((3000, 1, 1, 1), 0.9)
    x = diffuse(amodal, seen, t, noise, uniform, params.diffusion)
    said = ExactDenoiser(params).step(None, x, log_snr(t.flatten()[:1], 32, SIZE)).sigmoid()
    unsure = (said > 0.02) & (said < 0.98)
    assert float(unsure.float().mean()) > 0.03
    for low in (0.02, 0.25, 0.5, 0.75):
        these = unsure & (said >= low) & (said < low + 0.25)
        assert float(amodal[these].mean()) == pytest.approx(float(said[these].mean()), abs=0.05)


def test_without_ust_the_posterior_draws_the_lengths_as_they_are() -> None:
    found = draw(200, forward="gaussian_gt", sampler="posterior", **{**EXACT, "steps": 40})
    assert found.mean == pytest.approx(4.5, abs=0.5)
    assert found.longest < 0.25
    assert min(found.shares[2:]) > 0.03


def test_under_ust_the_posterior_grows_the_hidden_part() -> None:
    """A fact about Eq. 3 with UST, not a wish: if this fails, the page and the parameter's text must change."""
    found = draw(200, forward="ust", sampler="posterior", **EXACT)
    assert found.mean > 7
    assert found.longest > 0.6


def test_thinned_again_the_hidden_part_keeps_its_size() -> None:
    found = draw(200, forward="ust", sampler="ust_renoise", **EXACT)
    assert found.mean == pytest.approx(4.5, abs=0.6)
    assert found.longest < 0.25


def test_a_perfect_denoiser_loses_by_iterating() -> None:
    """One call answers what is most likely pixel by pixel; a sample is one of the answers."""
    one, ten = (draw(200, forward="gaussian_gt", **{**EXACT, "steps": steps}).inv for steps in (1, 10))
    assert one - ten > 2
    assert one < 64.7  # no fixed answer has more: five units


def test_lengths_and_ious_are_counted_right() -> None:
    found = judged(whole_bars() > 0)
    assert found.shares == [0, *[1 / 8] * 8]
    assert (found.mean, found.inv) == pytest.approx((4.5, 56.25))
    assert judged(whole_bars()[[4, 4]] > 0).inv == pytest.approx(64.66, abs=0.01)


def test_the_page_has_a_row_for_every_variant_of_the_program() -> None:
    rows = [[cell.strip() for cell in line.split("|")[1:8]] for line in PAGE.read_text().splitlines()]
    told = [row for row in rows if row and row[0] in ("ust", "gaussian_gt")]
    assert told == [
        [
            asked["forward"], asked["sampler"], asked["x0_map"], "on" if asked.get("vgpe") else "off",
            f"{asked.get('noise_d', SIZE):g}", str(asked["steps"]), str(asked.get("votes", 1)),
        ]
        for asked in variants()
    ]  # fmt: skip
    assert "python benchmarks/iterating.py --samples" in PAGE.read_text()
