"""Executors that are shut down, or dropped."""

from __future__ import annotations

import concurrent.futures
import gc
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

import pytest

import polyexec
from core.fakes import (
    PATIENCE,
    InlineExecutor,
    LateCondition,
    ends,
    fake,
    hold,
    python,
    thread_executor,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_shutdown_waits_for_what_was_accepted(gate: threading.Event) -> None:
    executor = thread_executor()
    futures = [executor.submit(gate.wait, PATIENCE) for _ in range(3)]
    gate.set()
    ends(executor.shutdown)
    assert all(future.result(0) for future in futures)


def test_shutdown_without_waiting_returns_and_the_tasks_run(gate: threading.Event) -> None:
    executor = thread_executor()
    future = executor.submit(gate.wait, PATIENCE)
    ends(executor.shutdown, wait=False)
    assert not future.done()
    gate.set()
    assert future.result(PATIENCE)


def test_a_last_task_that_ends_at_the_edge_of_a_slice_is_not_waited_for(executor: Any) -> None:
    executor.submit(int)
    ledger = executor._ledger
    ledger.lock = LateCondition(executor.run_all)
    executor.shutdown()
    assert executor.stops == [True]


def test_shutdown_cancels_what_has_not_started_if_asked(gate: threading.Event) -> None:
    executor = thread_executor()
    running = threading.Event()
    first = executor.submit(hold, running, gate)
    others = [executor.submit(int) for _ in range(3)]
    running.wait(PATIENCE)
    ends(executor.shutdown, wait=False, cancel_futures=True)
    assert all(other.cancelled() for other in others)
    gate.set()
    assert first.exception(PATIENCE) is None


def test_a_task_after_shutdown_is_refused_by_name() -> None:
    executor = fake(InlineExecutor)
    executor.shutdown()
    with pytest.raises(polyexec.ExecutorShutdownError, match="after shutdown"):
        executor.submit(int)
    with pytest.raises(RuntimeError):
        executor.map(int, ["1"])


def test_stop_is_called_when_the_last_task_has_ended(executor: Any) -> None:
    executor.submit(int)
    executor.shutdown(wait=False)
    assert executor.stops == []
    executor.run_all()
    assert executor.stops == [False]


def test_shutdown_may_be_called_again_with_wait(executor: Any) -> None:
    executor.shutdown(wait=False)
    executor.shutdown(wait=True)
    assert executor.stops[-1] is True


def test_a_second_shutdown_may_cancel(executor: Any) -> None:
    future = executor.submit(int)
    executor.shutdown(wait=False)
    ends(executor.shutdown, cancel_futures=True)
    assert future.cancelled()


def test_an_exception_in_a_callback_of_a_cancelled_task_does_not_stop_shutdown(
    executor: Any, caplog: pytest.LogCaptureFixture
) -> None:
    futures = [executor.submit(int) for _ in range(5)]
    for future in futures:
        future.add_done_callback(lambda _: sys.exit("in a callback"))
    ends(executor.shutdown, cancel_futures=True)
    assert all(future.cancelled() for future in futures)
    assert caplog.records


@pytest.mark.parametrize("cancel", [False, True], ids=["finish", "cancel"])
@pytest.mark.parametrize("wait", [False, True], ids=["go", "wait"])
def test_every_task_accepted_around_a_shutdown_ends_once_and_late_ones_raise(
    *, wait: bool, cancel: bool
) -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(10):
            _race_shutdown(wait=wait, cancel=cancel)
    finally:
        sys.setswitchinterval(before)


def _race_shutdown(*, wait: bool, cancel: bool) -> None:
    executor = thread_executor(2)
    told: list[int] = []
    begun = threading.Semaphore(0)

    def submit() -> tuple[list[Any], BaseException | None]:
        accepted: list[Any] = []
        while True:
            try:
                accepted.append(executor.submit(int))
                accepted[-1].add_done_callback(lambda _: told.append(1))
            except BaseException as error:  # noqa: BLE001 - returned
                return accepted, error
            begun.release()

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        submitters = [pool.submit(submit) for _ in range(3)]
        for _ in range(30):
            begun.acquire(timeout=PATIENCE)
        ends(executor.shutdown, wait=wait, cancel_futures=cancel)
        outcomes = [submitter.result(PATIENCE) for submitter in submitters]
    ends(executor.shutdown)
    accepted = [future for futures, _ in outcomes for future in futures]
    assert {type(error) for _, error in outcomes} == {polyexec.ExecutorShutdownError}
    assert all(future.done() for future in accepted)
    assert len(told) == len(accepted)
    assert executor.busy == 0


def test_shutdown_in_an_own_task_does_not_wait_for_itself() -> None:
    executor = thread_executor()
    future = executor.submit(executor.shutdown)
    with pytest.raises(RuntimeError, match="use wait=False"):
        future.result(PATIENCE)
    behind = thread_executor()
    assert behind.submit(behind.shutdown, wait=False).result(PATIENCE) is None
    ends(behind.shutdown)


def test_shutdown_in_an_own_callback_ends_the_executor(gate: threading.Event) -> None:
    executor = thread_executor()
    future = executor.submit(gate.wait, PATIENCE)
    future.add_done_callback(lambda _: executor.shutdown(wait=False))
    gate.set()
    ends(executor.shutdown)


def test_shutdown_in_a_task_of_a_map_that_waits_for_room_ends() -> None:
    executor = thread_executor(max_pending=1)

    def task(item: int) -> int:
        executor.shutdown(wait=False)
        return item

    def read() -> list[int]:
        return list(executor.map(task, range(10)))

    assert ends(read) == [*range(10)]


def test_shutdown_waits_for_no_input_that_another_thread_pulls(gate: threading.Event) -> None:
    executor = thread_executor()
    pulling = threading.Event()

    def inputs() -> Iterator[int]:
        yield 1
        pulling.set()
        gate.wait(PATIENCE)

    reader = threading.Thread(target=lambda: list(executor.map(abs, inputs())), daemon=True)
    reader.start()
    assert pulling.wait(PATIENCE)
    ends(executor.shutdown, wait=False, cancel_futures=True, seconds=3)


def test_shutdown_does_not_mind_maps_that_begin_meanwhile() -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(10):
            _race_maps()
    finally:
        sys.setswitchinterval(before)


def _race_maps() -> None:
    executor = thread_executor()
    kept: list[Any] = []

    def begin() -> None:
        for _ in range(5000):
            try:
                kept.append(executor.map(int, ["1"] if executor._shutdown else []))
            except polyexec.ExecutorShutdownError:
                return

    threads = [threading.Thread(target=begin) for _ in range(2)]
    for thread in threads:
        thread.start()
    while len(kept) < 100:
        pass
    executor.shutdown()
    for thread in threads:
        thread.join()
    assert executor._shutdown


def test_a_dropped_executor_is_collected_at_once_and_its_threads_end() -> None:
    gc.collect()
    gc.disable()
    try:
        executor = thread_executor(2)
        executor.submit(int).result()
        threads = list(executor._threads)
        reference = weakref.ref(executor)
        del executor
        for thread in threads:
            thread.join(PATIENCE)
        assert reference() is None
        assert not any(thread.is_alive() for thread in threads)
    finally:
        gc.enable()


def test_the_tasks_of_a_dropped_executor_run(gate: threading.Event) -> None:
    executor = thread_executor()
    futures = [executor.submit(gate.wait, PATIENCE), executor.submit(int)]
    del executor
    gate.set()
    assert [future.result(PATIENCE) for future in futures] == [True, 0]


def test_a_worker_that_drops_an_unread_map_does_not_wait_for_itself(gate: threading.Event) -> None:
    executor = thread_executor(max_pending=1)
    seen: list[int] = []
    results = [fake(InlineExecutor).map(int, ())]
    results[0] = executor.map(seen.append, iter(range(100)))
    executor.submit(lambda _: gate.wait(PATIENCE), results.pop())
    gate.set()
    ends(executor.shutdown)
    assert seen == list(range(100))


def test_submits_that_find_the_stack_full_keep_no_shutdown_waiting() -> None:
    code = """
        import sys
        import polyexec

        def fill(executor):
            executor.submit(abs, 1)
            fill(executor)

        limit = sys.getrecursionlimit()
        with polyexec.get_context("thread").Executor(1) as executor:
            executor.submit(abs, 1).result()
            for low in range(200, 230):
                sys.setrecursionlimit(low)
                try:
                    fill(executor)
                except RecursionError:
                    pass
            sys.setrecursionlimit(limit)
        print("ended")
    """
    assert python(code).stdout == "ended\n"
