"""`options`: retries, timeouts, priorities, names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from polyexec import Context, Executor, NotSupportedError, TaskTimeoutError, capabilities
from polyexec.testing import tasks

if TYPE_CHECKING:
    from collections.abc import Callable

    from polyexec.testing._gate import Gate


def test_a_task_is_tried_again_after_the_errors_asked_for(
    executor: Executor, gate: Gate, patience: float
) -> None:
    view = executor.options(retries=2, retry_exceptions=(ValueError,))
    future = view.submit(tasks.do_as_told, gate.address)
    gate.answer("raise")
    gate.answer("raise")
    gate.answer("well")
    assert future.result(patience) == "well"
    assert future.attempts == 3


def test_a_task_is_tried_no_more_often_than_asked(
    executor: Executor, gate: Gate, patience: float
) -> None:
    view = executor.options(retries=1, retry_exceptions=(ValueError,))
    future = view.submit(tasks.do_as_told, gate.address)
    gate.answer("raise")
    gate.answer("raise")
    assert isinstance(future.exception(patience), ValueError)
    assert len(gate.arrived) == 2


def test_a_task_is_not_tried_again_after_another_error(
    executor: Executor, gate: Gate, patience: float
) -> None:
    view = executor.options(retries=3, retry_exceptions=(ValueError,))
    future = view.submit(tasks.do_as_told, gate.address)
    gate.answer("raise-os")
    assert isinstance(future.exception(patience), OSError)
    assert len(gate.arrived) == 1


def test_a_task_that_fails_is_not_tried_again_unasked(
    executor: Executor, gate: Gate, patience: float
) -> None:
    future = executor.submit(tasks.do_as_told, gate.address)
    gate.answer("raise")
    assert isinstance(future.exception(patience), ValueError)
    assert future.attempts == 1


def test_a_timeout_stops_the_task_or_is_refused(
    executor: Executor, gate: Gate, patience: float
) -> None:
    if capabilities.KILL_RUNNING in executor.context.capabilities:
        future = executor.options(timeout=0.2).submit(tasks.pass_gate, gate.address)
        assert isinstance(future.exception(patience), TaskTimeoutError)
    else:
        with pytest.raises(NotSupportedError, match=capabilities.KILL_RUNNING):
            executor.options(timeout=0.2)


def test_a_misspelt_option_is_refused_with_the_right_one(executor: Executor) -> None:
    options: dict[str, Any] = {"retrys": 1}
    with pytest.raises(TypeError, match="retries"):
        executor.options(**options)


def test_options_leave_the_tasks_own_keywords_alone(executor: Executor, patience: float) -> None:
    future = executor.options(name="n").submit(tasks.describe, name="mine", retries=7)
    assert future.result(patience) == ((), {"name": "mine", "retries": 7})


def test_map_runs_with_the_options_of_its_view(
    executor: Executor, gate: Gate, patiently: Callable[..., Any]
) -> None:
    view = executor.options(retries=1, retry_exceptions=(ValueError,))
    results = view.map(tasks.do_as_told, [gate.address])
    gate.answer("raise")
    gate.answer("well")
    assert patiently(list, results) == ["well"]


@pytest.mark.needs(capabilities.PRIORITIES)
def test_a_task_of_high_priority_goes_first(context: Context, gate: Gate, patience: float) -> None:
    with context.Executor(1) as executor:
        executor.submit(tasks.pass_gate, gate.address, "first")
        gate.await_arrivals(1)
        for _ in range(40):
            executor.submit(tasks.pass_gate, gate.address, "low")
        last = executor.options(priority=9).submit(tasks.pass_gate, gate.address, "high")
        gate.open()
        last.result(patience)
    assert gate.arrived.index("high") < 20
