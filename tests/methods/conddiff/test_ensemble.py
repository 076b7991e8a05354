"""VGPE against a short reference that keeps the whole history."""

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from amodal_bench.methods.conddiff.ensemble import Ensemble, constrained  # noqa: E402
from amodal_bench.methods.conddiff.params import Vgpe  # noqa: E402


def reference(history: list[Any], visible: Any, params: Vgpe) -> Any:
    """Eq. 11-12: floor(mean of the binary predictions + 1/2) times the mean prediction in [0, 1]."""
    kept = []
    for i, x0 in enumerate(history):
        late = params.constrain and 2 * i >= len(history)
        kept.append(torch.where(visible > 0, torch.ones_like(x0), x0) if late else x0)
    if not params.ensemble:
        return (kept[-1] + 1) / 2
    stack = torch.stack(kept)
    share = (stack > 0).double().mean(0)
    gate = torch.floor(share + 0.5) if params.vote == "ge" else (share > 0.5).double()
    mean = stack.mean(0)
    if params.scale == "affine":
        return gate * (mean + 1) / 2
    low, high = mean.amin((1, 2, 3), True), mean.amax((1, 2, 3), True)
    return gate * (mean - low) / (high - low)


@pytest.mark.parametrize("constrain", [True, False])
@pytest.mark.parametrize("ensemble", [True, False])
@pytest.mark.parametrize("vote", ["ge", "gt"])
@pytest.mark.parametrize("scale", ["affine", "minmax"])
@pytest.mark.parametrize("steps", [1, 5, 10])
def test_running_sums_equal_the_whole_history(
    constrain: bool, ensemble: bool, vote: str, scale: str, steps: int
) -> None:
    params = Vgpe.model_validate({"constrain": constrain, "ensemble": ensemble, "vote": vote, "scale": scale})
    generator = torch.Generator().manual_seed(steps)
    history = [torch.rand(2, 1, 8, 8, generator=generator, dtype=torch.float64) * 2 - 1 for _ in range(steps)]
    visible = (torch.rand(2, 1, 8, 8, generator=generator) > 0.5).double()
    found = Ensemble(params)
    for number, x0 in enumerate(history):
        found.add(constrained(x0, visible, number, steps) if constrain else x0)
    assert torch.allclose(found.probability(), reference(history, visible, params), atol=1e-12)


@pytest.mark.parametrize(("vote", "wanted"), [("ge", True), ("gt", False)])
def test_a_tie_is_foreground_by_equation_12(vote: str, wanted: bool) -> None:
    ensemble = Ensemble(Vgpe.model_validate({"vote": vote}))
    for value in (0.9, 0.9, -0.5, -0.5):
        ensemble.add(torch.full((1, 1, 2, 2), value))
    assert bool((ensemble.probability() > 0.5).all()) is wanted


def test_visible_pixels_are_kept_from_the_middle_step_on() -> None:
    x0, visible = torch.full((1, 1, 2, 2), -0.9), torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    assert torch.equal(constrained(x0, visible, 4, 10), x0)
    assert constrained(x0, visible, 5, 10).flatten().tolist() == pytest.approx([1.0, -0.9, -0.9, -0.9])


def test_an_ensemble_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no prediction yet"):
        Ensemble(Vgpe()).probability()
