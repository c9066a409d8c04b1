"""`multiprocessing.Pool`'s API over an executor."""

from __future__ import annotations

import gc
import itertools
import multiprocessing
import multiprocessing.pool
import pickle
import threading
from typing import TYPE_CHECKING, Any

import pytest

import polyexec
import tasks
from core.fakes import PATIENCE, FakeContext, IoExecutor, ends
from polyexec.pool import ThreadPool

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def pool() -> Iterator[Any]:
    with polyexec.get_context("thread").Pool(2) as pool:
        yield pool
    pool.join()


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """An event that is set at the latest when the test ends."""
    event = threading.Event()
    yield event
    event.set()


def _pool(processes: int = 1, **options: Any) -> Any:
    return polyexec.get_context("thread").Pool(processes, **options)


def _square(number: int) -> int:
    return number * number


def _hold(running: threading.Event, gate: threading.Event) -> None:
    running.set()
    gate.wait(PATIENCE)


def _fail(*_: Any) -> Any:
    raise ValueError("mine")


def _fail_at_3(number: int) -> int:
    if number == 3:
        raise ValueError("mine")
    return number


def _failing_input() -> Iterator[int]:
    yield from range(3)
    raise KeyError("the input is broken")


# -- apply and map -------------------------------------------------------------------------------


def test_apply_calls_with_arguments_and_keywords(pool: Any) -> None:
    assert pool.apply(int, ("11",), {"base": 2}) == 3
    assert pool.apply_async(int, ("11",), {"base": 3}).get(PATIENCE) == 4
    assert pool.apply(dict, (), {"fn": 1, "self": 2}) == {"fn": 1, "self": 2}


def test_map_returns_the_results_in_order(pool: Any) -> None:
    expected = [number * number for number in range(100)]
    for chunksize in (None, 1, 7, 1000):
        assert pool.map(_square, range(100), chunksize) == expected
        assert pool.map_async(_square, range(100), chunksize).get(PATIENCE) == expected
    assert pool.map(_square, []) == []


def test_starmap_spreads_each_item(pool: Any) -> None:
    assert pool.starmap(pow, [(2, 3), (3, 2)]) == [8, 9]
    assert pool.starmap_async(pow, [(2, 3)]).get(PATIENCE) == [8]


def test_errors_are_raised_as_themselves(pool: Any) -> None:
    for call in (pool.apply, lambda fn: pool.map(fn, [1])):
        with pytest.raises(ValueError, match="mine"):
            call(_fail)


def test_an_exception_that_counts_as_false_is_raised(pool: Any) -> None:
    with pytest.raises(tasks.FalsyError):
        pool.map(tasks.fail_with, [tasks.FalsyError()])
    with pytest.raises(tasks.FalsyError):
        pool.apply(tasks.fail_with, (tasks.FalsyError(),))


def test_a_base_exception_of_a_task_is_its_outcome(pool: Any) -> None:
    with pytest.raises(SystemExit):
        pool.apply(tasks.fail_with, (SystemExit(3),))
    with pytest.raises(SystemExit):
        pool.map(tasks.fail_with, [SystemExit(3)])


def test_a_map_whose_input_fails_raises_that(pool: Any) -> None:
    with pytest.raises(KeyError):
        pool.map(_square, _failing_input())


# -- results that are waited for -----------------------------------------------------------------


def test_a_result_tells_whether_it_is_ready_and_successful(
    pool: Any, gate: threading.Event
) -> None:
    result = pool.apply_async(gate.wait, (PATIENCE,))
    assert not result.ready()
    with pytest.raises(ValueError, match="not ready"):
        result.successful()
    gate.set()
    result.wait(PATIENCE)
    assert (result.ready(), result.successful()) == (True, True)
    failed = pool.apply_async(_fail)
    failed.wait(PATIENCE)
    assert not failed.successful()


def test_a_result_that_does_not_come_in_time_is_a_timeout(pool: Any, gate: threading.Event) -> None:
    for result in (pool.apply_async(gate.wait), pool.map_async(lambda _: gate.wait(), [1])):
        with pytest.raises(multiprocessing.TimeoutError):
            result.get(timeout=0.01)
    gate.set()


def test_results_are_multiprocessings(pool: Any) -> None:
    assert isinstance(pool, multiprocessing.pool.Pool)
    assert isinstance(pool.apply_async(int), multiprocessing.pool.AsyncResult)


def test_a_finished_result_leaves_the_pools_cache(pool: Any) -> None:
    results = [pool.apply_async(int), pool.map_async(_square, [1, 2]), pool.apply_async(_fail)]
    for result in results:
        result.wait(PATIENCE)
    assert pool._cache == {}


# -- callbacks -----------------------------------------------------------------------------------


def test_callbacks_get_the_value_or_the_error(pool: Any) -> None:
    got: list[Any] = []
    pool.apply_async(int, ("3",), callback=got.append, error_callback=_fail).wait(PATIENCE)
    pool.map_async(_square, [2], callback=got.append, error_callback=_fail).wait(PATIENCE)
    pool.apply_async(_fail, callback=_fail, error_callback=got.append).wait(PATIENCE)
    pool.starmap_async(_fail, [(1,)], callback=_fail, error_callback=got.append).wait(PATIENCE)
    assert [repr(value) for value in got] == ["3", "[4]", *["ValueError('mine')"] * 2]


def test_a_result_is_ready_when_its_callback_has_run(pool: Any) -> None:
    for _ in range(50):
        got: list[Any] = []
        assert pool.apply_async(int, callback=got.append).get(PATIENCE) == 0
        assert got == [0]


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_a_failing_callback_leaves_no_wait_hanging(
    pool: Any, error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    def callback(_: Any) -> None:
        raise error

    assert pool.apply_async(int, callback=callback).get(PATIENCE) == 0
    assert pool.map_async(_square, [2], callback=callback).get(PATIENCE) == [4]
    assert pool.apply(int) == 0
    assert caplog.records


def test_a_callback_may_use_the_pool(pool: Any) -> None:
    got: list[Any] = []
    result = pool.apply_async(int, callback=lambda _: got.append(pool.apply(int, ("7",))))
    result.get(PATIENCE)
    assert got == [7]


def test_a_callback_may_use_the_pool_where_callbacks_have_a_thread_of_their_own() -> None:
    got: list[Any] = []
    with FakeContext(IoExecutor).Pool(1) as pool:
        result = pool.apply_async(int, callback=lambda _: got.append(pool.map(int, ["7"])))
        result.get(PATIENCE)
    assert got == [[7]]


# -- imap ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunksize", [1, 3])
def test_imap_yields_in_order_and_unordered_as_they_come(pool: Any, chunksize: int) -> None:
    assert list(pool.imap(_square, range(20), chunksize)) == [n * n for n in range(20)]
    assert sorted(pool.imap_unordered(_square, range(20), chunksize)) == [n * n for n in range(20)]


@pytest.mark.parametrize("chunksize", [1, 2])
def test_an_error_in_imap_is_raised_in_its_place_and_the_rest_follow(
    pool: Any, chunksize: int
) -> None:
    results = pool.imap(_fail_at_3, range(6), chunksize)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="mine"):
        next(results)
    assert list(results) == [4, 5]


def test_next_takes_a_timeout_after_which_it_can_be_called_again(
    pool: Any, gate: threading.Event
) -> None:
    results = pool.imap(lambda _: gate.wait(PATIENCE), [1])
    with pytest.raises(multiprocessing.TimeoutError):
        results.next(timeout=0.01)
    with pytest.raises(multiprocessing.TimeoutError):
        results.next(0)
    gate.set()
    assert results.next(timeout=PATIENCE) is True
    with pytest.raises(StopIteration):
        results.next(timeout=0)


def test_an_error_of_imaps_input_is_raised_in_its_place(pool: Any) -> None:
    results = pool.imap(_square, _failing_input())
    assert [next(results) for _ in range(3)] == [0, 1, 4]
    with pytest.raises(KeyError):
        next(results)
    with pytest.raises(StopIteration):
        next(results)


def test_an_imap_keeps_its_pool() -> None:
    results = _pool().imap(_square, range(3))
    gc.collect()
    with pytest.warns(ResourceWarning, match="unclosed"):  # it goes with the last result
        assert list(results) == [0, 1, 4]


def test_a_map_of_nothing_calls_nobody(pool: Any) -> None:
    result = pool.map_async(_square, [], callback=_fail, error_callback=_fail)
    assert (result.ready(), result.get(PATIENCE)) == (True, [])


def test_leaving_a_loop_over_an_infinite_imap_ends(pool: Any) -> None:
    def body() -> int:
        last = 0
        for result in pool.imap(_square, itertools.count()):
            last = result
            if last > 5:
                break
        return last

    assert ends(body, seconds=3) == 9


def test_an_infinite_imap_that_nobody_reads_ends_with_terminate() -> None:
    pool = _pool()
    results = pool.imap_unordered(_square, itertools.count())
    ends(pool.terminate, seconds=3)
    ends(pool.join, seconds=3)
    del results


def test_threads_may_share_an_imap_iterator(pool: Any) -> None:
    for method in (pool.imap, pool.imap_unordered):
        results = method(_square, range(300))
        got: list[int] = []
        readers = [
            threading.Thread(target=lambda results=results, got=got: got.extend(results))
            for _ in range(3)
        ]
        for reader in readers:
            reader.daemon = True
            reader.start()
        for reader in readers:
            reader.join(3)
        assert not any(reader.is_alive() for reader in readers)
        assert sorted(got) == [n * n for n in range(300)]


def test_an_unread_imap_runs_every_input_when_the_pool_is_closed() -> None:
    ran: list[int] = []
    pool = _pool()
    pool.imap(ran.append, range(500))
    ends(pool.close)
    ends(pool.join)
    assert sorted(ran) == [*range(500)]


def test_imap_checks_its_arguments(pool: Any) -> None:
    with pytest.raises(ValueError, match="chunksize"):
        pool.imap(_square, [1], 0)
    with pytest.raises(TypeError):
        pool.imap(_square, 3)
    with pytest.raises(TypeError):
        pool.imap(3, [1])


# -- its life ------------------------------------------------------------------------------------


def test_a_closed_pool_finishes_and_takes_no_more(gate: threading.Event) -> None:
    pool = _pool()
    results = [pool.apply_async(gate.wait, (PATIENCE,)) for _ in range(3)]
    pool.close()
    for call in (pool.apply, pool.apply_async):
        with pytest.raises(ValueError, match="not running"):
            call(int)
    for call in (pool.map, pool.imap, pool.imap_unordered, pool.starmap_async):
        with pytest.raises(ValueError, match="not running"):
            call(int, [[1]])
    gate.set()
    ends(pool.join)
    assert [result.get(0) for result in results] == [True] * 3


def test_join_needs_close_or_terminate_before(pool: Any) -> None:
    with pytest.raises(ValueError, match="still running"):
        pool.join()


def test_terminate_leaves_no_wait_hanging(gate: threading.Event) -> None:
    pool = _pool()
    running = threading.Event()
    busy = pool.apply_async(_hold, (running, gate))
    running.wait(PATIENCE)
    waits = [pool.apply_async(int), pool.map_async(_square, range(9)), pool.imap(_square, [1])]
    ends(pool.terminate)
    for wait in waits[:2]:
        with pytest.raises(polyexec.CancelledError):
            wait.get(PATIENCE)
    with pytest.raises(polyexec.CancelledError):
        waits[2].next(PATIENCE)
    gate.set()
    busy.wait(PATIENCE)
    assert busy.ready()
    ends(pool.join)


def test_leaving_with_terminates(gate: threading.Event) -> None:
    running = threading.Event()
    with _pool() as pool:
        pool.apply_async(_hold, (running, gate))
        running.wait(PATIENCE)
        queued = pool.apply_async(int)
    with pytest.raises(polyexec.CancelledError):
        queued.get(PATIENCE)
    with pytest.raises(ValueError, match="not running"):
        pool.__enter__()


def test_a_pool_dropped_while_it_runs_is_a_resource_warning() -> None:
    with pytest.warns(ResourceWarning, match="unclosed running"):
        _drop_a_pool()


def _drop_a_pool() -> None:
    _pool()
    gc.collect()


def test_the_initializer_runs_in_each_worker() -> None:
    ran: list[Any] = []
    with _pool(2, initializer=lambda *args: ran.append(args), initargs=(1, 2)) as pool:
        pool.map(_square, range(20))
        pool.close()
        pool.join()
    assert ran == [(1, 2)] * 2


def test_workers_are_replaced_after_so_many_tasks() -> None:
    with _pool(1, maxtasksperchild=2) as pool:
        names = [pool.apply(lambda: threading.current_thread().name) for _ in range(6)]
    assert len(set(names)) == 3
    assert names[0] == names[1] != names[2]


@pytest.mark.parametrize("value", [0, -1, 1.5, "2"])
def test_bad_sizes_are_refused(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        _pool(value)
    with pytest.raises(ValueError, match="maxtasksperchild"):
        _pool(1, maxtasksperchild=value)


def test_an_initializer_must_be_callable() -> None:
    with pytest.raises(TypeError, match="initializer"):
        _pool(1, initializer=3)


def test_a_failing_initializer_fails_calls_instead_of_blocking(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with _pool(1, initializer=_fail) as pool, pytest.raises(polyexec.InitializerError):
        ends(pool.apply, int)
    assert caplog.records


def test_a_pool_does_not_pickle(pool: Any) -> None:
    with pytest.raises(NotImplementedError):
        pickle.dumps(pool)


def test_thread_pool_is_a_pool_of_threads_whatever_the_default() -> None:
    with ThreadPool(2) as pool:
        assert pool.map(_square, range(5)) == [0, 1, 4, 9, 16]
        assert isinstance(pool, multiprocessing.pool.ThreadPool)
        assert pool.apply(tasks.pid) == multiprocessing.current_process().pid


def test_a_signal_handler_like_terminate_during_a_callback_ends(gate: threading.Event) -> None:
    pool = _pool()
    running = threading.Event()
    pool.apply_async(_hold, (running, gate))
    running.wait(PATIENCE)
    results = [pool.apply_async(int, error_callback=_fail) for _ in range(5)]
    results.append(pool.map_async(_square, range(9), error_callback=lambda _: pool.terminate()))
    ends(pool.terminate)
    gate.set()
    for result in results:
        result.wait(PATIENCE)
        assert result.ready()
