"""Futures: waiting, cancelling, callbacks, and what they know."""

from __future__ import annotations

import concurrent.futures
import threading
from typing import TYPE_CHECKING, Any

import pytest

from polyexec import CancelledError, Executor, Future, NotSupportedError, capabilities
from polyexec.testing import tasks

if TYPE_CHECKING:
    from polyexec.testing._gate import Gate


def _occupy(executor: Executor, gate: Gate) -> list[Future[str]]:
    """Give each of the two workers a task that waits at the gate."""
    futures = [executor.submit(tasks.pass_gate, gate.address) for _ in range(2)]
    gate.await_arrivals(2)
    return futures


def test_a_future_tells_pending_running_and_done_apart(
    executor: Executor, gate: Gate, patience: float
) -> None:
    first, _ = _occupy(executor, gate)
    assert not first.done()
    gate.open()
    first.result(patience)
    assert first.done()
    assert not first.running()
    assert not first.cancelled()


def test_waiting_for_a_result_ends_with_the_timeout(executor: Executor, gate: Gate) -> None:
    first, _ = _occupy(executor, gate)
    with pytest.raises(concurrent.futures.TimeoutError):
        first.result(timeout=0.01)
    gate.open()


def test_a_pending_task_that_is_cancelled_never_runs(
    executor: Executor, gate: Gate, patience: float
) -> None:
    running = _occupy(executor, gate)
    # More than a backend may have handed to its workers ahead of time.
    pending = [executor.submit(tasks.pass_gate, gate.address, "cancelled") for _ in range(40)]
    assert pending[-1].cancel()
    cancelled = [future for future in pending if future.cancel()]
    gate.open()
    for future in [*running, *pending]:
        if future not in cancelled:
            future.result(patience)
    assert gate.arrived.count("cancelled") == len(pending) - len(cancelled)
    with pytest.raises(CancelledError):
        pending[-1].result(patience)


def test_a_running_task_is_not_cancelled_by_cancel(
    executor: Executor, gate: Gate, patience: float
) -> None:
    first, second = _occupy(executor, gate)
    assert not first.cancel()
    gate.open()
    assert [first.result(patience), second.result(patience)] == ["", ""]


def test_a_finished_task_cannot_be_cancelled(executor: Executor, patience: float) -> None:
    future = executor.submit(int)
    future.result(patience)
    assert not future.cancel()
    assert not future.cancel(running=True)
    assert future.result(patience) == 0


def test_cancelling_a_running_task_stops_it_or_says_that_it_cannot(
    executor: Executor, gate: Gate, patience: float
) -> None:
    first, _ = _occupy(executor, gate)
    if capabilities.KILL_RUNNING in executor.context.capabilities:
        assert first.cancel(running=True)
        assert first.cancelled()
        with pytest.raises(CancelledError):
            first.result(patience)
    elif first.running():
        with pytest.raises(NotSupportedError, match=capabilities.KILL_RUNNING):
            first.cancel(running=True)
    gate.open()


@pytest.mark.needs(capabilities.KILL_RUNNING)
def test_a_task_that_was_stopped_is_not_run_again(
    executor: Executor, gate: Gate, patience: float
) -> None:
    view = executor.options(retries=3, retry_exceptions=(Exception,))
    future = view.submit(tasks.pass_gate, gate.address)
    gate.await_arrivals(1)
    assert future.cancel(running=True)
    assert executor.submit(tasks.square, 3).result(patience) == 9
    assert len(gate.arrived) == 1


def test_wait_and_as_completed_take_our_futures_among_the_standard_ones(
    executor: Executor, patience: float
) -> None:
    with concurrent.futures.ThreadPoolExecutor(1) as other:
        futures: list[concurrent.futures.Future[Any]] = [
            executor.submit(tasks.square, 3),
            other.submit(tasks.square, 4),
        ]
        completed = concurrent.futures.as_completed(futures, timeout=patience)
        assert {future.result() for future in completed} == {9, 16}
        assert not concurrent.futures.wait(futures, timeout=patience).not_done


def test_a_callback_gets_its_future_once(executor: Executor, patience: float) -> None:
    seen: list[concurrent.futures.Future[int]] = []
    called = threading.Event()
    future = executor.submit(tasks.square, 3)
    future.add_done_callback(seen.append)
    future.add_done_callback(lambda _: called.set())
    assert called.wait(patience)
    assert seen == [future]


def test_a_callback_that_blocks_holds_up_no_other_task(
    executor: Executor, gate: Gate, patience: float
) -> None:
    blocked, release = threading.Event(), threading.Event()

    def block(_: concurrent.futures.Future[str]) -> None:
        blocked.set()
        release.wait()

    executor.submit(tasks.pass_gate, gate.address).add_done_callback(block)
    gate.open()
    try:
        assert blocked.wait(patience)
        futures = [executor.submit(tasks.square, number) for number in range(20)]
        assert [future.result(patience) for future in futures] == [n * n for n in range(20)]
    finally:
        release.set()


def test_a_callback_may_submit(executor: Executor, patience: float) -> None:
    following: list[Future[int]] = []
    called = threading.Event()

    def submit(_: concurrent.futures.Future[int]) -> None:
        following.append(executor.submit(tasks.square, 5))
        called.set()

    executor.submit(int).add_done_callback(submit)
    assert called.wait(patience)
    assert following[0].result(patience) == 25


def test_a_future_knows_name_attempts_and_times(executor: Executor, patience: float) -> None:
    future = executor.options(name="nine").submit(tasks.square, 3)
    future.result(patience)
    assert (future.name, future.attempts) == ("nine", 1)
    assert future.submitted_at is not None
    assert future.finished_at is not None
    assert future.submitted_at <= future.finished_at


def test_the_name_of_a_task_is_its_functions_if_not_given(executor: Executor) -> None:
    assert executor.submit(tasks.square, 3).name == "square"


@pytest.mark.needs(capabilities.CONTEXTVARS)
def test_a_task_sees_its_submitters_context_variables(executor: Executor, patience: float) -> None:
    import contextvars

    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    token = variable.set("submitted")
    future = executor.submit(tasks.read_variable, variable)
    variable.reset(token)
    assert future.result(patience) == "submitted"
