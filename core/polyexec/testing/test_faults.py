"""Faults that break other pools: each hurts one task at most, and the executor goes on."""

from __future__ import annotations

import os
import signal
import socket
import sys
from typing import TYPE_CHECKING

import pytest

from polyexec import Context, Executor, TaskTimeoutError, WorkerLostError
from polyexec.capabilities import ISOLATION, KILL_RUNNING
from polyexec.testing import tasks
from polyexec.testing._ends import has_ended

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from polyexec.testing._gate import Gate

pytestmark: list[pytest.MarkDecorator] = [
    pytest.mark.needs(ISOLATION),
    pytest.mark.skipif(sys.platform == "win32", reason="these faults are made by signals"),
]


def _still_works(executor: Executor, patience: float) -> bool:
    return [executor.submit(tasks.square, n).result(patience) for n in range(5)] == [0, 1, 4, 9, 16]


def _runs_here(executor: Executor, patience: float) -> bool:
    host = executor.submit(socket.gethostname).result(patience)
    assert isinstance(host, str)
    return host == socket.gethostname()


def test_a_worker_that_is_killed_while_idle_is_replaced(
    executor: Executor, patience: float
) -> None:
    if not _runs_here(executor, patience):
        pytest.skip("its workers are on another machine")
    for _ in range(3):
        os.kill(executor.submit(os.getpid).result(patience), signal.SIGKILL)
        assert _still_works(executor, patience)


def test_an_argument_that_kills_its_worker_fails_its_own_task(
    executor: Executor, patience: float
) -> None:
    error = executor.submit(tasks.identity, tasks.Deadly()).exception(patience)
    assert isinstance(error, WorkerLostError)
    assert _still_works(executor, patience)


def test_a_task_on_another_worker_survives(context: Context, gate: Gate, patience: float) -> None:
    with context.Executor(2) as executor:
        victim = executor.submit(tasks.do_as_told, gate.address)
        gate.await_arrivals(1)
        other = executor.submit(tasks.do_as_told, gate.address)
        gate.await_arrivals(2)
        gate.answer("die")
        assert isinstance(victim.exception(patience), WorkerLostError)
        gate.answer("well")
        assert other.result(patience) == "well"


def test_many_deaths_among_many_tasks_cost_each_its_own(
    executor: Executor, patience: float
) -> None:
    futures = [
        executor.submit(tasks.die, 1)
        if number % 50 == 25
        else executor.submit(tasks.square, number)
        for number in range(500)
    ]
    for number, future in enumerate(futures):
        if number % 50 == 25:
            assert isinstance(future.exception(6 * patience), WorkerLostError)
        else:
            assert future.result(6 * patience) == number**2


def test_a_lost_worker_is_described(executor: Executor, patience: float) -> None:
    error: Any = executor.submit(tasks.die, 7).exception(patience)
    assert (error.exitcode, error.task, error.attempts) == (7, "die", 1)
    assert error.pid
    error = executor.submit(tasks.be_killed).exception(patience)
    assert error.exitcode == -signal.SIGKILL
    assert "SIGKILL" in str(error)


@pytest.mark.needs(KILL_RUNNING)
@pytest.mark.parametrize("task", [tasks.stop_this_process, tasks.hold_the_interpreter])
def test_a_task_that_nothing_reaches_is_stopped_by_its_timeout(
    executor: Executor, patience: float, task: Callable[[], None]
) -> None:
    future = executor.options(timeout=0.2).submit(task)
    assert isinstance(future.exception(patience), TaskTimeoutError)
    assert _still_works(executor, patience)


@pytest.mark.needs(KILL_RUNNING)
def test_stopping_a_task_stops_what_it_started(
    executor: Executor, gate: Gate, patience: float
) -> None:
    if not _runs_here(executor, patience):
        pytest.skip("its workers are on another machine")
    future = executor.submit(tasks.start_child, gate.address)
    gate.await_arrivals(1)
    assert future.cancel(running=True)
    assert has_ended(int(gate.arrived[0]), patience)


@pytest.mark.needs(KILL_RUNNING)
def test_stopping_a_task_hurts_none_behind_it(
    context: Context, gate: Gate, patience: float
) -> None:
    with context.Executor(1) as executor:
        assert executor.submit(tasks.square, 2).result(patience) == 4
        running = executor.submit(tasks.pass_gate, gate.address)
        behind = [executor.submit(tasks.square, number) for number in range(100)]
        gate.await_arrivals(1)
        assert running.cancel(running=True)
        assert running.cancelled()
        assert [future.result(patience) for future in behind] == [n * n for n in range(100)]


def test_tasks_behind_a_blocked_one_go_to_other_workers(
    context: Context, gate: Gate, patience: float
) -> None:
    with context.Executor(2) as executor:
        for number in range(50):  # by now a worker may be sent several at a time
            assert executor.submit(tasks.identity, number).result(patience) == number
        blocked = executor.submit(tasks.pass_gate, gate.address)
        others = [executor.submit(tasks.identity, number) for number in range(500)]
        assert [future.result(patience) for future in others] == list(range(500))
        gate.open()
        assert blocked.result(patience) == ""
