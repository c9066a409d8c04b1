"""The future: the standard library's, lighter, and with more to tell."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import math
import pickle
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

import pytest

import polyexec
from core.fakes import PATIENCE, IoExecutor, ends, fake, uncollected
from polyexec import Future
from polyexec.future import Alarm
from polyexec.scheduling import Job
from polyexec.waiting import acquire

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Thing:
    """Something that can be referred to weakly."""


@pytest.fixture
def no_gc() -> Iterator[None]:
    with uncollected():
        yield


def _fail(error: BaseException) -> Any:
    raise error


# -- outcomes ------------------------------------------------------------------------------------


def test_creating_and_completing_a_future_allocates_no_condition(executor: Any) -> None:
    future = executor.submit(int)
    executor.run_all()
    assert future.result() == 0
    assert future._company.condition is None
    assert (future._waiters, future._done_callbacks) == ((), ())


def test_what_there_is_of_for_each_task_has_no_dictionary(executor: Any) -> None:
    future = executor.submit(int)
    task = future._task
    executor.run_all()
    assert vars(future) == {}
    assert not any(hasattr(thing, "__dict__") for thing in (task, Job(1, None, task)))


def test_the_keywords_of_a_call_without_any_are_no_others_to_change(executor: Any) -> None:
    task = executor.submit(int)._task
    assert (dict(task.kwargs), pickle.loads(pickle.dumps(task.kwargs))) == ({}, {})
    for change in ("update", "setdefault"):
        with pytest.raises(TypeError, match="wrap its function"):
            getattr(task.kwargs, change)("x", 1)
    with pytest.raises(TypeError, match="wrap its function"):
        task.kwargs["x"] = 1


@pytest.mark.parametrize("load", [None, int])
def test_a_snapshot_tells_what_asyncio_is_to_copy(executor: Any, load: Any) -> None:
    futures = [executor.submit(int) for _ in range(4)]
    pending, cancelled, failed, done = futures
    cancelled.cancel()
    error = ValueError()
    failed.set_exception(error)
    done.set_result(0) if load is None else done._task.arrive(load)
    assert [future._get_snapshot() for future in futures] == [
        (False, False, None, None),
        (True, True, None, None),
        (True, False, None, error),
        (True, False, 0, None),
    ]
    pending.cancel()


def test_a_future_takes_attributes_of_others(executor: Any) -> None:
    future = executor.submit(int)
    future.mine = 1
    executor.run_all()
    assert (future.mine, future.result()) == (1, 0)


@pytest.mark.usefixtures("switching")
def test_all_who_ask_for_a_lock_at_once_get_the_same() -> None:
    for _ in range(200):
        future: polyexec.Future[int] = polyexec.Future()
        together = threading.Barrier(4)
        locks: list[Any] = []

        def ask(future: Any = future, together: Any = together, locks: Any = locks) -> None:
            together.wait()
            locks.append(future._lock)

        asking = [threading.Thread(target=ask) for _ in range(4)]
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join()
        assert all(lock is future._lock for lock in locks)


def test_a_result_is_returned(executor: Any) -> None:
    future = executor.submit(int, "3")
    executor.run_all()
    assert (future.result(), future.exception(), future.done()) == (3, None, True)


def test_an_exception_is_raised_as_itself(executor: Any) -> None:
    error = ValueError("mine")
    future = executor.submit(_fail, error)
    executor.run_all()
    assert future.exception() is error
    with pytest.raises(ValueError, match="mine"):
        future.result()


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_a_base_exception_of_a_task_is_its_outcome(executor: Any, kind: type) -> None:
    future = executor.submit(_fail, kind())
    executor.run_all()
    assert type(future.exception()) is kind


def test_waiting_for_a_result_ends_with_the_timeout(executor: Any) -> None:
    future = executor.submit(int)
    with pytest.raises(concurrent.futures.TimeoutError):
        future.result(timeout=0.01)
    with pytest.raises(concurrent.futures.TimeoutError):
        future.exception(timeout=0)


@pytest.mark.parametrize("seconds", [1e10, 1e300, math.inf])
def test_one_may_be_as_patient_as_one_likes(seconds: float) -> None:
    assert acquire(threading.Lock(), seconds)


def test_all_who_wait_for_a_result_are_woken(executor: Any) -> None:
    future = executor.submit(int)
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        waits = [pool.submit(future.result, PATIENCE) for _ in range(3)]
        executor.run_all()
        assert [wait.result() for wait in waits] == [0, 0, 0]


def test_notifying_the_condition_wakes_who_waits_for_the_result() -> None:
    future: polyexec.Future[int] = polyexec.Future()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waits = pool.submit(future.result, PATIENCE)
        while not future._waiters:
            time.sleep(0.001)
        with future._condition:
            future._condition.notify_all()  # for nothing
        with future._condition:
            future._state, future._result = "FINISHED", 3
            future._condition.notify_all()
        assert waits.result() == 3


def test_a_task_that_ends_at_the_edge_of_a_slice_is_not_waited_for(
    executor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    future = executor.submit(int)
    wait = Alarm.wait

    def wait_in_vain(alarm: Alarm, timeout: float | None) -> bool:
        if wait(alarm, timeout and 0):
            return True
        executor.run_all()
        return False

    monkeypatch.setattr(Alarm, "wait", wait_in_vain)
    assert future.result() == 0


def test_who_waits_for_a_future_that_nobody_runs_hears_that_it_was_cancelled() -> None:
    future: polyexec.Future[int] = polyexec.Future()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waits = pool.submit(future.exception, PATIENCE)
        while not future._waiters:
            time.sleep(0.001)
        future.cancel()
        assert isinstance(waits.exception(), polyexec.CancelledError)
    assert not future.set_running_or_notify_cancel()


def test_waits_that_have_ended_leave_nothing_behind(executor: Any) -> None:
    future = executor.submit(int)
    for _ in range(3):
        with pytest.raises(concurrent.futures.TimeoutError):
            future.result(timeout=0)
    assert not future._waiters


def test_a_future_takes_no_second_outcome(executor: Any) -> None:
    future = executor.submit(int)
    task = executor.tasks[0]
    executor.run_all()
    assert not task.succeed(1)
    assert not task.fail(ValueError())
    with pytest.raises(polyexec.InvalidStateError):
        future.set_result(2)
    assert future.result() == 0


def test_a_bare_future_behaves_as_the_standard_one() -> None:
    future: Future[int] = Future()
    assert future.set_running_or_notify_cancel()
    assert future.running()
    assert not future.cancel()
    future.set_result(1)
    assert future.result() == 1
    with pytest.raises(polyexec.InvalidStateError):
        future.set_exception(ValueError())


# -- cancelling ----------------------------------------------------------------------------------


def test_a_cancelled_task_never_runs(executor: Any) -> None:
    ran: list[int] = []
    future = executor.submit(ran.append, 1)
    assert future.cancel()
    executor.run_all()
    assert (ran, future.cancelled(), future.done()) == ([], True, True)
    with pytest.raises(polyexec.CancelledError):
        future.result()


def test_a_running_or_ended_task_is_not_cancelled(executor: Any) -> None:
    answers: list[bool] = []
    future: Any = executor.submit(lambda: answers.append(future.cancel()))
    executor.run_all()
    assert answers == [False]
    assert not future.cancel()


def test_cancelling_a_running_task_says_who_could_stop_it(executor: Any) -> None:
    errors: list[polyexec.NotSupportedError] = []

    def cancel() -> None:
        with pytest.raises(polyexec.NotSupportedError) as caught:
            future.cancel(running=True)
        errors.append(caught.value)

    future = executor.submit(cancel)
    executor.run_all()
    assert future.exception() is None
    assert errors[0].capability == polyexec.capabilities.KILL_RUNNING


def test_cancelling_twice_tells_true_twice(executor: Any) -> None:
    future = executor.submit(int)
    assert (future.cancel(), future.cancel()) == (True, True)


def test_a_cancelled_bare_future_is_told_to_its_waiters_once() -> None:
    future: Future[int] = Future()
    assert future.cancel()
    assert not future.set_running_or_notify_cancel()
    done, _ = concurrent.futures.wait([future], timeout=PATIENCE)
    assert done == {future}


# -- callbacks -----------------------------------------------------------------------------------


def test_callbacks_run_in_the_order_in_which_they_were_added(executor: Any) -> None:
    order: list[int] = []
    future = executor.submit(int)
    for number in range(5):
        future.add_done_callback(lambda _, number=number: order.append(number))
    executor.run_all()
    assert order == [0, 1, 2, 3, 4]


def test_a_callback_gets_its_future_and_runs_at_once_if_that_has_ended(executor: Any) -> None:
    future = executor.submit(int)
    executor.run_all()
    got: list[Any] = []
    future.add_done_callback(got.append)
    assert got == [future]


def test_a_callback_is_told_of_a_cancellation(executor: Any) -> None:
    got: list[Any] = []
    future = executor.submit(int)
    future.add_done_callback(got.append)
    future.cancel()
    executor.run_all()
    assert got == [future]


def test_an_exception_in_a_callback_is_logged_and_stops_no_other(
    executor: Any, caplog: pytest.LogCaptureFixture
) -> None:
    ran: list[Any] = []
    future = executor.submit(int)
    future.add_done_callback(lambda _: _fail(ValueError("in a callback")))
    future.add_done_callback(ran.append)
    with caplog.at_level(logging.ERROR, "concurrent.futures"):
        executor.run_all()
    assert ran == [future]
    assert "in a callback" in caplog.text


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_a_base_exception_in_a_callback_stops_no_other(
    kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    ran = threading.Event()
    go = threading.Event()
    with polyexec.get_context("thread").Executor(1) as executor:
        future = executor.submit(go.wait, PATIENCE)
        future.add_done_callback(lambda _: _fail(kind()))
        future.add_done_callback(lambda _: ran.set())
        behind = executor.submit(int)
        go.set()
        assert behind.result(PATIENCE) == 0
    assert ran.is_set()
    assert caplog.records


def test_a_callback_may_add_a_callback(executor: Any) -> None:
    ran: list[int] = []
    future = executor.submit(int)
    future.add_done_callback(lambda done: done.add_done_callback(lambda _: ran.append(1)))
    executor.run_all()
    assert ran == [1]


def test_result_is_there_when_the_callback_runs(threads: polyexec.Executor) -> None:
    got: concurrent.futures.Future[int] = concurrent.futures.Future()
    threads.submit(int, "5").add_done_callback(lambda future: got.set_result(future.result(0)))
    assert got.result(PATIENCE) == 5


# -- asyncio -------------------------------------------------------------------------------------


def test_a_future_can_be_awaited(threads: polyexec.Executor) -> None:
    async def main() -> int:
        return await threads.submit(int, "4")

    assert asyncio.run(main()) == 4


def test_awaiting_raises_what_the_task_raised(threads: polyexec.Executor) -> None:
    async def main() -> None:
        await threads.submit(_fail, ValueError("mine"))

    with pytest.raises(ValueError, match="mine"):
        asyncio.run(main())


@pytest.mark.parametrize("kind", [StopIteration, SystemExit, KeyboardInterrupt])
def test_awaiting_ends_whatever_the_task_raised(
    threads: polyexec.Executor, kind: type[BaseException]
) -> None:
    async def main() -> str:
        try:
            await asyncio.wait_for(_await(threads.submit(_fail, kind())), 3)
        except asyncio.TimeoutError:
            return "hangs"
        except BaseException as error:  # noqa: BLE001 - any outcome will do
            return type(error).__name__
        return "nothing"

    assert ends(_run_quietly, main()) in {kind.__name__, "RuntimeError"}


async def _await(future: Future[Any]) -> Any:
    return await future


def _run_quietly(coroutine: Any) -> Any:
    try:
        return asyncio.run(coroutine)
    except BaseException as error:  # noqa: BLE001 - asyncio lets SystemExit out of the loop
        return type(error).__name__


def test_cancelling_the_awaiting_coroutine_cancels_the_task(executor: Any) -> None:
    async def main() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.wrap_future(executor.submit(int)), 0.01)

    asyncio.run(main())
    assert executor.tasks[0].future.cancelled()


def test_wrap_future_takes_it(threads: polyexec.Executor) -> None:
    async def main() -> list[int]:
        futures = [threads.submit(int, str(number)) for number in range(20)]
        return await asyncio.gather(*[asyncio.wrap_future(future) for future in futures])

    assert asyncio.run(main()) == list(range(20))


def test_awaiting_works_where_callbacks_have_a_thread_of_their_own() -> None:
    async def main(executor: Any) -> int:
        value: int = await executor.submit(int, "6")
        return value

    with fake(IoExecutor) as executor:
        assert asyncio.run(main(executor)) == 6


# -- wait and as_completed -----------------------------------------------------------------------


def test_wait_takes_ours_and_the_standard_librarys(executor: Any) -> None:
    standard: concurrent.futures.Future[int] = concurrent.futures.Future()
    ours = executor.submit(int)
    executor.run_all()
    done, not_done = concurrent.futures.wait([ours, standard], timeout=0)
    assert (done, not_done) == ({ours}, {standard})
    standard.set_result(1)
    assert concurrent.futures.wait([ours, standard], PATIENCE).done == {ours, standard}


@pytest.mark.parametrize("when", ["FIRST_COMPLETED", "FIRST_EXCEPTION", "ALL_COMPLETED"])
def test_wait_wakes_for_what_it_was_asked_to(threads: polyexec.Executor, when: str) -> None:
    go = threading.Event()
    late: Future[Any] = threads.submit(go.wait, PATIENCE)
    early: Future[Any] = (
        threads.submit(_fail, ValueError()) if "EXC" in when else threads.submit(int)
    )
    if when == "ALL_COMPLETED":
        go.set()
    done, not_done = concurrent.futures.wait([late, early], PATIENCE, return_when=when)
    go.set()
    assert (early in done, late in not_done) == (True, when != "ALL_COMPLETED")


def test_as_completed_yields_mixed_futures_as_they_end(executor: Any) -> None:
    standard: concurrent.futures.Future[int] = concurrent.futures.Future()
    first, second = executor.submit(int), executor.submit(int)
    completed = concurrent.futures.as_completed([first, standard, second], timeout=PATIENCE)
    second.cancel()
    assert next(completed) is second
    standard.set_result(1)
    assert next(completed) is standard
    executor.run_all()
    assert next(completed) is first


def test_as_completed_leaves_no_waiter_behind(executor: Any) -> None:
    future = executor.submit(int)
    with pytest.raises(concurrent.futures.TimeoutError):
        list(concurrent.futures.as_completed([future], timeout=0.01))
    assert list(future._waiters) == []


# -- what a future knows -------------------------------------------------------------------------


def test_a_future_knows_name_worker_attempts_and_times(threads: polyexec.Executor) -> None:
    before = time.time()
    future = threads.options(name="job").submit(int)
    future.result()
    assert (future.name, future.attempts) == ("job", 1)
    assert future.worker is not None
    assert future.submitted_at is not None
    assert future.started_at is not None
    assert before <= future.submitted_at <= future.started_at <= time.time()


@pytest.mark.usefixtures("switching")
def test_times_are_there_as_soon_as_the_result_is(threads: polyexec.Executor) -> None:
    for _ in range(500):
        future = threads.submit(int)
        future.result(PATIENCE)
        assert future.started_at is not None
        assert future.finished_at is not None
        assert future.started_at <= future.finished_at


def test_what_is_not_known_yet_is_none(executor: Any) -> None:
    future = executor.submit(int)
    assert (future.worker, future.started_at, future.finished_at) == (None, None, None)
    assert (future.attempts, future.name) == (0, "int")


def test_a_cancelled_future_has_an_end_and_no_start(executor: Any) -> None:
    future = executor.submit(int)
    future.cancel()
    assert future.started_at is None
    assert future.finished_at is not None


def test_attempts_count_every_start(executor: Any) -> None:
    view = executor.options(retries=2, retry_exceptions=(ValueError,))
    future = view.submit(_fail, ValueError())
    executor.run_all()
    assert future.attempts == 3
    assert isinstance(future.exception(), ValueError)


def test_the_repr_tells_the_state(executor: Any) -> None:
    future = executor.submit(int)
    assert "state=pending" in repr(future)
    executor.run_all()
    assert "state=finished returned int" in repr(future)


# -- races ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("switching")
def test_no_result_is_lost_between_completion_and_waiting(threads: polyexec.Executor) -> None:
    for number in range(2000):
        assert threads.submit(int, number).result(PATIENCE) == number


@pytest.mark.usefixtures("switching")
def test_a_callback_added_while_the_task_ends_runs_once(threads: polyexec.Executor) -> None:
    calls: list[int] = []
    for number in range(1000):
        future = threads.submit(int, number)
        for _ in range(3):
            future.add_done_callback(lambda done: calls.append(done.result()))
    threads.shutdown()
    assert sorted(calls) == sorted([*range(1000)] * 3)


@pytest.mark.usefixtures("switching")
def test_cancel_while_the_task_starts_has_one_outcome(threads: polyexec.Executor) -> None:
    ran: list[int] = []
    told: list[int] = []
    futures: list[Future[None]] = []
    for number in range(1000):
        future = threads.submit(ran.append, number)
        future.add_done_callback(lambda _: told.append(1))
        futures.append(future)
        future.cancel()
    threads.shutdown()
    assert len(told) == 1000
    assert len(ran) == sum(not future.cancelled() for future in futures)


@pytest.mark.usefixtures("switching")
def test_as_completed_misses_nothing_that_ends_while_it_begins(threads: polyexec.Executor) -> None:
    for _ in range(100):
        futures = [threads.submit(int) for _ in range(10)]
        assert len(list(concurrent.futures.as_completed(futures, PATIENCE))) == 10


@pytest.mark.usefixtures("switching")
def test_many_cancelling_threads_tell_a_callback_once(executor: Any) -> None:
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for _ in range(100):
            told: list[int] = []
            future = executor.submit(int)
            future.add_done_callback(lambda _, told=told: told.append(1))
            answers = [pool.submit(future.cancel) for _ in range(4)]
            assert all(answer.result() for answer in answers)
            assert told == [1]


# -- memory --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_gc")
def test_nothing_refers_to_arguments_and_result_of_a_finished_task(
    threads: polyexec.Executor,
) -> None:
    thing = _Thing()
    argument = weakref.ref(thing)
    future = threads.submit(lambda given: [given], thing)
    assert future.result() == [thing]
    del future, thing
    threads.submit(int).result()  # the worker has let go of the task before
    threads.shutdown()
    assert argument() is None


@pytest.mark.usefixtures("no_gc")
def test_a_finished_future_is_in_no_cycle(threads: polyexec.Executor) -> None:
    future = threads.submit(int)
    future.add_done_callback(lambda _: None)
    future.result()
    threads.shutdown()
    reference = weakref.ref(future)
    del future
    assert reference() is None


@pytest.mark.usefixtures("no_gc")
def test_a_failed_future_is_in_no_cycle(threads: polyexec.Executor) -> None:
    future = threads.submit(_fail, ValueError())
    with pytest.raises(ValueError):  # noqa: PT011 - any
        future.result()
    threads.shutdown()
    reference = weakref.ref(future)
    del future
    assert reference() is None


@pytest.mark.usefixtures("no_gc")
def test_a_finished_future_does_not_keep_its_executor(executor: Any) -> None:
    future = executor.submit(int)
    executor.run_all()
    assert future._task is None
    assert not executor._ledger.unfinished
    assert not executor._ledger.settling


@pytest.mark.usefixtures("no_gc")
def test_a_cancelled_task_lets_go_of_its_arguments(threads: polyexec.Executor) -> None:
    go = threading.Event()
    busy = [threads.submit(go.wait, PATIENCE) for _ in range(2)]
    thing = _Thing()
    reference = weakref.ref(thing)
    assert threads.submit(id, thing).cancel()
    del thing
    kept = reference() is not None
    go.set()
    concurrent.futures.wait(busy)
    assert not kept
