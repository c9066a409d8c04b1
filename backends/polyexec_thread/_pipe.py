"""Pipes between threads: multiprocessing's Connection API, objects handed over as they are.

A connection has two lanes, one each way. `fileno()` is made on first use: a pipe of the system
that holds one byte exactly while its lane has something to read, or has ended, so that
`multiprocessing.connection.wait` and selectors work, with several readers too.
"""

from __future__ import annotations

import errno
import io
import os
import pickle
from collections import deque
from multiprocessing import connection
from multiprocessing.reduction import ForkingPickler
from typing import Any, NamedTuple

from polyexec.interrupts import Uninterrupted
from polyexec.waiting import Condition
from polyexec_thread._handles import Handle, passed_on

_StandardConnection: Any = connection._ConnectionBase  # for its checks


class _Object(NamedTuple):
    """A message that `send` put in: the object itself, where `send_bytes` puts bytes."""

    value: Any


class _Lane:
    """One direction of a pipe, with a count of the handles at either end."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._messages: deque[_Object | bytes] = deque()
        self._signal: tuple[int, int] | None = None
        self._signalled = False
        self._readers = self._writers = 0

    def open(self, *, reader: bool) -> None:
        """Count one more handle."""
        with Uninterrupted(), self._changed:
            self._readers += reader
            self._writers += not reader

    def close(self, *, reader: bool) -> None:
        """Count one handle less."""
        with Uninterrupted(), self._changed:
            self._readers -= reader
            self._writers -= not reader
            self._changed.notify_all()
            self._update_signal()
            if not self._readers and not self._writers and self._signal is not None:
                for descriptor in self._signal:
                    os.close(descriptor)
                self._signal = None

    def put(self, message: _Object | bytes) -> None:
        with Uninterrupted(), self._changed:
            if not self._readers:
                raise BrokenPipeError(errno.EPIPE, "the other end of the pipe is closed")
            self._messages.append(message)
            self._changed.notify()
            self._update_signal()

    def get(self) -> _Object | bytes:
        """Remove and return the next message; blocks for one; EOFError once all writers closed."""
        taken: list[_Object | bytes] = []
        try:
            with Uninterrupted(), self._changed:
                self._changed.wait_for(self._is_readable)
                if self._messages:
                    taken.append(self._messages.popleft())
                    self._update_signal()
        except BaseException:  # Ctrl-C, which struck behind that block
            if taken:
                self._put_back(taken[0])
            raise
        if not taken:
            raise EOFError
        return taken[0]

    def _put_back(self, message: _Object | bytes) -> None:
        with Uninterrupted(), self._changed:
            self._messages.appendleft(message)
            self._changed.notify()
            self._update_signal()

    def poll(self, timeout: float | None) -> bool:
        """Return whether `get` would not block, after *timeout* seconds at most."""
        with Uninterrupted(), self._changed:
            return self._changed.wait_for(self._is_readable, timeout)

    def fileno(self) -> int:
        """Return a descriptor that is readable while `get` would not block."""
        with Uninterrupted(), self._changed:
            if self._signal is None:
                self._signal = os.pipe()
                self._signalled = False
                self._update_signal()
            return self._signal[0]

    def _is_readable(self) -> bool:
        return bool(self._messages) or not self._writers

    def _update_signal(self) -> None:
        if self._signal is None or self._signalled == self._is_readable():
            return
        self._signalled = not self._signalled
        if self._signalled:
            os.write(self._signal[1], b"!")
        else:
            os.read(self._signal[0], 1)


class ThreadConnection(_StandardConnection, Handle):  # type: ignore[misc]  # the base is Any
    """One end of a pipe between threads."""

    def __init__(self, inward: _Lane | None, outward: _Lane | None) -> None:
        self._inward, self._outward = inward, outward
        super().__init__(0, readable=inward is not None, writable=outward is not None)
        if inward is not None:
            inward.open(reader=True)
        if outward is not None:
            outward.open(reader=False)

    def duplicate(self) -> ThreadConnection:
        """Return another handle of this end."""
        self._check_closed()
        return ThreadConnection(self._inward, self._outward)

    def close(self) -> None:
        """Give up this handle; the other end gets EOFError once all of this end's are closed."""
        _StandardConnection.close(self)

    def fileno(self) -> int:
        """Return a descriptor that is readable while `recv` would not block."""
        self._check_closed()
        lane = self._inward or self._outward
        assert lane is not None
        return lane.fileno()

    def send(self, obj: Any) -> None:
        """Send *obj* itself."""
        self._check_closed()
        self._check_writable()
        assert self._outward is not None
        self._outward.put(_Object(passed_on(obj)))

    def recv(self) -> Any:
        """Receive an object; blocks for one; EOFError once the other end is closed."""
        self._check_closed()
        self._check_readable()
        assert self._inward is not None
        message = self._inward.get()
        return message.value if isinstance(message, _Object) else pickle.loads(message)

    def _send_bytes(self, buf: memoryview) -> None:
        assert self._outward is not None
        self._outward.put(bytes(buf))

    def _recv_bytes(self, maxsize: int | None = None) -> io.BytesIO | None:
        assert self._inward is not None
        message = self._inward.get()
        data = (
            bytes(ForkingPickler.dumps(message.value)) if isinstance(message, _Object) else message
        )
        if maxsize is not None and len(data) > maxsize:
            return None
        buffer = io.BytesIO()
        buffer.write(data)  # left at its end, whose position tells the size
        return buffer

    def _poll(self, timeout: float | None) -> bool:
        assert self._inward is not None
        return self._inward.poll(timeout if timeout is None else max(timeout, 0))

    def _close(self) -> None:
        if self._inward is not None:
            self._inward.close(reader=True)
        if self._outward is not None:
            self._outward.close(reader=False)

    def __reduce__(self) -> Any:
        raise TypeError(
            "a pipe of context 'thread' can't be pickled; pass it to threads as it is, or use a "
            "process context's Pipe"
        )


def thread_pipe(*, duplex: bool) -> tuple[ThreadConnection, ThreadConnection]:
    """Return the two ends of a new pipe; (receiver, sender) unless *duplex*."""
    there = _Lane()
    back = _Lane() if duplex else None
    return ThreadConnection(there, back), ThreadConnection(back, there)
