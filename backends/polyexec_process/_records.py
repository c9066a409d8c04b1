"""The parent's side of its workers' log records: reads them, has them handled, and keeps order.

What is known of a task's end waits until the records before it have been handled; the worker has
its next task by then. Handlers are users' code, and run on a thread of their own:

    worker            reactor                            thread of the handlers
    record       ->   read, queued                  ->   handled, counted
    RECORDS += 1
    answer       ->   any new, not yet handled?
                      yes: the outcome waits        <-   wakes the reactor as the count gets there

A handler that does not return for long, perhaps because it waits for a task that logs, is waited
for no more. A worker whose records are not handled as fast as it logs is not read from until they
are, so that the socket fills, and logging blocks there.
"""

from __future__ import annotations

import socket
import sys
import threading
from collections import deque
from functools import partial
from selectors import EVENT_READ
from typing import TYPE_CHECKING, Final

from polyexec.surroundings import Handling
from polyexec_process._frames import COUNT, LARGEST_RECORD, RECORDS, TRACKER
from polyexec_process._tracker import answer_tracker

if TYPE_CHECKING:
    from collections.abc import Callable
    from selectors import BaseSelector

#: How much of one worker's records may wait, in bytes; at half of that, reading goes on.
_MOST: Final = 1 << 20
#: What a record counts besides its own length, or instead of it while it is in memory of its own.
_OVERHEAD: Final = 1 << 10
#: How many records of one worker are read at a time, and how many at most once it is dead.
_SOME, _ALL = 64, 1 << 14
#: How many seconds pass, at most, before somebody looks whether a handler is stuck.
_GLANCE: Final = 0.1
#: Whole messages that are never dropped.
_KIND: Final = socket.SOCK_SEQPACKET if sys.platform == "linux" else socket.SOCK_DGRAM


class Inflow:
    """What has come from one worker, and what waits for it."""

    def __init__(self, page: memoryview) -> None:
        self.sock, self.theirs = socket.socketpair(socket.AF_UNIX, _KIND)
        self.sock.setblocking(False)  # noqa: FBT003 - its only signature
        #: How many of the worker's own have been read, and handled.
        self.received: int = 0
        self.handled: int = 0
        #: How many were logged before the last answer, at least. Later answers need not wait for
        #: those: they are other tasks', and a handler may wait for such a task.
        self.told: int = 0
        #: How many bytes wait to be handled, and whether no more are read therefore.
        self.held: int = 0
        self.paused: bool = False
        #: Whether the selector watches the socket, and whether nobody writes to it any more.
        self.watched: bool = False
        self.ended: bool = False
        #: What is to be called, each as so many have been handled.
        self.calls: deque[tuple[int, Callable[[], None]]] = deque()
        self._page: memoryview | None = page

    @property
    def sent(self) -> int:
        """How many records the worker has counted, and were not lost with it."""
        return self.received if self._page is None else self._page[RECORDS]

    @property
    def due(self) -> bool:
        """Whether the first call need not wait any more."""
        return bool(self.calls) and self.handled >= min(self.calls[0][0], self.sent)

    @property
    def resumes(self) -> bool:
        """Whether reading may go on."""
        return self.paused and self.held <= _MOST // 2

    def read(self) -> tuple[int, bytes | int] | None:
        """Return the next record's number, and its bytes or its memory; None if there is none."""
        try:
            data, fds, _, _ = socket.recv_fds(self.sock, COUNT.size + LARGEST_RECORD, 1)
        except BlockingIOError:
            return None
        except ConnectionResetError:  # it died with something of ours unread
            data, fds = b"", []
        if not data:
            self.ended = True
            return None
        return COUNT.unpack_from(data)[0], fds[0] if fds else data[COUNT.size :]

    def close(self) -> None:
        """Read no more."""
        self._page = None
        self.sock.close()
        self.theirs.close()


class Records:
    """All workers' records; only the reactor calls, or who holds the pool's lock."""

    def __init__(self, wake: Callable[[], None], handle: Callable[[bytes], object]) -> None:
        self._wake = wake
        self._handle_record = handle
        self._inflows: dict[int, Inflow] = {}
        #: The workers, dead ones among them, of which an outcome waits.
        self._awaited: dict[int, Inflow] = {}
        self._paused: set[Inflow] = set()
        self._handling = Handling()
        self._lock = threading.Lock()
        self.selector: BaseSelector

    def open(self, number: int, page: memoryview) -> None:
        """Expect records of a new worker."""
        inflow = self._inflows[number] = Inflow(page)
        self._watch(inflow)

    def descriptor(self, number: int) -> int:
        """Return the worker's descriptor; until `opened`."""
        return self._inflows[number].theirs.fileno()

    def opened(self, number: int) -> None:
        """Close the worker's descriptor, which it has got by now."""
        self._inflows[number].theirs.close()

    def _watch(self, inflow: Inflow) -> None:
        inflow.watched = True
        self.selector.register(inflow.sock, EVENT_READ, partial(self._read, inflow, _SOME))

    def _unwatch(self, inflow: Inflow) -> None:
        if inflow.watched:
            inflow.watched = False
            self.selector.unregister(inflow.sock)

    def _read(self, inflow: Inflow, most: int) -> None:
        if inflow.sock.fileno() < 0:
            return  # it died while this event waited for its turn
        for _ in range(most):
            found = inflow.read()
            if found is None:
                break
            number, content = found
            if number == TRACKER:
                if isinstance(content, int):  # else there was no descriptor for it
                    answer_tracker(content)
                continue
            size = _OVERHEAD + (LARGEST_RECORD if isinstance(content, int) else len(content))
            inflow.received = number or inflow.received
            with self._lock:
                inflow.held += size
            self._handling.put(partial(self._handle, inflow, content, size, number))
        if inflow.held > _MOST and not inflow.paused:
            inflow.paused = True
            self._paused.add(inflow)
        if inflow.paused or inflow.ended:  # an end would wake us until its death is told
            self._unwatch(inflow)

    def _handle(self, inflow: Inflow, content: bytes | int, size: int, number: int) -> None:
        """Handle one record; on the thread for that."""
        try:
            self._handle_record(_read_memory(content) if isinstance(content, int) else content)
        finally:
            with self._lock:
                inflow.held -= size
                inflow.handled = number or inflow.handled
                wanted = inflow.due or inflow.resumes
            if wanted:
                self._wake()

    # -- outcomes that wait ------------------------------------------------------------------------

    def are_before(self, number: int, *, idle: bool) -> bool:
        """Return whether answers of a worker that are being read have records before them.

        *idle*: whether the worker has nothing more to do, so that all it has logged is before them.
        """
        inflow = self._inflows[number]
        sent = inflow.sent
        found = inflow.handled < sent and inflow.told < sent
        if idle:
            inflow.told = sent
        return found

    def after(self, number: int, call: Callable[[], None]) -> None:
        """Call *call* once all that the worker has logged is handled, at once if it is."""
        inflow = self._inflows[number]
        if not inflow.calls and inflow.handled >= inflow.sent:
            call()
            return
        with self._lock:
            inflow.calls.append((inflow.sent, call))
        self._awaited[number] = inflow

    def look(self) -> float | None:
        """Do what is due; return how many seconds may pass until the next look, None for any."""
        for inflow in [each for each in self._paused if each.resumes]:
            inflow.paused = False
            self._paused.discard(inflow)
            self._watch(inflow)
        if not self._awaited:
            return None
        stuck = self._handling.stuck
        for number, inflow in list(self._awaited.items()):
            self._call(inflow, stuck=stuck)
            if not inflow.calls:
                del self._awaited[number]
        return _GLANCE if self._awaited else None

    def _call(self, inflow: Inflow, *, stuck: bool) -> None:
        while True:
            with self._lock:
                if not (inflow.due or (stuck and inflow.calls)):
                    return
                _, call = inflow.calls.popleft()
            call()

    # -- ends --------------------------------------------------------------------------------------

    def drain(self, number: int) -> None:
        """Read what a dead worker has left, and no more of it."""
        inflow = self._inflows[number]
        self._read(inflow, _ALL)
        self._unwatch(inflow)
        self._paused.discard(inflow)
        inflow.close()

    def forget(self, number: int) -> None:
        """Forget a dead worker, but for the outcomes that wait."""
        del self._inflows[number]

    def join(self) -> None:
        """Return once all is handled, unless a handler is stuck."""
        self._handling.join()

    def abandon(self) -> None:
        """Close this forked child's copies of the sockets, which are the parent's."""
        for inflow in list(self._inflows.values()):
            inflow.close()


def _read_memory(fd: int) -> bytes:
    with open(fd, "rb") as file:
        file.seek(0)
        return file.read()
