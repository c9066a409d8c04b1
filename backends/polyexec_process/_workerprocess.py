"""A worker of an executor, as those see it who know `multiprocessing.Process`."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from polyexec.interrupts import Uninterrupted

if TYPE_CHECKING:
    from polyexec_process._link import Link


class WorkerProcess:
    """A worker, to those who know `multiprocessing.Process`."""

    daemon = False

    def __init__(self, link: Link) -> None:
        self._link = link
        self.name: str = link.name

    def __repr__(self) -> str:
        return f"<WorkerProcess name={self.name!r} pid={self._link.pid}>"

    @property
    def pid(self) -> int | None:
        """Its process's number; waits until there is one."""
        link = self._link
        if link.changed.is_held:
            return link.pid  # a signal's handler asks: to wait is to let go of the lock
        with Uninterrupted(), link.changed:
            link.changed.wait_for(lambda: link.pid or link.dead)
        return link.pid

    ident = pid

    @property
    def exitcode(self) -> int | None:
        """Its exit code, negative for a signal, None while it runs."""
        return self._link.exitcode

    def is_alive(self) -> bool:
        """Return whether it has not ended."""
        return not self._link.dead

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended, *timeout* seconds at most."""
        link = self._link
        with Uninterrupted(), link.changed:
            link.changed.wait_for(lambda: link.dead, timeout)

    def terminate(self) -> None:
        """End it by SIGTERM."""
        if self.pid is not None and self.is_alive():
            self._link.signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it by SIGKILL."""
        if self.pid is not None and self.is_alive():
            self._link.signal(signal.SIGKILL)
