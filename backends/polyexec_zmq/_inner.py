"""The line of a node that lives in its head's own process: letters are handed over, not sent.

A task of the private cluster goes through one socket and one thread less for that, each way.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from polyexec_zmq import _wire as wire

if TYPE_CHECKING:
    from polyexec_zmq._line import Member
    from polyexec_zmq._loop import HeadLoop

#: A routing id that no socket has: ZeroMQ's begin with 0, those of members with 1.
INNER = b"\2"


class InnerLine:
    """As a `Line` to its member; its thread is the head's, which calls `pump`."""

    def __init__(self, member: Member, loop: HeadLoop) -> None:
        self._member = member
        self._loop = loop
        self._near, self._far = socket.socketpair()
        for end in (self._near, self._far):
            end.setblocking(False)  # noqa: FBT003 - its only signature
        #: Letters that have not been taken, to the member and from it.
        self._in: deque[list[Any]] = deque()
        self._out: deque[list[Any]] = deque()
        self.up: bool = False
        self.lease: float = 0.0
        self.resting: bool = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin: have the head call."""
        self._loop.house(self)
        hello = wire.to_json(self._member.hello())
        self._out.append(wire.letter(wire.HELLO, 0, 0, hello))

    def fileno(self) -> int:
        """Return what is readable when there is something to do."""
        return self._near.fileno()

    def quieten(self) -> None:
        """Take note that there is."""
        with contextlib.suppress(BlockingIOError):
            self._near.recv(4096)

    def wake(self) -> None:
        """Have the member's `flush` called soon; any thread may call."""
        if self.resting:
            self.resting = False
            with contextlib.suppress(OSError):  # it has not read the last one yet, or has ended
                self._far.send(b"!")

    @property
    def is_current(self) -> bool:
        """Whether the caller is the line's thread."""
        return threading.current_thread() is self._thread

    def send(self, letter: list[Any]) -> None:
        """Send *letter*."""
        self._out.append(letter)

    def deliver(self, letter: list[Any]) -> None:
        """Take a letter of the head's."""
        self._in.append(letter)

    def pump(self) -> float | None:
        """Hand over all there is; return how many seconds may pass, None for any."""
        self._thread = threading.current_thread()
        self.resting = False
        while True:
            while self._in:
                self._take(self._in.popleft())
            if not self._out:
                self.resting = True  # first, for what comes while we flush must wake us
            wait = self._member.flush() if self.up else None
            if not self._out:
                return wait
            self.resting = False
            while self._out:
                self._loop.hand_over(INNER, self._out.popleft())
            self._loop.head.settle()

    def _take(self, letter: list[Any]) -> None:
        kind, peer, number = wire.HEAD.unpack(letter[0])
        if kind == wire.WELCOME:
            self.up = True
            self._member.joined(wire.from_json(letter[1]))
        elif kind not in (wire.PING, wire.BYE):
            self._member.receive(kind, peer, number, letter)

    def close(self) -> None:
        """End."""
        self.up = False
        self._near.close()
        self._far.close()
