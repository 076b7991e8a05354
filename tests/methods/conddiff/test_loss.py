"""The loss against a loop over pixels."""

import math
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from amodal_bench.methods.conddiff.loss import structure_loss  # noqa: E402
from amodal_bench.methods.conddiff.params import Loss  # noqa: E402


def slow_loss(logits: Any, target: Any, visible: Any, params: Loss) -> float:
    """Eq. 10, pixel by pixel in plain Python."""
    total = 0.0
    half = params.kernel // 2
    for z, y, v in zip(logits.tolist(), target.tolist(), visible.tolist(), strict=True):
        side = len(y[0])
        inside = range(side)
        weights = wbce = plain = common = both = 0.0
        for r in inside:
            for c in inside:
                near = [
                    y[0][i][j]
                    for i in range(r - half, r + half + 1)
                    for j in range(c - half, c + half + 1)
                    if i in inside and j in inside
                ]
                w = 1 + params.boundary * abs(sum(near) / params.kernel**2 - y[0][r][c])
                w *= params.visible if v[0][r][c] else 1
                p = 1 / (1 + math.exp(-z[0][r][c]))
                entropy = -math.log(p if y[0][r][c] else 1 - p)
                weights, wbce, plain = weights + w, wbce + w * entropy, plain + entropy / side**2
                common, both = common + w * p * y[0][r][c], both + w * (p + y[0][r][c])
        wbce = plain if params.legacy_bce else wbce / weights
        total += wbce + 1 - (common + 1) / (both - common + 1)
    return total / len(target)


@pytest.mark.parametrize("changes", [{}, {"legacy_bce": True}, {"visible": 0.3}, {"kernel": 31, "boundary": 2.0}])
def test_the_loss_equals_a_loop(changes: dict[str, Any]) -> None:
    params = Loss.model_validate({"kernel": 7, **changes})
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 1, 12, 12, generator=generator, dtype=torch.float64)
    target = (torch.rand(3, 1, 12, 12, generator=generator) > 0.5).double()
    visible = target * (torch.rand(3, 1, 12, 12, generator=generator) > 0.5)
    found = float(structure_loss(logits, target, visible, params))
    assert found == pytest.approx(slow_loss(logits, target, visible, params), abs=1e-9)


def test_the_weight_at_a_corner_counts_outside_as_background() -> None:
    from amodal_bench.methods.conddiff.loss import boundary_weight

    weight = boundary_weight(torch.ones(1, 1, 64, 64), 31, 5.0)
    assert float(weight[0, 0, 0, 0]) == pytest.approx(1 + 5 * (1 - (16 / 31) ** 2))
    assert float(weight[0, 0, 32, 32]) == pytest.approx(1)
