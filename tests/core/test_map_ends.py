"""Maps that are left unread, closed, late, or whose inputs fail."""

from __future__ import annotations

import concurrent.futures
import gc
import itertools
import sys
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

import pytest

import polyexec
from core.fakes import (
    PATIENCE,
    Counted,
    ends,
    fail_at,
    failing_input,
    uncollected,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


# -- unread and closed ---------------------------------------------------------------------------


def test_an_unread_map_runs_every_input_at_shutdown() -> None:
    ran: list[int] = []
    executor = polyexec.get_context("thread").Executor(2)
    results = executor.map(ran.append, range(1000))
    ends(executor.shutdown)
    assert sorted(ran) == [*range(1000)]
    assert len(list(results)) == 1000


def test_an_unread_map_runs_every_input_when_with_is_left() -> None:
    ran: list[int] = []
    with polyexec.get_context("thread").Executor(2) as executor:
        kept = executor.map(ran.append, range(1000))
    assert sorted(ran) == [*range(1000)]
    del kept


def test_an_unread_map_runs_every_input_when_it_is_dropped(threads: Any) -> None:
    ran: list[int] = []
    threads.map(ran.append, range(1000))
    threads.shutdown()
    assert sorted(ran) == [*range(1000)]


def test_an_unread_map_of_a_dropped_executor_runs() -> None:
    ran: list[int] = []
    done = threading.Event()
    results = polyexec.get_context("thread").Executor(1).map(ran.append, range(500))
    del results
    gc.collect()
    with polyexec.get_context("thread").Executor(1) as other:
        while len(ran) < 500 and not done.wait(0.01):
            other.submit(int).result()
    assert sorted(ran) == [*range(500)]


def test_an_unread_map_with_buffersize_pulls_no_more(executor: Any) -> None:
    inputs = Counted()
    executor.map(abs, inputs, buffersize=4)
    executor.run_all()
    executor.shutdown()
    assert inputs.pulled == 4


def test_a_started_map_that_is_closed_cancels_the_rest(executor: Any) -> None:
    inputs = Counted()
    results = executor.map(abs, inputs)
    executor.tasks.popleft().run()
    assert next(results) == 0
    pulled = inputs.pulled
    results.close()
    assert all(task.future.cancelled() for task in executor.tasks)
    assert inputs.pulled == pulled


def test_a_started_map_that_is_dropped_cancels_the_rest(executor: Any) -> None:
    results = executor.map(abs, Counted())
    executor.tasks.popleft().run()
    next(results)
    del results
    assert all(task.future.cancelled() for task in executor.tasks)


def test_shutdown_cancelling_ends_an_infinite_map() -> None:
    executor = polyexec.get_context("thread").Executor(1)
    results = executor.map(abs, itertools.count())
    next(results)
    ends(executor.shutdown, cancel_futures=True)
    with pytest.raises(polyexec.CancelledError):
        list(results)


def test_a_map_can_be_read_after_shutdown() -> None:
    executor = polyexec.get_context("thread").Executor(2)
    results = executor.map(abs, range(300))
    assert next(results) == 0
    ends(executor.shutdown)
    assert list(results) == [*range(1, 300)]


def test_a_map_that_another_thread_drains_meanwhile_is_complete() -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(20):
            executor = polyexec.get_context("thread").Executor(2)
            results = executor.map(abs, range(400))
            draining = threading.Thread(target=executor.shutdown)
            draining.start()
            assert ends(list, results) == [*range(400)]
            draining.join(PATIENCE)
    finally:
        sys.setswitchinterval(before)


def test_a_finished_map_keeps_neither_executor_nor_input() -> None:
    with uncollected():
        executor = polyexec.get_context("thread").Executor(1)
        inputs = Counted(range(3))
        results = executor.map(abs, inputs)
        references: list[Callable[[], object]] = [weakref.ref(executor), weakref.ref(inputs)]
        workers = [*executor._threads]  # type: ignore[attr-defined]  # the thread backend's
        assert list(results) == [0, 1, 2]
        del executor, inputs
        for worker in workers:
            worker.join(PATIENCE)
        assert [reference() for reference in references] == [None, None]


def test_a_map_that_failed_is_in_no_cycle(threads: Any) -> None:
    with uncollected():
        results = threads.map(fail_at(0, ValueError()), range(5))
        with pytest.raises(ValueError):  # noqa: PT011 - any
            next(results)
        reference = weakref.ref(results)
        del results
        assert reference() is None


# -- timeout -------------------------------------------------------------------------------------


def test_a_result_that_does_not_come_in_time_raises_and_cancels(executor: Any) -> None:
    results = executor.map(abs, range(5), timeout=0.02)
    with pytest.raises(concurrent.futures.TimeoutError):
        next(results)
    assert all(task.future.cancelled() for task in executor.tasks)


def test_the_timeout_counts_from_the_call(executor: Any) -> None:
    results = executor.map(abs, range(2), timeout=0.02)
    executor.tasks.popleft().run()
    time.sleep(0.03)
    assert next(results) == 0
    with pytest.raises(concurrent.futures.TimeoutError):
        next(results)


def test_a_timeout_of_0_still_gives_what_is_there(executor: Any) -> None:
    results = executor.map(abs, range(2), timeout=0)
    executor.run_all()
    assert list(results) == [0, 1]


# -- errors of the inputs ------------------------------------------------------------------------


@pytest.mark.parametrize("chunksize", [1, 7])
def test_an_error_of_a_long_input_comes_in_its_place(threads: Any, chunksize: int) -> None:
    got: list[int] = []
    results = threads.map(abs, failing_input(900), chunksize=chunksize)

    with pytest.raises(ValueError, match="the input is broken"):
        got.extend(results)
    assert got == [*range(900)]
    assert list(results) == []


def test_an_error_of_a_short_input_is_raised_once(threads: Any) -> None:
    got: list[int] = []

    def read() -> None:
        for result in threads.map(abs, failing_input(3)):
            got.append(result)  # noqa: PERF402 - what came before the error counts

    with pytest.raises(ValueError, match="the input is broken"):
        read()
    gc.collect()  # an error raised again by __del__ would fail this test


def test_an_interrupted_input_leaves_the_map_usable(executor: Any) -> None:
    class _Interrupted(Counted):
        def __next__(self) -> int:
            if self.pulled == 60 and not self.interrupted:
                self.interrupted = True
                raise KeyboardInterrupt
            return super().__next__()

        interrupted = False

    inputs = _Interrupted(range(70))
    executor.accept = lambda task: task.run()
    results = executor.map(abs, inputs, buffersize=59)
    got = [next(results)]
    with pytest.raises(KeyboardInterrupt):
        got.extend(next(results) for _ in range(70))
    got.extend(results)
    assert got == [*range(70)]


def test_an_input_that_shuts_the_executor_down_runs_to_its_end(threads: Any) -> None:
    def inputs() -> Iterator[int]:
        yield 1
        threads.shutdown(wait=False)
        yield 2

    def read() -> list[int]:
        return list(threads.map(abs, inputs()))

    assert ends(read) == [1, 2]
