"""What tests of several modules use."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any

import pytest

import polyexec
from core.fakes import QueueingExecutor, fake, thread_executor

if TYPE_CHECKING:
    from collections.abc import Iterator


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
