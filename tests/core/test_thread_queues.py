"""The thread context's queues."""

from __future__ import annotations

import queue
import threading
from typing import Any

import pytest

from core.fakes import PATIENCE, ends


def test_a_queue_passes_objects_in_order_and_as_they_are(ctx: Any) -> None:
    ours = ctx.Queue()
    thing = object()
    ours.put(thing)
    ours.put_nowait(2)
    assert (ours.qsize(), ours.empty(), ours.full()) == (2, False, False)
    assert ours.get() is thing
    assert ours.get_nowait() == 2
    with pytest.raises(queue.Empty):
        ours.get(timeout=0.01)
    with pytest.raises(queue.Empty):
        ours.get(True, -1)


def test_a_full_queue_says_so(ctx: Any) -> None:
    ours = ctx.Queue(1)
    ours.put(1)
    assert ours.full()
    with pytest.raises(queue.Full):
        ours.put_nowait(2)
    with pytest.raises(queue.Full):
        ours.put(2, timeout=0.01)


@pytest.mark.parametrize("kind", ["Queue", "JoinableQueue", "SimpleQueue"])
def test_each_process_closes_its_own_handle_of_a_queue(
    ctx: Any, gate: threading.Event, kind: str
) -> None:
    ours = getattr(ctx, kind)()

    def child(theirs: Any) -> None:
        gate.wait(PATIENCE)
        theirs.put(1)
        theirs.close()

    process = ctx.Process(target=child, args=(ours,))
    process.start()
    other = ctx.Process(target=lambda theirs: theirs.close(), args=(ours,))
    other.start()
    other.join(PATIENCE)
    gate.set()
    process.join(PATIENCE)
    assert (process.exitcode, ends(ours.get)) == (0, 1)


@pytest.mark.parametrize("kind", ["Queue", "JoinableQueue"])
def test_a_closed_queue_says_so(ctx: Any, kind: str) -> None:
    ours = getattr(ctx, kind)()
    ours.close()
    ours.close()
    for use in (lambda: ours.put(1), ours.get):
        with pytest.raises(ValueError, match="closed"):
            use()
    ours.join_thread()
    ours.cancel_join_thread()


def test_a_closed_simple_queue_says_so(ctx: Any) -> None:
    ours = ctx.SimpleQueue()
    ours.put(1)
    ours.close()
    with pytest.raises(OSError, match="closed"):
        ours.get()


def test_a_joinable_queue_is_joined_when_all_is_done(ctx: Any) -> None:
    ours = ctx.JoinableQueue()
    for number in range(3):
        ours.put(number)
    joiner = threading.Thread(target=ours.join, daemon=True)
    joiner.start()
    for _ in range(3):
        assert joiner.is_alive()
        ours.get()
        ours.task_done()
    joiner.join(PATIENCE)
    assert not joiner.is_alive()
    with pytest.raises(ValueError, match="too many"):
        ours.task_done()
