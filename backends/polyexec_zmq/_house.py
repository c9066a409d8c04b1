"""What is near a private cluster's head: a node in its own process, and the program it is for.

Letters to and from the node are handed over, not sent; those of the program come through a stream
of its own. So a task goes through three threads and three wake-ups less, each way.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import zmq

from polyexec_zmq import _wire as wire
from polyexec_zmq._frames import READABLE, WRITABLE

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from polyexec_process.engine import Reactor
    from polyexec_zmq._line import Member
    from polyexec_zmq._loop import HeadLoop
    from polyexec_zmq._stream import Stream

#: Routing ids that no socket has: ZeroMQ's begin with 0, those of members with 1.
INNER: Final = b"\2"
PROGRAM: Final = b"\3"


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
        self._loop.house.take_in(self)
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


class House:
    """What is near the head that *loop* drives, and lives and dies with it."""

    def __init__(self, loop: HeadLoop) -> None:
        self._loop = loop
        self._line: InnerLine | None = None
        self._stream: Stream | None = None
        self._full = False
        #: The reactors of the node's pools, by their descriptors; and those that are ready.
        self._reactors: dict[int, Reactor] = {}
        self._ready: set[int] = set()
        self.thread: threading.Thread = threading.current_thread()

    def take_in(self, line: InnerLine) -> None:
        """Have a node in this process, whose line that is."""
        self._line = line
        self._loop.head.watched.add(os.getpid())
        self._loop.poller.register(line.fileno(), zmq.POLLIN)

    def admit(self, stream: Stream) -> None:
        """Let the program join, through *stream*; when that has gone, the head stops."""
        if self._stream is None:
            self._stream = stream
            self._loop.poller.register(stream.fileno(), zmq.POLLIN)

    def adopt(self, reactor: Reactor, fd: int) -> None:
        """Have *reactor* on the head's thread."""
        self._reactors[fd] = reactor
        self._loop.poller.register(fd, zmq.POLLIN)

    def dismiss(self, reactor: Reactor) -> None:
        """Forget *reactor*."""
        for fd in [fd for fd, each in self._reactors.items() if each is reactor]:
            del self._reactors[fd]
            self._loop.poller.unregister(fd)

    def pump(self, wait: float) -> float:
        """Do what is to be done; return how many seconds may pass, no more than *wait*."""
        if self._line is not None:
            self._line.resting = False  # its turn comes below: it need not be woken for that
        for fd, reactor in list(self._reactors.items()):
            reactor.step(ready=fd in self._ready)
        self._ready.clear()
        if self._line is not None and (inner := self._line.pump()) is not None:
            wait = min(wait, inner)
        # Now, for what the node was just sent may have them wait for less.
        if self._reactors:
            now = time.monotonic()
            wait = min(wait, *(reactor.due_at - now for reactor in self._reactors.values()))
        stream = self._stream
        if stream is not None and (stream.is_full or self._full):
            full = not stream.push()
            if full != self._full:
                self._full = full
                events = READABLE | (WRITABLE if full else 0)
                self._loop.poller.modify(stream.fileno(), events)
        return wait

    def take(self, events: AbstractSet[int]) -> None:
        """Take what has come, by the descriptors that are in *events*."""
        if self._stream is not None and self._stream.fileno() in events:
            self._read(self._stream)
        if self._line is not None and self._line.fileno() in events:
            self._line.quieten()
        self._ready.update(self._reactors.keys() & events)

    def _read(self, stream: Stream) -> None:
        while (letter := stream.receive()) is not None:
            reply = self._loop.hand_over(PROGRAM, letter)
            if reply is not None:
                stream.send(reply)
            if not stream.has_letters:
                break  # for now: others wait, too
        self._loop.head.settle()
        if stream.ended:
            self._loop.head.stop()

    def post(self, rid: bytes, letter: list[Any]) -> bool | None:
        """Send *letter*; return False if there is no room for it, None if *rid* is not near."""
        if rid == PROGRAM and self._stream is not None:
            return self._stream.send(letter)
        if rid == INNER and self._line is not None:
            self._line.deliver(letter)
            return True
        return None
