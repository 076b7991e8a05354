"""Several samples of a stochastic method and their vote, for every method alike."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field, PlainSerializer

from amodal_bench.plugin import AnyMethod, Method, MethodCard, Runtime, Settings
from amodal_bench.resolve.asking import asked
from amodal_bench.types import AmodalQuery, Mask


def _as_named_now(vote: object) -> object:
    return "at_least_half" if vote == "mean" else vote


def _as_kept(vote: str) -> str:
    return "mean" if vote == "at_least_half" else vote


# `at_least_half` was called `mean`: it is read so too, and stands so in keys and records.
Vote = Annotated[
    Literal["majority", "at_least_half", "union", "first"], BeforeValidator(_as_named_now), PlainSerializer(_as_kept)
]


class Voting(Settings):
    """How many masks are drawn for a query, and what becomes of them.

    `majority`: pixels in more than half of the masks. `at_least_half`, `union` (in any): as they say. `first`: the
    first mask alone, which equals no voting at all.
    """

    samples: int = Field(default=1, ge=1, le=1000)
    vote: Vote = "majority"


class Voter(Method[Settings]):
    """A method that asks another one several times, with a seed of its own each time."""

    card = MethodCard(title="Vote over several samples")

    def __init__(self, method: AnyMethod, voting: Voting) -> None:
        super().__init__(method.params)
        self._method = method
        self._voting = voting

    def load(self, runtime: Runtime) -> None:
        """Load the method."""
        self._method.load(runtime)

    def pretrained(self, weights: Path) -> Mapping[str, Path]:
        """As the method."""
        return self._method.pretrained(weights)

    def check_weights(self, metadata: Any) -> None:
        """As the method."""
        self._method.check_weights(metadata)

    def predict(self, queries: Sequence[AmodalQuery], seeds: Sequence[int]) -> list[Mask]:
        """The vote of `samples` masks a query; the first has the query's own seed."""
        drawn = [
            [mask.copy() for mask in asked(self._method, queries, [sample_seed(seed, number) for seed in seeds])]
            for number in range(1 if self._voting.vote == "first" else self._voting.samples)
        ]
        return [decide(np.stack(masks), self._voting.vote) for masks in zip(*drawn, strict=True)]


def sample_seed(seed: int, number: int) -> int:
    """63-bit seed of sample `number` of a query: the query's own for the first."""
    if number == 0:
        return seed
    return int.from_bytes(hashlib.sha256(f"{seed}#{number}".encode()).digest()[:8], "big") >> 1


def decide(masks: Mask, vote: str) -> Mask:
    """One mask (H, W) of several (K, H, W)."""
    if vote == "first":
        return np.asarray(masks[0], dtype=np.bool_)
    votes = masks.sum(axis=0)
    needed = {"majority": len(masks) // 2 + 1, "at_least_half": -(-len(masks) // 2), "union": 1}[vote]
    return np.asarray(votes >= needed, dtype=np.bool_)
