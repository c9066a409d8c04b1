"""What the thread context's Manager makes, as proxies of multiprocessing's have it."""

from __future__ import annotations

from typing import Any

import polyexec


def test_a_shared_dict_gives_lists_of_the_moment() -> None:
    with polyexec.get_context("thread").Manager() as manager:
        shared = manager.dict({number: -number for number in range(5)})
        assert (shared.keys()[0], shared.values()[1], shared.items()[2]) == (0, -1, (2, -2))
        for key in shared.keys():  # noqa: SIM118 - it is changed meanwhile
            if key % 2:
                del shared[key]
        assert shared.copy() == {0: 0, 2: -2, 4: -4}


def test_shared_objects_are_told_apart_by_identity() -> None:
    with polyexec.get_context("thread").Manager() as manager:
        assert len({manager.list(), manager.list(), manager.dict(), manager.dict()}) == 4


def test_a_managers_locks_are_acquired_as_those_of_threading() -> None:
    with polyexec.get_context("thread").Manager() as manager:
        locks: list[Any] = [manager.Lock(), manager.RLock(), manager.Condition()]
        locks += [manager.Semaphore(), manager.BoundedSemaphore(1)]
        for lock in locks:
            assert lock.acquire(blocking=True, timeout=1)
            lock.release()
        assert locks[0].acquire(blocking=False)
        assert not locks[0].acquire(blocking=False)
