"""How many items `map` puts into one task."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from core.fakes import (
    InlineExecutor,
    QueueingExecutor,
    fake,
)
from polyexec._chunk import MAX_ITEMS, AdaptiveSize
from polyexec.serialization import is_constant

if TYPE_CHECKING:
    import polyexec


def _sizes(executor: Any) -> list[int]:
    return [len(getattr(task.args[0], "items", [0])) for task in executor.tasks]


def test_fixed_chunks_have_the_size_asked_for(executor: Any) -> None:
    results = executor.map(abs, range(10), chunksize=4)
    assert _sizes(executor) == [4, 4, 2]
    executor.run_all()
    assert list(results) == [*range(10)]


def test_chunks_that_are_as_large_as_was_asked_for_are_made_for_all_workers(executor: Any) -> None:
    results = executor.map(abs, range(400_000), chunksize=100_000)
    assert _sizes(executor) == [100_000] * 4
    executor.run_all()
    assert list(results) == [*range(400_000)]


def test_without_adapting_each_item_is_a_task_of_its_own(executor: Any) -> None:
    results = executor.map(abs, range(5))
    assert [task.fn for task in executor.tasks] == [abs] * 5
    executor.run_all()
    assert list(results) == [*range(5)]


def test_adaptive_chunks_grow_over_tiny_tasks() -> None:
    sizes: list[int] = []

    class _Measuring(InlineExecutor):
        def accept(self, task: polyexec.Task) -> None:
            sizes.append(len(getattr(task.args[0], "items", [0])))
            super().accept(task)

    with fake(_Measuring, 2) as executor:
        assert list(executor.map(abs, range(20_000))) == [*range(20_000)]
    assert sizes[0] == 1
    assert max(sizes) > 20
    assert len(sizes) < 5000


def test_once_tasks_are_known_to_be_tiny_few_chunks_do() -> None:
    sizes: list[int] = []

    class _Measuring(QueueingExecutor):
        def run_all(self) -> None:
            sizes.extend(_sizes(self))
            super().run_all()

    executor: Any = fake(_Measuring, 2)
    results = executor.map(abs, range(100_000))
    for value in range(100_000):
        executor.run_all()
        assert next(results) == value
    assert sizes[0] == 1
    assert len(sizes) < 95


def test_until_something_is_known_of_the_items_few_are_sent() -> None:
    executor: Any = fake(QueueingExecutor, 2)
    results = executor.map(abs, range(1000))
    assert _sizes(executor) == [1] * 32
    for value in range(1000):
        executor.run_all()
        assert next(results) == value


def test_the_first_time_that_is_measured_counts_in_full() -> None:
    sizes = AdaptiveSize(10_000, workers=2, seconds=0.001)
    assert sizes.untried
    sizes.learn(1, 0.0001)
    assert not sizes.untried
    assert sizes.growing
    sizes.learn(1000, 0.1)
    assert sizes.size == 10


def test_the_last_chunks_are_not_so_small_that_they_are_many() -> None:
    sizes = AdaptiveSize(10_000, workers=2, seconds=0.001)
    for _ in range(40):
        sizes.learn(1000, 0.0001)
    chunks: list[int] = []
    left = 10_000
    while left:
        chunks.append(min(sizes.size, left))
        sizes.sent(chunks[-1])
        left -= chunks[-1]
    assert len(chunks) < 40
    assert chunks[-1] == 1


def test_all_chunks_of_a_map_are_calls_of_one_function_that_is_constant_if_theirs_is() -> None:
    executor: Any = fake(QueueingExecutor, 2)
    for fn in (abs, partial(pow, 2)):
        executor.tasks.clear()
        results = executor.map(fn, range(10), chunksize=2)
        applied = {task.fn for task in executor.tasks}
        assert [is_constant(each) for each in applied] == [is_constant(fn)]
        executor.run_all()
        assert list(results) == [fn(item) for item in range(10)]


def test_adaptive_chunks_stay_single_over_long_tasks() -> None:
    sizes: list[int] = []

    class _Measuring(InlineExecutor):
        def accept(self, task: polyexec.Task) -> None:
            sizes.append(len(getattr(task.args[0], "items", [0])))
            super().accept(task)

    with fake(_Measuring) as executor:
        list(executor.map(time.sleep, [0.01] * 60))
    assert set(sizes) == {1}


def test_no_adaptive_chunk_has_more_than_its_share_of_what_is_left_where_that_is_known() -> None:
    workers, left = 4, 20_000
    executor = fake(QueueingExecutor, workers)
    results = executor.map(abs, range(left))
    sizes: list[int] = []
    for _ in range(left):
        sizes += _sizes(executor)
        executor.run_all()
        next(results)
    assert max(sizes) > 100
    for size in sizes:
        assert size <= max(left / (4 * workers), min(MAX_ITEMS / 5, left / workers), 1)
        left -= size
    assert left == 0


def test_an_error_in_a_chunk_stops_no_other_item(threads: Any) -> None:
    ran: list[int] = []

    def task(item: int) -> None:
        ran.append(item)
        if item == 0:
            raise ValueError

    results = threads.map(task, range(4), chunksize=4, return_exceptions=True)
    assert [type(result).__name__ for result in results] == ["ValueError", *["NoneType"] * 3]
    assert ran == [0, 1, 2, 3]
