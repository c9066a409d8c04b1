"""`Executor.amap`: `map` for coroutines."""

from __future__ import annotations

import asyncio
import gc
import itertools
import threading
from typing import TYPE_CHECKING, Any

import pytest

import polyexec
from core.fakes import PATIENCE, InlineExecutor, IoExecutor, QueueingExecutor, ends, fake

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator


def _run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return ends(asyncio.run, coroutine)


async def _collect(results: AsyncIterator[Any]) -> list[Any]:
    return [result async for result in results]


async def _counting(pulled: list[int]) -> AsyncIterator[int]:
    for number in itertools.count():
        pulled.append(number)
        yield number


def _fail_at(place: int, error: BaseException) -> Callable[[int], int]:
    def task(item: int) -> int:
        if item == place:
            raise error
        return item

    return task


def test_results_come_in_the_order_of_the_inputs(threads: Any) -> None:
    assert _run(_collect(threads.amap(abs, range(300)))) == [*range(300)]


def test_asynchronous_and_plain_inputs_are_taken_in_parallel(threads: Any) -> None:
    results = threads.amap(pow, _counting([]), [2, 2, 2])
    assert _run(_collect(results)) == [0, 1, 4]


def test_no_inputs_give_no_results(threads: Any) -> None:
    assert _run(_collect(threads.amap(abs, []))) == []
    assert _run(_collect(threads.amap(abs))) == []


def test_arguments_are_checked_at_the_call(threads: Any) -> None:
    with pytest.raises(TypeError, match="callable"):
        threads.amap(3, [1])
    with pytest.raises(TypeError):
        threads.amap(abs, 3)
    with pytest.raises(ValueError, match="buffersize"):
        threads.amap(abs, [1], buffersize=0)


def test_nothing_runs_before_the_first_result_is_asked_for(threads: Any) -> None:
    pulled: list[int] = []

    async def main() -> None:
        results = threads.amap(abs, _counting(pulled))
        await asyncio.sleep(0)
        assert pulled == []
        await results.aclose()

    _run(main())


def test_the_inputs_are_pulled_a_bounded_distance_ahead(threads: Any) -> None:
    pulled: list[int] = []

    async def main() -> None:
        results = threads.amap(abs, _counting(pulled), buffersize=3)
        for expected in range(20):
            assert await anext(results) == expected
            assert len(pulled) <= expected + 5
        await results.aclose()

    _run(main())


def test_unordered_results_come_as_they_end() -> None:
    gate = threading.Event()

    def task(item: int) -> int:
        if item == 0:
            gate.wait(PATIENCE)
        return item

    async def main() -> list[int]:
        with polyexec.get_context("thread").Executor(2) as executor:
            results: Any = executor.amap(task, range(5), ordered=False)
            got = [await anext(results) for _ in range(4)]
            gate.set()
            return [*got, await anext(results)]

    got = _run(main())
    assert sorted(got[:4]) == [1, 2, 3, 4]
    assert got[4] == 0


def test_the_first_exception_ends_it_and_cancels_the_rest() -> None:
    executor = fake(QueueingExecutor)

    async def main() -> None:
        results = executor.amap(_fail_at(0, KeyError("mine")), range(10))
        first = asyncio.ensure_future(anext(results))
        while len(executor.tasks) < 10:  # noqa: ASYNC110 - a backend sets no event
            await asyncio.sleep(0)
        executor.tasks.popleft().run()
        with pytest.raises(KeyError, match="mine"):
            await first
        for _ in range(3):
            await asyncio.sleep(0)

    _run(main())
    assert all(task.future.cancelled() for task in executor.tasks)


def test_an_exception_takes_its_place_if_asked(threads: Any) -> None:
    error = KeyError("mine")
    results = threads.amap(_fail_at(1, error), range(3), return_exceptions=True)
    assert _run(_collect(results)) == [0, error, 2]


@pytest.mark.parametrize("kind", [StopIteration, StopAsyncIteration])
def test_stop_iteration_of_a_task_does_not_end_the_results_quietly(
    threads: Any, kind: type[Exception]
) -> None:
    with pytest.raises(RuntimeError):
        _run(asyncio.wait_for(_collect(threads.amap(_fail_at(1, kind()), range(3))), 3))


def test_an_error_of_the_input_comes_in_its_place(threads: Any) -> None:
    got: list[int] = []

    def inputs() -> Iterator[int]:
        yield from range(10)
        raise ValueError("the input is broken")

    async def main() -> None:
        async for result in threads.amap(abs, inputs()):
            got.append(result)  # noqa: PERF401 - what came before the error counts

    with pytest.raises(ValueError, match="the input is broken"):
        _run(main())
    assert got == [*range(10)]


def test_an_error_of_an_asynchronous_input_comes_in_its_place(threads: Any) -> None:
    got: list[int] = []

    async def inputs() -> AsyncIterator[int]:
        for number in range(10):
            yield number
        raise ValueError("the input is broken")

    async def main() -> None:
        async for result in threads.amap(abs, inputs()):
            got.append(result)  # noqa: PERF401 - what came before the error counts

    with pytest.raises(ValueError, match="the input is broken"):
        _run(main())
    assert got == [*range(10)]


def test_leaving_the_loop_cancels_the_rest(threads: Any) -> None:
    gate = threading.Event()

    def task(item: int) -> int:
        if item:
            gate.wait(PATIENCE)
        return item

    async def main() -> None:
        results = threads.amap(task, _counting([]))
        async for _ in results:
            break
        await results.aclose()
        for _ in range(3):
            await asyncio.sleep(0)
        assert threads.busy <= 2
        gate.set()

    _run(main())


def test_a_cancelled_reader_leaves_nothing_running() -> None:
    executor = fake(QueueingExecutor)

    async def main() -> None:
        reader = asyncio.ensure_future(_collect(executor.amap(abs, _counting([]))))
        while not executor.tasks:  # noqa: ASYNC110 - a backend sets no event
            await asyncio.sleep(0)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        for _ in range(5):
            await asyncio.sleep(0)

    _run(main())
    assert all(task.future.cancelled() for task in executor.tasks)
    assert executor.busy == 0


def test_a_cancelled_reader_takes_no_more_inputs(threads: Any) -> None:
    async def main() -> None:
        problems: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, about: problems.append(about))
        queue: asyncio.Queue[int] = asyncio.Queue()
        closed = asyncio.Event()
        asked = 0

        async def inputs() -> AsyncIterator[int]:
            nonlocal asked
            try:
                while True:
                    asked += 1
                    yield await queue.get()
            finally:
                closed.set()

        source = inputs()  # which goes on to be referred to
        reader = asyncio.ensure_future(_collect(threads.amap(abs, source)))
        queue.put_nowait(1)
        while asked < 2:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0)
        reader.cancel()
        await asyncio.wait([reader])
        del reader
        await asyncio.wait_for(closed.wait(), PATIENCE)
        queue.put_nowait(2)
        for _ in range(5):
            await asyncio.sleep(0)
        assert queue.qsize() == 1
        gc.collect()
        assert problems == []
        del source

    _run(main())


def test_what_is_cancelled_as_the_loop_is_left_makes_no_noise() -> None:
    executor = fake(QueueingExecutor)

    async def main() -> None:
        problems: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, about: problems.append(about))
        results = executor.amap(abs, range(10))
        first = asyncio.ensure_future(anext(results))
        while len(executor.tasks) < 5:  # noqa: ASYNC110 - a backend sets no event
            await asyncio.sleep(0)
        executor.tasks.popleft().run()
        assert await first == 0
        del results, first
        for _ in range(5):
            gc.collect()
            await asyncio.sleep(0)
        assert problems == []

    _run(main())


def test_the_loop_is_not_blocked_while_there_is_no_room() -> None:
    async def main() -> list[int]:
        with polyexec.get_context("thread").Executor(1, max_pending=1) as executor:
            ticks = 0
            results = asyncio.ensure_future(_collect(executor.amap(abs, range(50))))
            while not results.done():
                await asyncio.sleep(0)
                ticks += 1
            assert ticks > 0
            return await results

    assert _run(main()) == [*range(50)]


def test_it_goes_through_an_asubmit_that_a_subclass_overrides() -> None:
    submitted: list[Any] = []

    class _Noting(InlineExecutor):
        async def asubmit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
            submitted.append(args)
            return await super().asubmit(fn, *args, **kwargs)

    with fake(_Noting) as executor:
        assert _run(_collect(executor.amap(abs, [-1, -2]))) == [1, 2]
    assert submitted == [(-1,), (-2,)]


def test_it_works_where_callbacks_have_a_thread_of_their_own() -> None:
    with fake(IoExecutor) as executor:
        assert _run(_collect(executor.amap(abs, range(100)))) == [*range(100)]


def test_views_map_with_their_options() -> None:
    calls: list[int] = []

    def task(item: int) -> int:
        calls.append(item)
        if len(calls) == 1:
            raise ConnectionError
        return item

    with polyexec.get_context("thread").Executor(1) as executor:
        view = executor.options(retries=1, retry_exceptions=(ConnectionError,))
        assert _run(_collect(view.amap(task, range(3)))) == [0, 1, 2]


def test_the_asynchronous_input_is_closed_when_the_results_are(threads: Any) -> None:
    closed: list[bool] = []

    async def inputs() -> AsyncIterator[int]:
        try:
            for number in itertools.count():
                yield number
        finally:
            closed.append(True)

    async def main() -> None:
        results = threads.amap(abs, inputs())
        assert await anext(results) == 0
        await results.aclose()
        for _ in range(5):
            await asyncio.sleep(0)
        assert closed == [True]

    _run(main())
