"""A sample as the loop holds it: what the method may see and what is counted, in memory that they do not share."""

from dataclasses import dataclass, replace

import numpy as np

from amodal_bench.masks.counts import Counts, Words, venn_of_words, words_of
from amodal_bench.types import AmodalQuery, AmodalSample, Mask


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """One instance between the dataset and the row.

    `query` is the method's: its visible mask is a copy, its image the dataset's array, both read-only. `amodal`,
    `visible` and `given` (the visible mask that the method got, None where that is the ground truth's) are packed when
    the sample is read, so that neither a method that works in place nor a dataset that fills one buffer again and
    again changes what is counted. Of an unmatched sample `given` is empty.
    """

    query: AmodalQuery
    amodal: Words
    visible: Words
    given: Words | None
    is_stuff: bool | None

    @classmethod
    def of(cls, sample: AmodalSample) -> "Held":
        """Hold a sample."""
        query = sample.query
        image = query.image.view()
        image.setflags(write=False)
        given = None if sample.true_visible is None else query.visible
        if sample.unmatched:
            given = np.zeros_like(query.visible)
        return cls(
            replace(query, image=image, visible=_read_only(query.visible)),
            words_of(sample.amodal),
            words_of(sample.visible),
            None if given is None else words_of(given),
            None if sample.is_stuff is None else bool(sample.is_stuff),
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        height, width = self.query.visible.shape
        return height, width

    @property
    def unmatched(self) -> bool:
        """Whether there is no visible mask to ask a method with, so that its prediction is empty."""
        return self.given is not None and not self.given.any()

    def counts(self, predicted: Mask) -> Counts:
        """Venn counts (8,) or (16,) of a prediction (H, W)."""
        masks = [words_of(predicted), self.amodal, self.visible]
        return venn_of_words(masks if self.given is None else [*masks, self.given], predicted.size)


def _read_only(mask: Mask) -> Mask:
    """A copy; made as bytes, which numpy copies ten times faster than truth values."""
    copy = mask.view(np.uint8).copy()
    copy.setflags(write=False)
    return copy.view(np.bool_)
