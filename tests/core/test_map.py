"""`Executor.map`: lazy, bounded, in order or not, and nothing lost."""

from __future__ import annotations

import concurrent.futures
import itertools
import threading
import weakref
from typing import TYPE_CHECKING, Any

import pytest

import polyexec
from core.fakes import (
    PATIENCE,
    Counted,
    FakeContext,
    InlineExecutor,
    QueueingExecutor,
    SpreadingExecutor,
    ends,
    fail_at,
    fake,
)
from polyexec._map import Results

if TYPE_CHECKING:
    from collections.abc import Iterator


def _read_one_by_one(results: Iterator[int]) -> list[int]:
    read: list[int] = []
    for value in results:
        read.append(value)  # noqa: PERF402 - another thread may go on in between
    return read


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
    results = executor.map(fail_at(1, KeyError("mine")), range(10))
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
    task = fail_at(2, error)
    results = threads.map(task, range(5), return_exceptions=True, chunksize=chunksize)
    assert list(results) == [0, 1, error, 3, 4]


@pytest.mark.parametrize("chunksize", [1, 4])
@pytest.mark.parametrize("ordered", [True, False])
def test_stop_iteration_of_a_task_does_not_end_the_results_quietly(
    threads: Any, chunksize: int, *, ordered: bool
) -> None:
    results = threads.map(
        fail_at(2, StopIteration()), range(5), chunksize=chunksize, ordered=ordered
    )
    with pytest.raises(RuntimeError, match="StopIteration"):
        list(results)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_a_base_exception_of_a_task_is_raised_in_its_place(threads: Any, kind: type) -> None:
    results = threads.map(fail_at(1, kind()), range(5), chunksize=2)
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
    inputs = Counted()
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
    inputs = Counted()
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


@pytest.mark.parametrize("kind", [InlineExecutor, SpreadingExecutor])
def test_a_loop_that_was_left_can_be_gone_on_with(kind: Any) -> None:
    with fake(kind, 2) as executor:
        results = executor.map(abs, range(-1000, 0), chunksize=64)
        read: list[int] = []
        for count in (1, 5, 100, 200):
            read += itertools.islice(results, count)
            read.append(next(results))
        read += results
        assert read == [*range(1000, 0, -1)]
        assert list(results) == []


def test_threads_may_take_turns_in_reading_one_map() -> None:
    with fake(SpreadingExecutor, 2) as executor:
        results = executor.map(abs, range(20_000), chunksize=10)
        with concurrent.futures.ThreadPoolExecutor(4) as threads:
            read = [threads.submit(_read_one_by_one, results) for _ in range(4)]
            values = itertools.chain.from_iterable(future.result(PATIENCE) for future in read)
            assert sorted(values) == [*range(20_000)]


def test_the_results_are_an_iterator() -> None:
    with fake(InlineExecutor) as executor:
        results = executor.map(abs, range(10))
        assert iter(results) is results
        assert next(results) == 0


@pytest.mark.parametrize("chunksize", [1, 5])
def test_an_interrupt_costs_no_results(chunksize: int, monkeypatch: pytest.MonkeyPatch) -> None:
    executor: Any = fake(QueueingExecutor)
    results = executor.map(abs, range(20), chunksize=chunksize)

    def strike(_: Any) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    read: list[int] = []
    executor.tasks.popleft().run()
    monkeypatch.setattr(Results, "_wait", strike)
    with pytest.raises(KeyboardInterrupt):
        read.extend(results)
    executor.run_all()
    read.extend(results)
    assert read == [*range(20)]


def test_a_range_is_sent_as_what_it_is(executor: Any) -> None:
    inputs = range(1 << 70, 0, -(1 << 66))
    results = executor.map(str, inputs, chunksize=5)
    assert [task.args[0].items for task in executor.tasks] == [
        inputs[place : place + 5] for place in range(0, 16, 5)
    ]
    executor.run_all()
    assert list(results) == [str(number) for number in inputs]


def test_results_read_are_not_kept(threads: Any) -> None:
    class _Result:
        pass

    results = threads.map(lambda _: _Result(), range(20))
    reference = weakref.ref(next(results))
    next(results)
    assert reference() is None
    list(results)


def test_results_that_a_loop_has_read_are_not_kept() -> None:
    class _Result:
        pass

    with fake(InlineExecutor) as executor:
        for result in executor.map(lambda _: _Result(), range(20), chunksize=10):
            reference = weakref.ref(result)
            del result
            assert reference() is None


@pytest.mark.parametrize("ordered", [True, False])
def test_with_a_buffersize_no_more_inputs_are_ahead(executor: Any, *, ordered: bool) -> None:
    inputs = Counted()
    results = executor.map(abs, inputs, buffersize=3, ordered=ordered)
    assert inputs.pulled == 3
    executor.run_all()
    next(results)
    assert inputs.pulled <= 4
    results.close()


def test_a_buffersize_smaller_than_the_chunks_still_bounds(executor: Any) -> None:
    inputs = Counted()
    results = executor.map(abs, inputs, buffersize=3, chunksize=10)
    executor.run_all()
    assert inputs.pulled == 3
    assert [next(results), next(results), next(results)] == [0, 1, 2]
    results.close()


def test_a_map_with_buffersize_yields_everything(threads: Any) -> None:
    assert list(threads.map(abs, range(200), buffersize=1)) == [*range(200)]
    assert list(threads.map(abs, range(200), buffersize=7, chunksize=3)) == [*range(200)]


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
