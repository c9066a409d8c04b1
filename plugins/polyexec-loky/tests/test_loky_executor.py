"""What an executor on loky takes, runs and tells."""

from __future__ import annotations

import os
import queue
import threading
from typing import TYPE_CHECKING

import loky
import loky_tasks
import pytest

import polyexec
from polyexec.capabilities import INITIALIZER, ISOLATION

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from polyexec_loky._executor import LokyExecutor

    Make = Callable[..., LokyExecutor]


def test_a_task_runs_in_another_process(make: Make) -> None:
    assert make().submit(os.getpid).result() != os.getpid()


def test_a_future_knows_its_worker(make: Make) -> None:
    future = make().submit(os.getpid)
    assert future.result()
    assert future.worker == f"loky-{future.result()}"


def test_a_lambda_runs(make: Make) -> None:
    assert make().submit(lambda: 42).result() == 42


def test_map_keeps_the_order(make: Make) -> None:
    assert list(make(2).map(abs, range(-50, 0))) == list(range(50, 0, -1))


def test_an_exception_arrives_as_itself(make: Make) -> None:
    with pytest.raises(ValueError, match="boom"):
        make().submit(loky_tasks.fail, "boom").result()


def test_what_can_not_be_pickled_fails_its_task_alone(make: Make) -> None:
    executor = make()
    bad = executor.submit(id, threading.Lock())
    assert executor.submit(abs, -1).result() == 1
    assert isinstance(bad.exception(), polyexec.UnpicklableError)


def test_the_initializer_runs_before_the_first_task(make: Make) -> None:
    executor = make(initializer=loky_tasks.initialize, initargs=(7,))
    assert executor.submit(loky_tasks.initialized).result() == 7


def test_an_option_that_it_lacks_is_named_with_those_it_takes(make: Make) -> None:
    with pytest.raises(TypeError, match=r"'initialiser'; did you mean 'initializer'\?; it takes"):
        make(initialiser=print)


def test_an_initializer_must_be_callable(make: Make) -> None:
    with pytest.raises(TypeError, match="initializer needs a callable, not 3"):
        make(initializer=3)


def test_the_context_takes_no_options() -> None:
    with pytest.raises(TypeError, match=r"get_context\('loky'\) has no option 'address'"):
        polyexec.get_context("loky", address="tcp://localhost:1")


def test_it_has_as_many_workers_as_loky_counts_cpus() -> None:
    assert polyexec.get_context("loky").default_workers() == loky.cpu_count()


def test_it_promises_isolation_and_initializers_only() -> None:
    assert polyexec.get_context("loky").capabilities == {INITIALIZER, ISOLATION}


def test_a_task_that_waits_can_be_cancelled(make: Make, fifos: tuple[Path, Path]) -> None:
    begun, go = fifos
    executor = make()
    running = executor.submit(loky_tasks.meet, begun, go)
    begun.read_text()
    waiting = executor.submit(abs, -1)
    assert waiting.cancel()
    go.write_text("gone")
    assert running.result() == "gone"


def test_a_cancelled_task_leaves_the_queue(make: Make, fifos: tuple[Path, Path]) -> None:
    begun, go = fifos
    executor = make()
    executor.submit(loky_tasks.meet, begun, go)
    begun.read_text()
    executor.submit(abs, -1).cancel()
    assert not executor._crew._waiting
    go.write_text("gone")


def test_a_running_task_is_not_cancelled(make: Make, fifos: tuple[Path, Path]) -> None:
    begun, go = fifos
    running = make().submit(loky_tasks.meet, begun, go)
    begun.read_text()
    assert not running.cancel()
    go.write_text("gone")


def test_a_callback_runs_on_no_thread_of_loky(make: Make, fifos: tuple[Path, Path]) -> None:
    begun, go = fifos
    names: list[str] = []
    executor = make()
    future = executor.submit(loky_tasks.meet, begun, go)
    future.add_done_callback(lambda _: names.append(threading.current_thread().name))
    begun.read_text()
    go.write_text("gone")
    executor.shutdown()
    assert names == ["polyexec-callbacks"]


def test_start_workers_starts_all(make: Make) -> None:
    executor = make(2)
    started: queue.SimpleQueue[str] = queue.SimpleQueue()
    executor.worker_started = started.put  # type: ignore[method-assign, assignment]
    executor.start_workers()
    assert started.get() != started.get()


def test_workers_start_on_demand(make: Make) -> None:
    executor = make(4)
    executor.submit(abs, -1).result()
    assert len(executor._crew._workers) == 1
