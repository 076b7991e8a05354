"""The processes of one training under torchrun: the first prepares, and the others wait until it says so."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from amodal_bench.errors import Refused


def count() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this one looks after the folder."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def telling(device: str) -> Iterator[Callable[[], None]]:
    """In the first process: calling what is given lets the others begin; where the block ends without, they end."""
    told = False

    def tell() -> None:
        nonlocal told
        told = True
        _broadcast(True, device)

    try:
        yield tell
    finally:
        if not told:
            _broadcast(False, device)


def heard(device: str) -> bool:
    """In every other process: wait for the first one; whether to begin."""
    return _broadcast(False, device)


def _broadcast(word: bool, device: str) -> bool:
    """The first process's word, in all. The group that is joined here is the one that the training will use."""
    if count() == 1:
        return word
    if find_spec("accelerate") is None:
        raise Refused("several processes train together with the library accelerate, which is not installed")
    import torch.distributed
    from accelerate import PartialState

    PartialState(cpu=device == "cpu")
    box = [word]
    torch.distributed.broadcast_object_list(box, src=0)
    return box[0]
