"""Which of an image's objects lies in front of which, told by their masks."""

from collections.abc import Sequence

from scipy.ndimage import find_objects

from amodal_bench.types import AmodalSample

Pairs = set[tuple[int, int]]


def occlusions(samples: Sequence[AmodalSample]) -> Pairs:
    """Pairs (i, j): somewhere i is seen where j is hidden."""
    pairs = set()
    for j, behind in enumerate(samples):
        hidden = behind.amodal & ~behind.visible
        box = next(iter(find_objects(hidden.view("u1"))), None)
        if box is None:
            continue
        part = hidden[box]
        pairs |= {(i, j) for i, front in enumerate(samples) if i != j and (front.visible[box] & part).any()}
    return pairs


def depth_order(count: int, pairs: Pairs) -> list[int]:
    """Indices from front to back, as given wherever no occlusion says otherwise.

    Where objects hide each other in a circle, no order is right; the first of them comes first.
    """
    fronts = {j: {i for i, behind in pairs if behind == j} for j in range(count)}
    order: list[int] = []
    left = list(range(count))
    while left:
        chosen = next((j for j in left if not fronts[j] & set(left)), left[0])
        order.append(chosen)
        left.remove(chosen)
    return order
