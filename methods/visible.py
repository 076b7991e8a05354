"""Answer the visible mask: the floor that any amodal method must beat."""

from collections.abc import Sequence

from amodal_bench.plugin import Method, MethodCard, Settings
from amodal_bench.types import AmodalQuery, Mask


class Visible(Method[Settings]):
    """Predict the visible mask as it was given."""

    card = MethodCard(title="Visible mask", paper="baseline", licence="Apache-2.0", batch_size=64)

    def predict(self, queries: Sequence[AmodalQuery], seeds: Sequence[int]) -> list[Mask]:  # noqa: ARG002
        """Copies of the visible masks."""
        return [query.visible.copy() for query in queries]
