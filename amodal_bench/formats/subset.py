"""`max_instances`: a subset that looks random and is the same everywhere."""

import hashlib
import heapq
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def smallest(names: Sequence[str], most: int) -> NDArray[np.int64]:
    """Rising indices of the `most` names whose sha256 is smallest, so that a smaller subset lies in a larger one."""
    digests = ((hashlib.sha256(name.encode()).digest(), index) for index, name in enumerate(names))
    return np.sort(np.array([index for _, index in heapq.nsmallest(most, digests)], dtype=np.int64))
