"""`map`: lazy, bounded, and complete."""

from __future__ import annotations

import concurrent.futures
import itertools
import traceback
from typing import TYPE_CHECKING, Any

import pytest

from polyexec.testing import tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from polyexec import Context, Executor
    from polyexec.testing._gate import Gate


def test_map_gives_what_the_builtin_map_gives(
    executor: Executor, patiently: Callable[..., Any]
) -> None:
    results = patiently(list, executor.map(pow, range(200), itertools.repeat(2)))
    assert results == [number**2 for number in range(200)]


def test_map_ends_with_the_shortest_input(
    executor: Executor, patiently: Callable[..., Any]
) -> None:
    assert patiently(list, executor.map(pow, [1, 2, 3], [2, 2])) == [1, 4]


def test_map_of_nothing_is_nothing(executor: Executor, patiently: Callable[..., Any]) -> None:
    assert patiently(list, executor.map(tasks.square, [])) == []


@pytest.mark.parametrize("chunksize", [None, 1, 300])
def test_each_result_is_had_once_however_it_is_read(
    executor: Executor, patiently: Callable[..., Any], chunksize: int | None
) -> None:
    results = executor.map(tasks.square, range(3000), chunksize=chunksize)

    def read() -> Iterator[int]:
        for value in results:
            yield value
            yield next(results)
            if value % 7 == 0:
                break
        yield from itertools.islice(results, 100)
        yield from itertools.chain.from_iterable(
            itertools.islice(zip(results, results, strict=False), 100)
        )
        yield from results

    assert patiently(lambda: list(read())) == [number**2 for number in range(3000)]


@pytest.mark.parametrize("chunksize", [None, 300])
def test_several_threads_may_read_one_map(
    executor: Executor, patience: float, chunksize: int | None
) -> None:
    results = executor.map(tasks.square, range(20_000), chunksize=chunksize)
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        read = [threads.submit(list, results) for _ in range(4)]
        values = itertools.chain.from_iterable(future.result(patience) for future in read)
        assert sorted(values) == [number**2 for number in range(20_000)]


def test_map_takes_an_endless_input(executor: Executor, patiently: Callable[..., Any]) -> None:
    results = executor.map(tasks.square, itertools.count())
    try:
        assert [patiently(next, results) for _ in range(500)] == [n * n for n in range(500)]
    finally:
        results.close()


def test_map_pulls_a_bounded_distance_ahead(
    executor: Executor, gate: Gate, patiently: Callable[..., Any]
) -> None:
    # Both workers are there then: while one is still being born that has the first item, the other
    # goes on.
    futures = [executor.submit(tasks.pass_gate, gate.address) for _ in range(2)]
    gate.await_arrivals(2)
    gate.open()
    patiently(concurrent.futures.wait, futures)
    pulled = 0

    def inputs() -> Iterator[int]:
        nonlocal pulled
        for number in range(20_000):
            pulled += 1
            yield number

    results = executor.map(tasks.square, inputs())
    patiently(next, results)
    assert pulled < 5_000
    results.close()


def test_every_input_of_an_unread_map_runs(
    context: Context, gate: Gate, patiently: Callable[..., Any]
) -> None:
    gate.open()
    executor = context.Executor(max_workers=2)
    results = executor.map(tasks.pass_gate, itertools.repeat(gate.address, 400))
    patiently(executor.shutdown)
    assert len(gate.arrived) == 400
    assert len(list(results)) == 400


def test_every_input_of_a_dropped_map_runs(
    context: Context, gate: Gate, patiently: Callable[..., Any]
) -> None:
    gate.open()
    executor = context.Executor(max_workers=2)
    executor.map(tasks.pass_gate, itertools.repeat(gate.address, 400))
    patiently(executor.shutdown)
    assert len(gate.arrived) == 400


def test_closing_a_map_that_was_read_cancels_the_rest(
    executor: Executor, gate: Gate, patiently: Callable[..., Any]
) -> None:
    results = executor.map(tasks.pass_gate, itertools.repeat(gate.address, 10_000))
    gate.await_arrivals(2)  # the first two, in either order
    gate.answer("first")
    gate.answer("first")
    assert patiently(next, results) == "first"
    results.close()
    gate.open()
    patiently(executor.shutdown)
    assert len(gate.arrived) < 5_000


def test_buffersize_bounds_what_is_pulled_ahead(
    executor: Executor, patiently: Callable[..., Any]
) -> None:
    pulled: list[int] = []

    def inputs() -> Iterator[int]:
        for number in range(100):
            pulled.append(number)
            yield number

    results = executor.map(tasks.square, inputs(), buffersize=3)
    assert len(pulled) == 3
    assert patiently(next, results) == 0
    assert len(pulled) <= 4
    assert patiently(list, results) == [number**2 for number in range(1, 100)]


def test_chunks_change_no_result(executor: Executor, patiently: Callable[..., Any]) -> None:
    results = executor.map(tasks.square, range(100), chunksize=7)
    assert patiently(list, results) == [number**2 for number in range(100)]


def test_unordered_results_are_the_same_results(
    executor: Executor, patiently: Callable[..., Any]
) -> None:
    results = executor.map(tasks.square, range(200), ordered=False)
    assert sorted(patiently(list, results)) == [number**2 for number in range(200)]


def test_a_slow_item_does_not_hold_up_unordered_results(
    executor: Executor, gate: Gate, patiently: Callable[..., Any]
) -> None:
    results = executor.map(tasks.do_as_told, [gate.address] * 2, ["a", "b"], ordered=False)
    gate.await_arrivals(2)
    gate.answer("quick")
    assert patiently(next, results) == "quick"
    gate.open()
    assert patiently(list, results) == [""]


@pytest.mark.parametrize("chunksize", [None, 1, 4])
def test_an_error_is_raised_in_its_place(
    executor: Executor, patiently: Callable[..., Any], chunksize: int | None
) -> None:
    results = executor.map(tasks.fail_on, itertools.repeat(5), range(10), chunksize=chunksize)
    assert [patiently(next, results) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="bad 5"):
        patiently(next, results)
    with pytest.raises(StopIteration):
        next(results)


@pytest.mark.parametrize("chunksize", [None, 1, 4])
def test_errors_can_take_their_results_places(
    executor: Executor, patiently: Callable[..., Any], chunksize: int | None
) -> None:
    results = executor.map(
        tasks.fail_on,
        itertools.repeat(5),
        range(10),
        chunksize=chunksize,
        return_exceptions=True,
    )
    outcomes = patiently(list, results)
    assert isinstance(outcomes.pop(5), ValueError)
    assert outcomes == [0, 1, 2, 3, 4, 6, 7, 8, 9]


@pytest.mark.parametrize("chunksize", [None, 1, 4])
def test_an_error_says_where_it_was_raised(
    executor: Executor, patiently: Callable[..., Any], chunksize: int | None
) -> None:
    results = executor.map(tasks.fail_on, itertools.repeat(5), range(10), chunksize=chunksize)
    with pytest.raises(ValueError, match="bad 5") as caught:
        patiently(list, results)
    assert "in fail_on" in "".join(traceback.format_exception(caught.value))


def test_an_item_that_cannot_travel_spoils_no_other_of_its_chunk(
    executor: Executor, patiently: Callable[..., Any]
) -> None:
    items = [1, tasks.make_lock(), 3]
    outcomes = patiently(
        list, executor.map(tasks.identity, items, chunksize=3, return_exceptions=True)
    )
    assert (outcomes[0], outcomes[2]) == (1, 3)
    assert outcomes[1] is items[1] or isinstance(outcomes[1], TypeError)


@pytest.mark.parametrize("name", ["chunksize", "buffersize"])
def test_sizes_below_one_are_refused(executor: Executor, name: str) -> None:
    sizes: dict[str, Any] = {name: 0}
    with pytest.raises(ValueError, match=name):
        executor.map(tasks.square, [1], **sizes)
