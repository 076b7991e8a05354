"""The next part is prepared and the last one finished while one is worked on; order and errors are as one by one."""

import threading
from typing import Any

import pytest

from amodal_bench.methods._overlap import overlapped

PATIENCE = 60.0  # seconds: what should have happened meanwhile never does


def test_the_answers_are_those_of_a_loop_in_its_order() -> None:
    for count in range(5):
        found = overlapped(range(count), lambda part: part + 10, lambda ready: ready * 2, lambda *pair: pair)
        assert found == [(part + 10, 2 * (part + 10)) for part in range(count)]


def test_the_neighbours_are_prepared_and_finished_while_a_part_is_worked_on() -> None:
    """Work on each part waits for both: one after the other, it would wait for ever."""
    prepared = [threading.Event() for _ in range(4)]
    finished = [threading.Event() for _ in range(4)]
    threads: set[tuple[str, int]] = set()

    def prepare(part: int) -> int:
        threads.add(("before", threading.get_ident()))
        prepared[part].set()
        return part

    def work(part: int) -> int:
        threads.add(("here", threading.get_ident()))
        assert all(event.wait(PATIENCE) for event in prepared[part + 1 : part + 2])
        assert all(event.wait(PATIENCE) for event in finished[:part])
        assert not any(event.is_set() for event in prepared[part + 2 :])  # and no more than one ahead
        return part

    def finish(part: int, _: int) -> int:
        threads.add(("behind", threading.get_ident()))
        finished[part].set()
        return part

    assert overlapped(range(4), prepare, work, finish) == [0, 1, 2, 3]
    assert sorted(name for name, _ in threads) == ["before", "behind", "here"]
    assert len({ident for _, ident in threads}) == 3
    assert ("here", threading.get_ident()) in threads


def test_several_are_prepared_at_once_where_asked_for_and_still_come_in_order() -> None:
    """Two wait for each other, so one thread alone would wait for ever; the later one is ready first."""
    second, prepared = threading.Event(), []

    def prepare(part: int) -> int:
        if part == 0:
            assert second.wait(PATIENCE)
        if part == 1:
            second.set()
        prepared.append(part)
        return part

    worked: list[int] = []

    def work(part: int) -> int:
        assert max(prepared) <= part + 2, "no more than two ahead"
        worked.append(part)
        return part

    assert overlapped(range(5), prepare, work, lambda ready, _: ready, ahead=2) == [0, 1, 2, 3, 4]
    assert worked == [0, 1, 2, 3, 4]
    assert prepared.index(1) < prepared.index(0)


@pytest.mark.parametrize("stage", ["prepare", "work", "finish"])
@pytest.mark.parametrize("bad", [0, 1, 3])
def test_an_error_comes_out_as_it_was_raised_and_leaves_no_thread(stage: str, bad: int) -> None:
    def failing(name: str) -> Any:
        def call(part: int, *_: int) -> int:
            if (name, part) == (stage, bad):
                raise ValueError(f"{name} {part}")
            return part

        return call

    before = threading.active_count()
    with pytest.raises(ValueError, match=f"^{stage} {bad}$"):
        overlapped(range(4), failing("prepare"), failing("work"), failing("finish"))
    assert threading.active_count() == before


def test_what_could_not_be_finished_ends_the_work_on_the_rest() -> None:
    failed, worked = threading.Event(), []

    def work(part: int) -> int:
        if part == 1:
            assert failed.wait(PATIENCE)
        worked.append(part)
        return part

    def finish(*_: int) -> None:
        failed.set()
        raise ValueError("full")

    with pytest.raises(ValueError, match="full"):
        overlapped(range(1000), lambda part: part, work, finish)
    assert len(worked) < 1000
