"""The Executor interface over small backends, and on threads where threads matter."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import sys
import threading
from typing import Any

import pytest

import polyexec
from core.fakes import (
    PATIENCE,
    FakeContext,
    InlineExecutor,
    RefusingExecutor,
    SpreadingExecutor,
    ends,
    fake,
    thread_executor,
)


def test_an_executor_without_accept_and_stop_cannot_be_made() -> None:
    class _Half(polyexec.Executor):
        def stop(self, wait: bool) -> None:  # noqa: FBT001 - the interface's signature
            """Do nothing."""

    with pytest.raises(TypeError, match="accept"):
        _Half(FakeContext(InlineExecutor))  # type: ignore[abstract]  # the point


def test_an_inline_backend_needs_two_methods() -> None:
    with fake(InlineExecutor) as executor:
        assert executor.submit(pow, 2, 3).result() == 8
        assert list(executor.map(abs, [-1, -2])) == [1, 2]
    assert isinstance(executor, concurrent.futures.Executor)


def test_what_is_not_callable_is_refused_by_submit(executor: Any) -> None:
    with pytest.raises(TypeError, match="needs a callable, not 3"):
        executor.submit(3)


def test_submits_own_argument_is_positional_only(executor: Any) -> None:
    future = executor.submit(dict, fn=1, self=2)
    executor.run_all()
    assert future.result(0) == {"fn": 1, "self": 2}


@pytest.mark.parametrize("value", [0, -1, 1.5, "2", True])
def test_bad_sizes_are_refused(value: Any) -> None:
    for name in ("max_workers", "max_pending"):
        with pytest.raises((TypeError, ValueError), match=name):
            FakeContext(InlineExecutor).Executor(**{"max_workers": 1, name: value})


def test_a_task_that_accept_refuses_fails_alone() -> None:
    with fake(RefusingExecutor) as executor:
        future = executor.submit(int)
        assert isinstance(future.exception(0), OSError)
        assert executor.busy == 0


def test_a_base_exception_of_accept_is_raised_and_leaves_nothing_behind() -> None:
    executor = fake(RefusingExecutor)
    executor.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        executor.submit(int)
    ends(executor.shutdown)


def test_a_function_whose_attributes_raise_costs_no_place() -> None:
    class _Odd:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(name)

        def __call__(self) -> int:
            return 1

    executor = fake(InlineExecutor, max_pending=1)
    for _ in range(2):
        with contextlib.suppress(RuntimeError):
            ends(executor.submit, _Odd(), seconds=3)
    assert ends(executor.submit, int, seconds=3).result(PATIENCE) == 0


def test_contextvars_of_the_submitter_are_seen() -> None:
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)
    variable.set(5)
    with thread_executor() as executor:
        assert executor.submit(variable.get).result(PATIENCE) == 5


def test_accept_is_called_by_several_threads_at_once() -> None:
    met = threading.Barrier(2)

    class _Meeting(InlineExecutor):
        def accept(self, task: polyexec.Task) -> None:
            met.wait(PATIENCE)
            super().accept(task)

    with fake(_Meeting) as executor, concurrent.futures.ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(executor.submit, int) for _ in range(2)]
        assert [future.result().result(PATIENCE) for future in futures] == [0, 0]


def test_a_broken_executor_fails_what_it_has_and_refuses_more(executor: Any) -> None:
    futures = [executor.submit(int) for _ in range(3)]
    executor.mark_broken(polyexec.BrokenExecutor("worn out"))
    errors = [future.exception(0) for future in futures]
    assert [str(error) for error in errors] == ["worn out"] * 3
    assert len({id(error) for error in errors}) == 3
    with pytest.raises(polyexec.BrokenExecutor, match="worn out"):
        executor.submit(int)
    executor.run_all()
    ends(executor.shutdown)


def test_breaking_takes_every_task_along_whatever_callbacks_do(
    executor: Any, caplog: pytest.LogCaptureFixture
) -> None:
    futures = [executor.submit(int) for _ in range(5)]
    for future in futures:
        future.add_done_callback(lambda _: sys.exit("in a callback"))
    with contextlib.suppress(SystemExit):
        executor.mark_broken(polyexec.BrokenExecutor("worn out"))
    assert all(future.done() for future in futures)
    assert caplog.records


def test_a_failing_initializer_breaks_the_executor(caplog: pytest.LogCaptureFixture) -> None:
    go = threading.Event()

    def initialize() -> None:
        go.wait(PATIENCE)
        raise ValueError("no number")

    executor = thread_executor(2, initializer=initialize)
    futures = [executor.submit(int) for _ in range(4)]
    go.set()
    for future in futures:
        assert isinstance(future.exception(PATIENCE), polyexec.InitializerError)
    ends(executor.shutdown)
    assert "Exception in initializer" in caplog.text


def test_it_can_be_asyncios_default_executor() -> None:
    async def main() -> int:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(thread_executor(1))
        return await loop.run_in_executor(None, int, "3")

    assert ends(asyncio.run, main()) == 3


def test_busy_workers_do_not_keep_the_idle_from_being_hired(gate: threading.Event) -> None:
    with thread_executor(3) as executor:
        waits = [executor.submit(gate.wait, PATIENCE) for _ in range(2)]
        assert executor.submit(int).result(PATIENCE) == 0
        gate.set()
        assert [wait.result() for wait in waits] == [True, True]


def test_an_idle_thread_is_used_before_one_is_started() -> None:
    with thread_executor(4) as executor:
        for _ in range(20):
            executor.submit(int).result(PATIENCE)
        assert len(executor._threads) == 1


def test_more_positional_options_than_there_are_are_refused() -> None:
    with pytest.raises(TypeError):
        polyexec.get_context("thread").Executor(1, "prefix", None, (), 5)  # type: ignore[call-arg]  # the mistake


def test_spreading_backends_are_drained_too() -> None:
    with fake(SpreadingExecutor, 4) as executor:
        futures = [executor.submit(int) for _ in range(50)]
    assert all(future.done() for future in futures)
