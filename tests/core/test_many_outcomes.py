"""Many outcomes at once: each future's is as if it had come alone."""

from __future__ import annotations

import concurrent.futures
import sys
import threading
from typing import Any

import pytest

from core.fakes import PATIENCE, await_that
from polyexec.future import _TAKE_TURNS
from polyexec.task import start_all, succeed_all


def _started(executor: Any, count: int) -> list[Any]:
    tasks = [executor.submit(int)._task for _ in range(count)]
    start_all(tasks, "worker")
    return tasks


def test_who_waits_is_woken_when_the_other_outcomes_are_there(executor: Any) -> None:
    tasks = _started(executor, 3)
    futures = [task.future for task in tasks]
    seen: list[list[bool]] = []
    futures[0].add_done_callback(lambda _: seen.append([future.done() for future in futures]))
    succeed_all(tasks, [1, 2, 3])
    assert seen == [[True, True, True]]
    assert [future.result() for future in futures] == [1, 2, 3]
    assert executor.busy == 0


@pytest.mark.skipif(not _TAKE_TURNS, reason="where threads take no turns each has a lock at once")
def test_many_outcomes_that_nobody_waits_for_need_no_lock(executor: Any) -> None:
    tasks = _started(executor, 3)
    futures = [task.future for task in tasks]
    succeed_all(tasks, [1, 2, 3])
    assert [future.result() for future in futures] == [1, 2, 3]
    assert [future._company for future in futures] == [None] * 3


def test_of_many_outcomes_one_that_was_cancelled_keeps_that(executor: Any) -> None:
    tasks = _started(executor, 3)
    futures = [task.future for task in tasks]
    tasks[1].cancel()
    succeed_all(tasks, [1, 2, 3])
    assert [future.cancelled() for future in futures] == [False, True, False]
    assert [futures[0].result(), futures[2].result()] == [1, 3]


def test_many_outcomes_end_an_executor_that_is_shut_down(executor: Any) -> None:
    tasks = _started(executor, 3)
    executor.shutdown(wait=False)
    assert executor.stops == []
    succeed_all(tasks, [1, 2, 3])
    assert executor.stops == [False]


def test_who_holds_a_condition_sees_no_outcome_come(executor: Any) -> None:
    tasks = _started(executor, 3)
    held = tasks[1].future
    with held._condition:
        ending = threading.Thread(target=succeed_all, args=(tasks, [1, 2, 3]))
        ending.start()
        await_that(tasks[2].future.done)  # the others do not wait
        assert (held.done(), ending.is_alive()) == (False, True)
    ending.join(PATIENCE)
    assert [task.future.result() for task in tasks] == [1, 2, 3]


@pytest.mark.usefixtures("switching")
def test_nobody_misses_an_outcome_that_comes_with_many(executor: Any) -> None:
    for _ in range(100):
        tasks = [executor.submit(int)._task for _ in range(32)]
        futures = [task.future for task in tasks]
        told: list[Any] = []
        results: list[Any] = []

        def watch(futures: Any = futures, told: Any = told) -> None:
            for future in reversed(futures):
                future.add_done_callback(told.append)

        def wait(futures: Any = futures, results: Any = results) -> None:
            done, _ = concurrent.futures.wait(futures[::2], PATIENCE)
            results += [len(done), [future.result(PATIENCE) for future in futures]]

        watching = [threading.Thread(target=each) for each in (watch, wait)]
        for thread in watching:
            thread.start()
        start_all(tasks, "worker")
        succeed_all(tasks, list(range(32)))
        for thread in watching:
            thread.join(PATIENCE)
        assert results == [16, list(range(32))]
        assert sorted(map(futures.index, told)) == list(range(32))


@pytest.mark.parametrize("line", range(8))
def test_nobody_misses_an_outcome_though_a_debugger_stops_as_it_is_set(
    executor: Any, line: int
) -> None:
    tasks = _started(executor, 1)
    told: list[Any] = []
    lines = 0

    def trace(frame: Any, event: str, _: Any) -> Any:
        nonlocal lines
        if frame.f_code is succeed_all.__code__:
            lines += event == "line" and frame.f_locals.get("future") is not None
            if lines == line and not told:
                told.append(None)
                tasks[0].future.add_done_callback(told.append)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        succeed_all(tasks, [1])
    finally:
        sys.settrace(before)
    assert told == [None, tasks[0].future]
    assert (tasks[0].future.result(), executor.busy) == (1, 0)
