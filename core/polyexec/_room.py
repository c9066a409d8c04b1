"""Bounds how many accepted tasks have not ended: back-pressure for threads and for asyncio."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from polyexec.interrupts import Uninterrupted
from polyexec.waiting import Condition

if TYPE_CHECKING:
    import asyncio


class Room:
    """A semaphore on which threads and event loops wait side by side."""

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._freed = Condition()
        self._sleepers: deque[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = deque()

    def acquire(self) -> None:
        """Take one place; blocks while there is none."""
        with self._freed:
            self._freed.wait_for(self.try_acquire)

    def try_acquire(self) -> bool:
        """Take one place if there is one."""
        with self._freed:
            free = self._free > 0
            self._free -= free
            return free

    def overdraw(self) -> None:
        """Take one place even if there is none, for callers that must not wait."""
        with self._freed:
            self._free -= 1

    async def acquire_async(self) -> None:
        """Take one place; waits without blocking the loop."""
        import asyncio

        loop = asyncio.get_running_loop()
        while not self.try_acquire():
            sleeper = (loop, asyncio.Event())
            with self._freed:
                if self._free > 0:
                    continue
                self._sleepers.append(sleeper)
            try:
                await sleeper[1].wait()
            except BaseException:
                self._leave(sleeper)
                raise

    def release(self) -> None:
        """Give one place back."""
        with Uninterrupted(), self._freed:
            self._free += 1
            self._wake_one()

    def _leave(self, sleeper: tuple[asyncio.AbstractEventLoop, asyncio.Event]) -> None:
        """Wait no more; if we were woken already, another must be in our place."""
        with self._freed:
            if sleeper in self._sleepers:
                self._sleepers.remove(sleeper)
            else:
                self._wake_one()

    def _wake_one(self) -> None:
        with self._freed:
            self._freed.notify()
            while self._sleepers:
                loop, woken = self._sleepers.popleft()
                if not loop.is_closed():
                    loop.call_soon_threadsafe(woken.set)
                    return
