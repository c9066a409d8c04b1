"""Workers that die: their task ends in an error of its own, and nobody else is hurt."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from polyexec import Executor, WorkerLostError
from polyexec.capabilities import ISOLATION
from polyexec.testing import tasks

if TYPE_CHECKING:
    from collections.abc import Callable

    from polyexec.testing._gate import Gate

pytestmark: pytest.MarkDecorator = pytest.mark.needs(ISOLATION)

DEATHS: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [(tasks.die, (3,))]
if sys.platform != "win32":
    DEATHS.append((tasks.be_killed, ()))


@pytest.mark.parametrize(("task", "args"), DEATHS)
def test_a_task_whose_worker_dies_ends_in_an_error(
    executor: Executor, patience: float, task: Callable[..., Any], args: tuple[Any, ...]
) -> None:
    assert isinstance(executor.submit(task, *args).exception(patience), WorkerLostError)


def test_an_executor_that_lost_a_worker_goes_on(executor: Executor, patience: float) -> None:
    for _ in range(3):
        assert isinstance(executor.submit(tasks.die, 1).exception(patience), WorkerLostError)
        assert executor.submit(tasks.square, 5).result(patience) == 25


def test_a_task_whose_worker_died_is_run_again_if_asked(
    executor: Executor, gate: Gate, patience: float
) -> None:
    future = executor.options(retries=2).submit(tasks.do_as_told, gate.address)
    gate.answer("die")
    gate.answer("well")
    assert future.result(patience) == "well"


def test_a_task_whose_worker_died_is_not_run_again_unasked(
    executor: Executor, gate: Gate, patience: float
) -> None:
    future = executor.submit(tasks.do_as_told, gate.address)
    gate.answer("die")
    assert isinstance(future.exception(patience), WorkerLostError)
    assert len(gate.arrived) == 1


def test_tasks_that_wait_behind_a_lost_worker_complete(
    executor: Executor, gate: Gate, patience: float
) -> None:
    victim = executor.submit(tasks.do_as_told, gate.address)
    others = [executor.submit(tasks.square, number) for number in range(30)]
    gate.answer("die")
    assert isinstance(victim.exception(patience), WorkerLostError)
    assert [future.result(patience) for future in others] == [n * n for n in range(30)]
