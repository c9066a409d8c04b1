"""`Executor.map`: lazy, bounded, in order or not, and nothing lost."""

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
    FakeContext,
    InlineExecutor,
    QueueingExecutor,
    SpreadingExecutor,
    ends,
    fake,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def threads() -> Iterator[Any]:
    with polyexec.get_context("thread").Executor(2) as executor:
        yield executor


@pytest.fixture
def executor() -> Any:
    """An executor that runs its tasks when told, one by one."""
    queueing = fake(QueueingExecutor, 2)
    queueing.adapts_chunks = False
    return queueing


class _Counted:
    """Counts what is pulled from it."""

    def __init__(self, items: Any = None) -> None:
        self.pulled = 0
        self._items = itertools.count() if items is None else iter(items)

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        item: int = next(self._items)
        self.pulled += 1
        return item


def _failing_input(items: int) -> Iterator[int]:
    yield from range(items)
    raise ValueError("the input is broken")


def _fail_at(place: int, error: BaseException) -> Callable[[int], int]:
    def task(item: int) -> int:
        if item == place:
            raise error
        return item

    return task


# -- results -------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunksize", [None, 1, 3, 100])
@pytest.mark.parametrize("kind", [InlineExecutor, SpreadingExecutor])
def test_results_come_in_the_order_of_the_inputs(kind: Any, chunksize: int | None) -> None:
    with fake(kind, 4) as executor:
        assert list(executor.map(abs, range(-50, 0), chunksize=chunksize)) == [*range(50, 0, -1)]


def test_several_inputs_are_taken_in_parallel_up_to_the_shortest(threads: Any) -> None:
    assert list(threads.map(pow, [1, 2, 3], itertools.repeat(2))) == [1, 4, 9]


def test_no_inputs_give_no_results(threads: Any) -> None:
    assert list(threads.map(abs, [])) == []
    assert list(threads.map(abs)) == []


def test_arguments_are_checked_at_the_call(threads: Any) -> None:
    with pytest.raises(TypeError, match="callable"):
        threads.map(3, [1])
    with pytest.raises(TypeError):
        threads.map(abs, 3)
    for name in ("chunksize", "buffersize"):
        for value in (0, -1, 1.5, "2"):
            with pytest.raises((TypeError, ValueError), match=name):
                threads.map(abs, [1], **{name: value})


def test_the_first_exception_ends_the_iterator_and_cancels_the_rest(executor: Any) -> None:
    results = executor.map(_fail_at(1, KeyError("mine")), range(10))
    for _ in range(2):
        executor.tasks.popleft().run()
    assert next(results) == 0
    with pytest.raises(KeyError, match="mine"):
        next(results)
    assert all(task.future.cancelled() for task in executor.tasks)
    assert list(results) == []


@pytest.mark.parametrize("chunksize", [1, 4])
def test_an_exception_takes_its_place_if_asked(threads: Any, chunksize: int) -> None:
    error = KeyError("mine")
    task = _fail_at(2, error)
    results = threads.map(task, range(5), return_exceptions=True, chunksize=chunksize)
    assert list(results) == [0, 1, error, 3, 4]


@pytest.mark.parametrize("chunksize", [1, 4])
@pytest.mark.parametrize("ordered", [True, False])
def test_stop_iteration_of_a_task_does_not_end_the_results_quietly(
    threads: Any, chunksize: int, *, ordered: bool
) -> None:
    results = threads.map(
        _fail_at(2, StopIteration()), range(5), chunksize=chunksize, ordered=ordered
    )
    with pytest.raises(RuntimeError, match="StopIteration"):
        list(results)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_a_base_exception_of_a_task_is_raised_in_its_place(threads: Any, kind: type) -> None:
    results = threads.map(_fail_at(1, kind()), range(5), chunksize=2)
    assert next(results) == 0
    with pytest.raises(kind):
        next(results)


# -- order ---------------------------------------------------------------------------------------


def test_unordered_results_come_as_they_end(executor: Any) -> None:
    results = executor.map(abs, range(4), ordered=False)
    for task in reversed([*executor.tasks]):
        task.run()
    assert list(results) == [3, 2, 1, 0]


def test_unordered_results_are_complete(threads: Any) -> None:
    assert sorted(threads.map(abs, range(500), ordered=False)) == [*range(500)]


def test_a_slow_head_does_not_idle_the_other_workers() -> None:
    head, others = threading.Event(), threading.Semaphore(0)

    def task(item: int) -> int:
        if item == 0:
            head.wait(PATIENCE)
        else:
            others.release()
        return item

    with polyexec.get_context("thread").Executor(2) as executor:
        results = executor.map(task, range(1000))
        reader = threading.Thread(target=lambda: list(results), daemon=True)
        reader.start()
        ran = [others.acquire(timeout=5) for _ in range(999)]
        head.set()
        reader.join(PATIENCE)
    assert all(ran)


# -- laziness ------------------------------------------------------------------------------------


def test_the_inputs_are_pulled_a_bounded_distance_ahead(executor: Any) -> None:
    inputs = _Counted()
    results = executor.map(abs, inputs)
    bound = inputs.pulled
    assert 2 <= bound <= 100
    executor.run_all()
    next(results)
    assert inputs.pulled <= 2 * bound + 1
    results.close()


def test_an_infinite_input_is_read_as_far_as_wanted(threads: Any) -> None:
    results = threads.map(abs, itertools.count())
    assert list(itertools.islice(results, 300)) == [*range(300)]
    results.close()


def test_leaving_a_loop_over_an_infinite_input_ends(threads: Any) -> None:
    def body() -> int:
        last = 0
        for result in threads.map(abs, itertools.count()):
            last = result
            if last > 5:
                break
        return last

    assert ends(body) == 6


def test_results_that_nobody_reads_are_bounded() -> None:
    inputs = _Counted()
    with fake(InlineExecutor) as executor:
        results = executor.map(abs, inputs, chunksize=1)
        for _ in range(50):
            next(results)
        assert inputs.pulled < 70_000
        results.close()


def test_memory_is_flat_over_a_long_map(threads: Any) -> None:
    alive = weakref.WeakSet[Any]()
    most = 0

    class _Item:
        pass

    def inputs() -> Iterator[_Item]:
        for _ in range(5000):
            item = _Item()
            alive.add(item)
            yield item

    for _ in threads.map(id, inputs()):
        most = max(most, len(alive))
    assert most < 500


def test_results_read_are_not_kept(threads: Any) -> None:
    class _Result:
        pass

    results = threads.map(lambda _: _Result(), range(20))
    reference = weakref.ref(next(results))
    next(results)
    assert reference() is None
    list(results)


@pytest.mark.parametrize("ordered", [True, False])
def test_with_a_buffersize_no_more_inputs_are_ahead(executor: Any, *, ordered: bool) -> None:
    inputs = _Counted()
    results = executor.map(abs, inputs, buffersize=3, ordered=ordered)
    assert inputs.pulled == 3
    executor.run_all()
    next(results)
    assert inputs.pulled <= 4
    results.close()


def test_a_buffersize_smaller_than_the_chunks_still_bounds(executor: Any) -> None:
    inputs = _Counted()
    results = executor.map(abs, inputs, buffersize=3, chunksize=10)
    executor.run_all()
    assert inputs.pulled == 3
    assert [next(results), next(results), next(results)] == [0, 1, 2]
    results.close()


def test_a_map_with_buffersize_yields_everything(threads: Any) -> None:
    assert list(threads.map(abs, range(200), buffersize=1)) == [*range(200)]
    assert list(threads.map(abs, range(200), buffersize=7, chunksize=3)) == [*range(200)]


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
    inputs = _Counted()
    executor.map(abs, inputs, buffersize=4)
    executor.run_all()
    executor.shutdown()
    assert inputs.pulled == 4


def test_a_started_map_that_is_closed_cancels_the_rest(executor: Any) -> None:
    inputs = _Counted()
    results = executor.map(abs, inputs)
    executor.tasks.popleft().run()
    assert next(results) == 0
    pulled = inputs.pulled
    results.close()
    assert all(task.future.cancelled() for task in executor.tasks)
    assert inputs.pulled == pulled


def test_a_started_map_that_is_dropped_cancels_the_rest(executor: Any) -> None:
    results = executor.map(abs, _Counted())
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
    gc.collect()
    gc.disable()
    try:
        executor = polyexec.get_context("thread").Executor(1)
        inputs = _Counted(range(3))
        results = executor.map(abs, inputs)
        references: list[Callable[[], object]] = [weakref.ref(executor), weakref.ref(inputs)]
        workers = [*executor._threads]  # type: ignore[attr-defined]  # the thread backend's
        assert list(results) == [0, 1, 2]
        del executor, inputs
        for worker in workers:
            worker.join(PATIENCE)
        assert [reference() for reference in references] == [None, None]
    finally:
        gc.enable()


def test_a_map_that_failed_is_in_no_cycle(threads: Any) -> None:
    gc.collect()
    gc.disable()
    try:
        results = threads.map(_fail_at(0, ValueError()), range(5))
        with pytest.raises(ValueError):  # noqa: PT011 - any
            next(results)
        reference = weakref.ref(results)
        del results
        assert reference() is None
    finally:
        gc.enable()


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
    results = threads.map(abs, _failing_input(900), chunksize=chunksize)

    with pytest.raises(ValueError, match="the input is broken"):
        got.extend(results)
    assert got == [*range(900)]
    assert list(results) == []


def test_an_error_of_a_short_input_is_raised_once(threads: Any) -> None:
    got: list[int] = []

    def read() -> None:
        for result in threads.map(abs, _failing_input(3)):
            got.append(result)  # noqa: PERF402 - what came before the error counts

    with pytest.raises(ValueError, match="the input is broken"):
        read()
    gc.collect()  # an error raised again by __del__ would fail this test


def test_an_interrupted_input_leaves_the_map_usable(executor: Any) -> None:
    class _Interrupted(_Counted):
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


# -- chunks --------------------------------------------------------------------------------------


def _sizes(executor: Any) -> list[int]:
    return [len(getattr(task.fn, "items", [0])) for task in executor.tasks]


def test_fixed_chunks_have_the_size_asked_for(executor: Any) -> None:
    results = executor.map(abs, range(10), chunksize=4)
    assert _sizes(executor) == [4, 4, 2]
    executor.run_all()
    assert list(results) == [*range(10)]


def test_without_adapting_each_item_is_a_task_of_its_own(executor: Any) -> None:
    results = executor.map(abs, range(5))
    assert [task.fn for task in executor.tasks] == [abs] * 5
    executor.run_all()
    assert list(results) == [*range(5)]


def test_adaptive_chunks_grow_over_tiny_tasks() -> None:
    sizes: list[int] = []

    class _Measuring(InlineExecutor):
        def accept(self, task: polyexec.Task) -> None:
            sizes.append(len(getattr(task.fn, "items", [0])))
            super().accept(task)

    with fake(_Measuring, 2) as executor:
        assert list(executor.map(abs, range(20_000))) == [*range(20_000)]
    assert sizes[0] == 1
    assert max(sizes) > 20
    assert len(sizes) < 5000


def test_adaptive_chunks_stay_single_over_long_tasks() -> None:
    sizes: list[int] = []

    class _Measuring(InlineExecutor):
        def accept(self, task: polyexec.Task) -> None:
            sizes.append(len(getattr(task.fn, "items", [0])))
            super().accept(task)

    with fake(_Measuring) as executor:
        list(executor.map(time.sleep, [0.01] * 60))
    assert set(sizes) == {1}


def test_the_last_adaptive_chunks_are_small_where_the_length_is_known() -> None:
    executor = fake(QueueingExecutor, 4)
    results = executor.map(abs, range(20_000))
    last: list[int] = []

    for _ in range(20_000):
        last = _sizes(executor) or last
        executor.run_all()
        if next(results, None) is None:
            break
    assert max(last) < 20_000 / 4


def test_an_error_in_a_chunk_stops_no_other_item(threads: Any) -> None:
    ran: list[int] = []

    def task(item: int) -> None:
        ran.append(item)
        if item == 0:
            raise ValueError

    results = threads.map(task, range(4), chunksize=4, return_exceptions=True)
    assert [type(result).__name__ for result in results] == ["ValueError", *["NoneType"] * 3]
    assert ran == [0, 1, 2, 3]


# -- submit --------------------------------------------------------------------------------------


def test_map_goes_through_a_submit_that_a_subclass_overrides() -> None:
    submitted: list[Any] = []

    class _Noting(InlineExecutor):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
            submitted.append(args)
            return super().submit(fn, *args, **kwargs)

    with fake(_Noting) as executor:
        assert list(executor.map(abs, [-1, -2], chunksize=1)) == [1, 2]
    assert submitted == [(-1,), (-2,)]


def test_map_takes_a_standard_future_from_an_overridden_submit() -> None:
    with concurrent.futures.ThreadPoolExecutor(1) as pool:

        class _Foreign(InlineExecutor):
            def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
                return pool.submit(fn, *args, **kwargs)

        executor: Any = FakeContext(_Foreign).Executor(1)
        assert list(executor.map(abs, range(200), chunksize=1)) == [*range(200)]
        assert sorted(executor.map(abs, range(200), chunksize=3, ordered=False)) == [*range(200)]


def test_map_in_a_task_of_the_same_executor_does_not_wait_for_room() -> None:
    with polyexec.get_context("thread").Executor(2, max_pending=1) as executor:
        future = executor.submit(lambda: list(executor.map(abs, range(100))))
        assert future.result(PATIENCE) == [*range(100)]


def test_a_map_with_little_room_is_complete() -> None:
    with polyexec.get_context("thread").Executor(2, max_pending=1) as executor:
        assert ends(lambda: list(executor.map(abs, range(300)))) == [*range(300)]
