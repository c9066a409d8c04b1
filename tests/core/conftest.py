"""What tests of several modules use."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import queue
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

import polyexec
from core.fakes import QueueingExecutor, fake, thread_executor
from polyexec.serialization import dumps_task, finish_task, run_task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def executor() -> Any:
    """Return an executor that runs its tasks when told, those of a map item by item."""
    queueing = fake(QueueingExecutor, 2)
    queueing.adapts_chunks = False
    return queueing


@pytest.fixture
def threads() -> Iterator[Any]:
    """Return an executor of two threads."""
    with thread_executor(2) as executor:
        yield executor


@pytest.fixture
def switching() -> Iterator[None]:
    """Have threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Return an event that is set at the latest when the test ends."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def ctx() -> Any:
    """Return the thread context."""
    return polyexec.get_context("thread")


@pytest.fixture
def uncaught(monkeypatch: pytest.MonkeyPatch) -> queue.SimpleQueue[Any]:
    """Return what threads of this test end with, where Python would report it."""
    errors: queue.SimpleQueue[Any] = queue.SimpleQueue()
    monkeypatch.setattr(threading, "excepthook", lambda args: errors.put(args.exc_value))
    return errors


@pytest.fixture(scope="module")
def other_process() -> Iterator[concurrent.futures.Executor]:
    """Return a process besides this one."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        pool.submit(int).result()
        yield pool


@pytest.fixture
def far(other_process: concurrent.futures.Executor) -> Callable[..., Any]:
    """Run a call in the other process, and return its future."""

    def run(fn: Any, *args: Any, **kwargs: Any) -> Any:
        executor = fake(QueueingExecutor)
        future = executor.submit(fn, *args, **kwargs)
        task = executor.tasks.popleft()
        assert task.start("far")
        outcome = other_process.submit(run_task, dumps_task(task)).result(20)
        assert finish_task(task, outcome)
        return future

    return run
