"""Several samples and their vote."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amodal_bench.errors import Refused, UnknownName
from amodal_bench.plugin import Method, MethodCard, Settings
from amodal_bench.resolve import presets
from amodal_bench.resolve.job import Request, prepare
from amodal_bench.resolve.registry import Registry
from amodal_bench.resolve.voting import Voter, Voting, decide, sample_seed
from amodal_bench.types import AmodalQuery, Mask


def stack(*rows: str) -> Mask:
    return np.array([[[pixel == "1" for pixel in row]] for row in rows])


@pytest.mark.parametrize(
    ("vote", "wanted"), [("majority", "0001"), ("at_least_half", "0011"), ("union", "0111"), ("first", "0101")]
)
def test_votes_of_four(vote: str, wanted: str) -> None:
    masks = stack("0101", "0011", "0011", "0001")
    assert np.array_equal(decide(masks, vote), stack(wanted)[0])


class Chance(Method[Settings]):
    """Pixels by chance of the seed."""

    card = MethodCard(title="Chance")

    def predict(self, queries: Sequence[AmodalQuery], seeds: Sequence[int]) -> list[Mask]:
        return [np.random.default_rng(s).random(q.visible.shape) < 0.5 for q, s in zip(queries, seeds, strict=True)]


def query() -> AmodalQuery:
    return AmodalQuery("a/b/c/0", "c", np.zeros((8, 8, 3), dtype=np.uint8), np.ones((8, 8), dtype=np.bool_))


def test_the_first_sample_is_what_no_voting_gives() -> None:
    single = Chance(Settings())
    voter = Voter(single, Voting(samples=5, vote="first"))
    assert np.array_equal(voter.predict([query()], [7])[0], single.predict([query()], [7])[0])


def test_a_vote_is_that_of_its_samples() -> None:
    single = Chance(Settings())
    drawn = [single.predict([query()], [sample_seed(7, k)])[0] for k in range(5)]
    found = Voter(single, Voting(samples=5)).predict([query(), query()], [7, 8])
    assert np.array_equal(found[0], np.sum(drawn, axis=0) >= 3)
    assert len({mask.tobytes() for mask in drawn}) == 5
    assert not np.array_equal(found[0], found[1])


def test_voting_is_part_of_what_names_a_run(plugins: Path, tmp_path: Path) -> None:
    def key(**params: Any) -> str:
        files = tuple(plugins / f"{name}.py" for name in ("squares", "dilate"))
        request = Request(method="dilate", dataset="squares", plugins=files, results=tmp_path, params=params)
        return prepare(request).spec.key()

    assert key() == key(voting={"samples": 1, "vote": "union"})
    assert len({key(), key(voting={"samples": 3}), key(voting={"samples": 3, "vote": "union"})}) == 3


def test_a_vote_that_does_not_exist_is_refused() -> None:
    with pytest.raises(Refused, match="vote = 'most'"):
        presets.find_preset("visible", Registry(), {"voting": {"vote": "most"}})
    with pytest.raises(UnknownName, match="unknown parameter of the vote"):
        presets.find_preset("visible", Registry(), {"voting": {"sample": 3}})
