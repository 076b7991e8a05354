"""What stands before and after the network, done in threads while the network works on the batch between."""

from collections import deque
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
    ahead: int = 1,
) -> list[Done]:
    """`finish(ready, work(ready))` of `ready = prepare(part)` for each part, in order.

    `work` stays in this thread, one part after the other; meanwhile `ahead` threads prepare the next parts, so many and
    no more, and one other finishes those before, in order. So what these two do must depend neither on each other nor
    on what `work` leaves behind. What any of them raises is raised here.
    """
    done: list[Future[Done]] = []
    with (
        ThreadPoolExecutor(max_workers=ahead, thread_name_prefix="overlapped-before") as before,
        ThreadPoolExecutor(max_workers=1, thread_name_prefix="overlapped-behind") as behind,
    ):
        waiting = deque(before.submit(prepare, part) for part in parts[:ahead])
        for number in range(len(parts)):
            ready = waiting.popleft().result()
            waiting.extend(before.submit(prepare, part) for part in parts[number + ahead : number + ahead + 1])
            _raise_early(done)
            done.append(behind.submit(finish, ready, work(ready)))
        return [future.result() for future in done]


def _raise_early(done: Sequence["Future[Done]"]) -> None:
    """A part that could not be finished ends the loop, not the network's work on all that is left."""
    for future in done:
        if future.done():
            future.result()
