"""The thread context's synchronisation objects."""

from __future__ import annotations

import inspect
import threading
from typing import Any

import pytest

from core.fakes import PATIENCE, run


@pytest.mark.parametrize("kind", ["Lock", "RLock", "Semaphore", "BoundedSemaphore"])
def test_locks_have_multiprocessings_signature(ctx: Any, kind: str) -> None:
    lock = getattr(ctx, kind)()
    assert list(inspect.signature(lock.acquire).parameters) == ["block", "timeout"]
    assert lock.acquire(block=True, timeout=None) is True
    lock.release()
    with lock as entered:
        assert entered is True


@pytest.mark.parametrize("kind", ["Lock", "Semaphore", "BoundedSemaphore"])
def test_a_lock_that_is_taken_is_not_taken_twice(ctx: Any, kind: str) -> None:
    lock = getattr(ctx, kind)()
    lock.acquire()
    assert lock.acquire(block=False) is False
    assert lock.acquire(True, 0.01) is False  # noqa: FBT003 - multiprocessing's signature
    assert lock.acquire(block=True, timeout=-1) is False
    assert lock.acquire(timeout=0) is False


def test_an_rlock_is_its_holders(ctx: Any) -> None:
    lock = ctx.RLock()
    assert lock.acquire()
    assert lock.acquire()
    taken: list[bool] = []
    run(ctx, lambda: taken.append(lock.acquire(block=False)))
    assert taken == [False]
    lock.release()
    lock.release()


def test_a_bounded_semaphore_is_bounded(ctx: Any) -> None:
    semaphore = ctx.BoundedSemaphore(2)
    assert semaphore.get_value() == 2
    with pytest.raises(ValueError, match="released too many times"):
        semaphore.release()
    plain = ctx.Semaphore(0)
    plain.release()
    assert plain.get_value() == 1


@pytest.mark.parametrize("lock", [None, "Lock", "RLock"])
def test_a_condition_wakes_who_waits(ctx: Any, lock: str | None) -> None:
    condition = ctx.Condition(getattr(ctx, lock)() if lock else None)
    woken: list[bool] = []

    def wait() -> None:
        with condition:
            condition.notify_all()
            woken.append(condition.wait_for(lambda: bool(go), PATIENCE))

    go: list[int] = []
    with condition:
        process = ctx.Process(target=wait)
        process.start()
        assert condition.wait(PATIENCE)
        go.append(1)
        condition.notify()
    process.join(PATIENCE)
    assert woken == [True]
    with condition:
        assert condition.wait(0.01) is False


def test_an_event_is_seen_by_all(ctx: Any) -> None:
    event = ctx.Event()
    assert event.wait(0.01) is False
    process = ctx.Process(target=event.set)
    process.start()
    assert event.wait(PATIENCE)
    process.join(PATIENCE)
    event.clear()
    assert not event.is_set()


def test_a_barrier_lets_all_go_together_and_breaks(ctx: Any) -> None:
    ran: list[int] = []
    barrier = ctx.Barrier(3, action=lambda: ran.append(1))
    processes = [ctx.Process(target=barrier.wait, args=(PATIENCE,)) for _ in range(2)]
    for process in processes:
        process.start()
    barrier.wait(PATIENCE)
    for process in processes:
        process.join(PATIENCE)
    assert (ran, barrier.parties, barrier.n_waiting) == ([1], 3, 0)
    with pytest.raises(threading.BrokenBarrierError):
        barrier.wait(0.01)
    assert barrier.broken
