"""Answer the convex hull of the visible mask: what completion by convexity alone is worth."""

from collections.abc import Sequence

from amodal_bench.masks.hull import hull_mask
from amodal_bench.plugin import Method, MethodCard, Settings
from amodal_bench.types import AmodalQuery, Mask


class ConvexHull(Method[Settings]):
    """Predict every pixel whose centre lies in the convex hull of the visible pixels' centres."""

    card = MethodCard(title="Convex hull of the visible mask", paper="baseline", licence="Apache-2.0", batch_size=64)

    def predict(self, queries: Sequence[AmodalQuery], seeds: Sequence[int]) -> list[Mask]:  # noqa: ARG002
        """The hulls, borders included, in integer arithmetic."""
        return [hull_mask(query.visible) for query in queries]
