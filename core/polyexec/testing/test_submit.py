"""Tasks: what goes in, what comes out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from polyexec import BrokenExecutor, Context, Executor, capabilities
from polyexec.testing import tasks

if TYPE_CHECKING:
    from polyexec.testing._gate import Gate


def test_a_task_returns_its_result(executor: Executor, patience: float) -> None:
    assert executor.submit(pow, 2, 8).result(patience) == 256


def test_keywords_reach_the_task_whatever_they_are_called(
    executor: Executor, patience: float
) -> None:
    future = executor.submit(tasks.describe, 1, fn=2, self=3, timeout=4)
    assert future.result(patience) == ((1,), {"fn": 2, "self": 3, "timeout": 4})


def test_many_tasks_each_get_their_own_result(executor: Executor, patience: float) -> None:
    futures = [executor.submit(tasks.square, number) for number in range(300)]
    assert [future.result(patience) for future in futures] == [n * n for n in range(300)]


def test_two_workers_run_two_tasks_at_a_time(
    executor: Executor, gate: Gate, patience: float
) -> None:
    futures = [executor.submit(tasks.pass_gate, gate.address, name) for name in "ab"]
    gate.await_arrivals(2)
    gate.open()
    assert [future.result(patience) for future in futures] == ["", ""]


def test_no_more_tasks_run_at_a_time_than_there_are_workers(
    executor: Executor, gate: Gate, patience: float
) -> None:
    futures = [executor.submit(tasks.pass_gate, gate.address) for _ in range(6)]
    gate.await_arrivals(2)
    assert len(gate.arrived) == 2
    gate.open()
    assert [future.result(patience) for future in futures] == [""] * 6


def test_what_cannot_be_called_is_refused(executor: Executor) -> None:
    with pytest.raises(TypeError, match="callable"):
        executor.submit("not a function")  # type: ignore[arg-type]  # that's the point


def test_tasks_may_return_large_results(executor: Executor, patience: float) -> None:
    blob = bytes(range(256)) * 20_000
    assert executor.submit(tasks.identity, blob).result(patience) == blob


def test_a_shared_object_reaches_tasks_by_its_handle(executor: Executor, patience: float) -> None:
    handle = executor.share(list(range(1000)))
    futures = [executor.submit(tasks.total_of_shared, [handle]) for _ in range(4)]
    assert [future.result(patience) for future in futures] == [499_500] * 4


def test_a_closure_can_be_a_task(executor: Executor, patience: float) -> None:
    offset = 40
    assert executor.submit(lambda number: number + offset, 2).result(patience) == 42


@pytest.mark.needs(capabilities.BY_REFERENCE)
def test_objects_are_handed_over_as_they_are(executor: Executor, patience: float) -> None:
    thing = object()
    assert executor.submit(tasks.identity, thing).result(patience) is thing


def test_equal_arguments_of_two_tasks_stay_apart(executor: Executor, patience: float) -> None:
    futures = [executor.submit(tasks.identity, [number]) for number in (1, 1)]
    first, second = (future.result(patience) for future in futures)
    assert first == second == [1]
    assert first is not second


@pytest.mark.needs(capabilities.INITIALIZER)
def test_an_initializer_runs_in_each_worker(context: Context, patience: float) -> None:
    with context.Executor(2, initializer=tasks.initialize, initargs=("ready",)) as executor:
        futures = [executor.submit(tasks.initialized) for _ in range(10)]
        assert {future.result(patience) for future in futures} == {"ready"}


@pytest.mark.needs(capabilities.INITIALIZER)
def test_an_initializer_that_fails_ends_every_task_and_breaks_the_executor(
    context: Context, patience: float
) -> None:
    with context.Executor(2, initializer=tasks.fail, initargs=("part of the test",)) as executor:
        with pytest.raises(BrokenExecutor):
            executor.submit(tasks.square, 3).result(patience)
        with pytest.raises(BrokenExecutor):
            executor.submit(tasks.square, 3).result(patience)


@pytest.mark.parametrize("workers", [0, -1])
def test_a_number_of_workers_below_one_is_refused(context: Context, workers: int) -> None:
    with pytest.raises(ValueError, match="max_workers must be greater than 0"):
        context.Executor(max_workers=workers)


def test_a_misspelt_option_of_an_executor_is_refused_by_name(context: Context) -> None:
    options: dict[str, Any] = {"initialiser": print}
    with pytest.raises(TypeError, match="initialiser"):
        context.Executor(2, **options)
