"""The eight pixel counts of one instance, from which every score of every protocol is made again.

Count k is the number of pixels whose bits are k: bit 0 = predicted, bit 1 = amodal, bit 2 = visible. Where
the method was given another visible mask than the ground truth's there are sixteen, bit 3 = the mask it was given.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from amodal_bench.types import Mask

PREDICTED, AMODAL, VISIBLE, GIVEN = 1, 2, 4, 8
COLUMNS = tuple(f"v{k}" for k in range(8))
GIVEN_COLUMNS = tuple(f"v{k}" for k in range(8, 16))

Counts = NDArray[np.int64]  # (8,) or (16,)
Words = NDArray[np.uint64]
_TOGETHER = 1 << 14  # words: all overlaps of three masks of a million pixels are 1 MB


def venn(predicted: Mask, amodal: Mask, visible: Mask, given: Mask | None = None) -> Counts:
    """Counts (8,) of three bool masks (H, W), or (16,) with the mask that the method was given.

    The masks are packed to bits and counted a word at a time, which is several times faster than any count
    over bytes.
    """
    masks = [predicted, amodal, visible] if given is None else [predicted, amodal, visible, given]
    return venn_of_words([words_of(mask) for mask in masks], predicted.size)


def venn_of_words(words: Sequence[Words], pixels: int) -> Counts:
    """As `venn`, of masks that `words_of` has packed, in the same order; `pixels` of each."""
    overlaps = np.empty(1 << len(words), dtype=np.int64)
    overlaps[0] = pixels
    if len(words[0]) <= _TOGETHER:
        overlaps[1:] = _counted_together(words)
    else:
        _fill_overlaps(words, overlaps, 0, None)
    return _exact(overlaps)


def words_of(mask: Mask) -> Words:
    """The pixels of a mask as bits, in words of 64: an eighth of its memory, and all that counting needs."""
    bits = np.packbits(mask)
    if bits.size % 8 == 0:
        return bits.view(np.uint64)
    words = np.zeros(-(-bits.size // 8), dtype=np.uint64)
    words.view(np.uint8)[: bits.size] = bits
    return words


def _counted_together(words: Sequence[Words]) -> NDArray[np.uint32]:
    """|intersection of the masks in S| for every set S but the empty one, with few calls: for small images."""
    common = np.empty((1 << len(words), len(words[0])), dtype=np.uint64)
    for bit, mask in enumerate(words):
        common[1 << bit] = mask
        for lower in range(1, 1 << bit):
            np.bitwise_and(common[lower], mask, out=common[1 << bit | lower])
    return np.asarray(np.bitwise_count(common[1:]).sum(axis=1, dtype=np.uint32))


def _fill_overlaps(words: Sequence[Words], overlaps: Counts, chosen: int, common: Words | None) -> None:
    """Put |intersection of the masks in S| at index S, for every set S that adds higher masks to `chosen`."""
    for bit in range(chosen.bit_length(), len(words)):
        part = words[bit] if common is None else words[bit] & common
        overlaps[chosen | 1 << bit] = np.bitwise_count(part).sum(dtype=np.uint32)
        _fill_overlaps(words, overlaps, chosen | 1 << bit, part)


@cache
def _inclusion_exclusion(size: int) -> Counts:
    """Matrix (size, size) from |pixels in all masks of S| to |pixels in just those of S|: signs over supersets."""
    sets = range(size)
    return np.array([[(-1) ** (s ^ k).bit_count() if s & k == k else 0 for s in sets] for k in sets], dtype=np.int64)


def _exact(overlaps: Counts) -> Counts:
    counts: Counts = _inclusion_exclusion(len(overlaps)) @ overlaps
    return counts
