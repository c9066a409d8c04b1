"""`Pool`: the whole API of multiprocessing's, on this context's executor."""

from __future__ import annotations

import multiprocessing
from typing import TYPE_CHECKING, Any

import pytest

from polyexec import CancelledError, Context
from polyexec.testing import tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from polyexec.pool import Pool
    from polyexec.testing._gate import Gate


@pytest.fixture
def pool(context: Context, patiently: Callable[..., Any]) -> Iterator[Pool]:
    pool = context.Pool(2)
    yield pool
    pool.close()
    patiently(pool.join)


def test_apply_returns_the_result(pool: Pool, patiently: Callable[..., Any]) -> None:
    assert patiently(pool.apply, pow, (2, 5)) == 32


def test_apply_async_calls_back_with_the_result(pool: Pool, patience: float) -> None:
    results: list[int] = []
    result = pool.apply_async(tasks.square, (3,), callback=results.append)
    assert result.get(patience) == 9
    assert results == [9]
    assert result.successful()


def test_apply_async_calls_back_with_the_error(pool: Pool, patience: float) -> None:
    errors: list[BaseException] = []
    result = pool.apply_async(tasks.fail, ("oops",), error_callback=errors.append)
    result.wait(patience)
    assert not result.successful()
    assert isinstance(errors[0], ValueError)


def test_map_and_starmap_return_lists(pool: Pool, patiently: Callable[..., Any]) -> None:
    assert patiently(pool.map, tasks.square, range(50)) == [n * n for n in range(50)]
    assert patiently(pool.starmap, pow, [(2, 3), (3, 2)], 1) == [8, 9]


def test_map_async_and_starmap_async_return_them_later(pool: Pool, patience: float) -> None:
    first = pool.map_async(tasks.square, range(5))
    second = pool.starmap_async(pow, [(2, 3)])
    assert first.get(patience) == [0, 1, 4, 9, 16]
    assert second.get(patience) == [8]


def test_imap_iterates_in_order(pool: Pool, patiently: Callable[..., Any]) -> None:
    results = pool.imap(tasks.square, range(100), chunksize=7)
    assert patiently(list, results) == [n * n for n in range(100)]


def test_imap_unordered_iterates_over_all(pool: Pool, patiently: Callable[..., Any]) -> None:
    results = pool.imap_unordered(tasks.square, range(100))
    assert sorted(patiently(list, results)) == [n * n for n in range(100)]


def test_imap_goes_on_after_an_error(pool: Pool, patiently: Callable[..., Any]) -> None:
    results = pool.imap(tasks.identity, [1])
    assert patiently(next, results) == 1
    results = pool.imap(tasks.square, [1, "two", 3])
    assert patiently(next, results) == 1
    with pytest.raises(TypeError):
        patiently(next, results)
    assert patiently(next, results) == 9


def test_waiting_for_a_result_ends_with_multiprocessings_timeout(pool: Pool, gate: Gate) -> None:
    result = pool.apply_async(tasks.pass_gate, (gate.address,))
    with pytest.raises(multiprocessing.TimeoutError):
        result.get(timeout=0.01)
    gate.open()


def test_a_closed_pool_takes_no_more_tasks(
    context: Context, patiently: Callable[..., Any], patience: float
) -> None:
    pool = context.Pool(2)
    result = pool.apply_async(tasks.square, (3,))
    pool.close()
    with pytest.raises(ValueError, match="not running"):
        pool.apply(int)
    patiently(pool.join)
    assert result.get(patience) == 9


def test_terminate_leaves_no_wait_hanging(
    context: Context, gate: Gate, patience: float, patiently: Callable[..., Any]
) -> None:
    pool = context.Pool(2)
    results = [pool.apply_async(tasks.pass_gate, (gate.address,)) for _ in range(50)]
    gate.await_arrivals(2)
    patiently(pool.terminate)
    gate.open()
    with pytest.raises(CancelledError):
        results[-1].get(patience)
    for result in results:
        result.wait(patience)
        assert result.ready()
    patiently(pool.join)
