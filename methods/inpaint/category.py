"""A prompt that names each instance's category. No torch here."""

from collections.abc import Sequence

from amodal_bench.errors import BadRecord
from amodal_bench.types import AmodalQuery

PLACE = "{category}"


def by_category(prompt: str) -> bool:
    """Whether it differs by category."""
    return PLACE in prompt


def prompts_of(queries: Sequence[AmodalQuery], prompt: str) -> list[str]:
    """The prompt of each instance; raises `BadRecord` naming one that has no category."""
    return [_filled(query, prompt) for query in queries]


def _filled(query: AmodalQuery, prompt: str) -> str:
    if query.category is None:
        raise BadRecord(
            f"{query.id}: has no category for denoising.prompt {prompt!r}: take one without {PLACE} on this dataset"
        )
    return prompt.replace(PLACE, query.category)
