"""Chance by (seed, step, row): the same in any process, and as it should be spread."""

import math

import pytest
import torch

from amodal_bench.methods._training.chance import Chance


def draws(chance: Chance) -> list[torch.Tensor]:
    return [chance.uniform(1, 1), chance.normal(3, 5), chance.uniform(4), chance.normal()]


@pytest.mark.parametrize("shares", [[[0, 2], [1, 3]], [[0, 1], [2, 3]], [[3], [2], [1], [0]]])
def test_a_row_has_its_numbers_whoever_draws_them(shares: list[list[int]]) -> None:
    whole = draws(Chance(7, 11, range(4)))
    for rows in shares:
        for mine, all_of_them in zip(draws(Chance(7, 11, rows)), whole, strict=True):
            assert torch.equal(mine, all_of_them[rows])


def test_seeds_steps_rows_and_calls_draw_differently() -> None:
    found = []
    for seed, step, row in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]:
        chance = Chance(seed, step, [row])
        found += [chance.uniform(64), chance.uniform(64)]
    assert len({tuple(values.flatten().tolist()) for values in found}) == len(found)


def test_the_first_numbers_are_those_of_the_formula() -> None:
    """splitmix64 in whole numbers of Python."""
    from amodal_bench.methods._training.schedule import step_seed

    found = Chance(5, 6, [7]).uniform(4)[0].tolist()
    words = []
    for counter in (1, 2):
        word = (step_seed(step_seed(5, 6, 7), 1, 0) + counter * 0x9E3779B97F4A7C15) % (1 << 64)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            word = (word ^ word >> shift) * factor % (1 << 64)
        words.append(word ^ word >> 31)
    expected = [word >> 40 for word in words] + [word >> 16 & 0xFFFFFF for word in words]
    assert found == [number / (1 << 24) for number in expected]


def test_numbers_are_spread_as_they_should_be() -> None:
    chance, count = Chance(1, 2, range(16)), 16 * 128 * 128
    normal, uniform = chance.normal(128, 128).double(), chance.uniform(128, 128).double()
    for numbers, mean, variance in ((normal, 0, 1), (uniform, 0.5, 1 / 12)):
        assert abs(float(numbers.mean()) - mean) < 4 * math.sqrt(variance / count)
        assert float(numbers.var()) == pytest.approx(variance, rel=0.01)
        centred = numbers - mean
        for neighbours in (centred[:, 1:] * centred[:, :-1], centred[1:] * centred[:-1]):
            assert abs(float(neighbours.mean())) < 4 * variance / math.sqrt(count)
    assert float((normal**4).mean()) == pytest.approx(3, rel=0.02)
    assert 0 <= float(uniform.min()) < float(uniform.max()) < 1
    sorted_uniform = uniform.flatten().sort().values
    assert float((sorted_uniform - torch.linspace(0, 1, count)).abs().max()) < 1.63 / math.sqrt(count)
