"""What stands before and after the network, done in a thread while the network works on the batch between."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Part = TypeVar("Part")
Ready = TypeVar("Ready")
Found = TypeVar("Found")
Done = TypeVar("Done")


def overlapped(
    parts: Sequence[Part],
    prepare: Callable[[Part], Ready],
    work: Callable[[Ready], Found],
    finish: Callable[[Ready, Found], Done],
) -> list[Done]:
    """`finish(ready, work(ready))` of `ready = prepare(part)` for each part, in order.

    `work` stays in this thread; one other prepares the next part and finishes the last one meanwhile, so what these two
    do must not depend on what `work` leaves behind. No more than one part is prepared ahead. What any of them raises is
    raised here.
    """
    done: list[Future[Done]] = []
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="overlapped") as beside:
        ahead = [beside.submit(prepare, part) for part in parts[:1]]
        for number in range(len(parts)):
            ready = ahead.pop().result()
            ahead += [beside.submit(prepare, part) for part in parts[number + 1 : number + 2]]
            _raise_early(done)
            done.append(beside.submit(finish, ready, work(ready)))
        return [future.result() for future in done]


def _raise_early(done: Sequence["Future[Done]"]) -> None:
    """A part that could not be finished ends the loop, not the network's work on all that is left."""
    for future in done:
        if future.done():
            future.result()
