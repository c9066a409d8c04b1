"""A member's connection to its head: one thread, one socket, and a new session when it is cut.

    member                                     head
    HELLO: who I am, what I have           ->  known? in which version? with which key?
                                           <-  WELCOME, or REFUSED: why
    letters, and PING                      <-> letters, and PING
    (cut, or silent for too long: a new socket, and from the beginning)

A session is one connection of one socket, so that within it nothing is lost or comes twice; ZeroMQ
does not get to connect a second time. What a session's end has swallowed is told again by both
sides in the next one: whoever accepted something holds it until it hears that it has arrived.

The head sends each PING back. So a member knows until when the head has certainly heard it: what
comes from the head says nothing of that, for a line may be cut one way.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol

import zmq

from polyexec import ClusterError, JoinRefusedError
from polyexec_zmq import _wire as wire
from polyexec_zmq._frames import AT_ONCE, READABLE, WRITABLE, receive_rest, send
from polyexec_zmq._versions import versions

if TYPE_CHECKING:
    from polyexec_zmq._embedded import Embedded
    from polyexec_zmq._keys import Credentials

#: How many letters are read before something else is seen to.
_SOME: Final = 64
#: How many seconds pass between attempts to connect; from the first to the longest.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
#: How many seconds a head may take to answer HELLO.
_GREETING: Final = 5.0
#: How long, in seconds, letters gather before the thread wakes, while there are very many.
_MOMENT: Final = 0.001

_SILENT: Final = "it takes connections, but does not answer as a head does"
_NONSENSE = (struct.error, ValueError, IndexError, TypeError)

_CUT = zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED
_REFUSED = zmq.EVENT_HANDSHAKE_FAILED_AUTH
_FAILED = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL


class Member(Protocol):
    """Who has a line; called on its thread."""

    def hello(self) -> dict[str, Any]:
        """Return what to join with."""
        ...

    def joined(self, welcome: dict[str, Any]) -> None:
        """Take note that a session has begun; what the last one may have lost is to be told."""

    def receive(self, kind: int, peer: int, number: int, frames: list[Any]) -> None:
        """Take a letter."""

    def flush(self) -> float | None:
        """Send what there is; return how many seconds may pass until the next time, None: any."""

    def cut(self) -> None:
        """Take note that the session has ended."""

    def failed(self, error: ClusterError) -> None:
        """Take note that there will be no session any more."""


def _milliseconds(seconds: float) -> int:
    """Return what a poller takes: 0 would have it not wait at all, over and over again."""
    return max(int(seconds * 1000), 1)


class Line:
    """Connects *member* to the head at *address*, for as long as that can be reached.

    *patience*: after how many seconds without a session it gives up, None for never; *credentials*
    are its keys, None on a local socket; *embedded* is the head's process, if that is its own.
    """

    def __init__(
        self,
        member: Member,
        address: str,
        credentials: Credentials | None,
        patience: float | None,
        *,
        embedded: Embedded | None = None,
        connect_timeout: float | None = None,
    ) -> None:
        self._embedded = embedded
        self._member = member
        self.address: str = address
        self._credentials = credentials
        self._patience = patience
        self._connect_timeout = connect_timeout if connect_timeout is not None else patience
        #: The versions of distributions that the head wants to know.
        self._packages: dict[str, str | None] = {}
        self._connected = False
        self._context: zmq.Context[Any] = zmq.Context()
        self._sock: zmq.Socket[bytes] | None = None
        self._monitor: zmq.Socket[bytes] | None = None
        self._poller = zmq.Poller()
        self._near, self._far = socket.socketpair()
        for end in (self._near, self._far):
            end.setblocking(False)  # noqa: FBT003 - its only signature
        self._poller.register(self._near, zmq.POLLIN)
        self._out: deque[list[Any]] = deque()
        self._watched: int | None = None
        self._pid = os.getpid()
        #: Whether a session is on, and whether the thread sleeps.
        self.up: bool = False
        self._was_up = False
        self.resting: bool = False
        self._closing = False
        self._closes_at = 0.0
        #: How many seconds of silence end a session, and how many pass between signs of life.
        self.lease: float = 10.0
        self.beat: float = 1.0
        #: How many seconds may pass since it last knew that the head hears it.
        self.fence: float = 15.0
        self._looked = self._heard = self._pinged = 0.0
        #: When it sent the last letter that the head has certainly heard.
        self.confirmed: float = 0.0
        self._again = False
        self.thread: threading.Thread | None = None

    # -- for any thread ------------------------------------------------------------------------

    def start(self) -> None:
        """Begin."""
        self.thread = threading.Thread(target=self._run, name="polyexec-line", daemon=True)
        self.thread.start()

    def watch(self, fd: int) -> None:
        """Have the member's `flush` called when there is something on *fd*; before the start."""
        self._watched = fd

    def wake(self) -> None:
        """Have the member's `flush` called soon."""
        if self.resting:
            self.resting = False
            self._nudge()

    def _nudge(self) -> None:
        with contextlib.suppress(OSError):  # it has not read the last one yet, or has ended
            self._far.send(b"!")

    @property
    def is_current(self) -> bool:
        """Whether the caller is the line's thread."""
        return threading.current_thread() is self.thread

    def close(self, patience: float = 2.0) -> None:
        """Say goodbye, and end; what was sent before has left, if *patience* seconds suffice."""
        self._closes_at = time.monotonic() + patience
        self._closing = True
        self._nudge()
        if self.thread is not None and not self.is_current:
            self.thread.join()

    # -- on the thread ---------------------------------------------------------------------------

    def send(self, letter: list[Any]) -> None:
        """Send *letter*, once there is room for it; nothing if no session is on."""
        if not self.up:
            return
        if self._out or not self._try(letter):
            self._out.append(letter)

    def _try(self, letter: list[Any]) -> bool:
        assert self._sock is not None
        try:
            send(self._sock, letter, copy=letter[0][0] != wire.CHUNK)
        except zmq.Again:
            return False
        return True

    def again(self) -> None:
        """Begin a new session; on the line's thread."""
        self._again = True

    def _run(self) -> None:
        error: ClusterError | None = None
        try:
            while not self._closing and error is None:
                error = self._connect()
                if error is None and not self._closing:
                    self._serve()
                    self._hang_up()
                    self._member.cut()
        except BaseException as defect:  # of ours: nobody must wait for ever because of it
            import logging

            logging.getLogger("polyexec").critical("the cluster's line failed", exc_info=True)
            error = ClusterError(f"polyexec failed: {defect!r}")
        self._hang_up()
        self._near.close()
        self._far.close()
        self._context.term()
        if error is not None:
            self._member.failed(error)

    def _connect(self) -> ClusterError | None:
        """Begin a session; return why there will be none, if so."""
        if self._embedded is not None and (error := self._await(self._embedded)) is not None:
            return error
        patience = self._patience if self._was_up else self._connect_timeout
        pause, began = _FIRST_PAUSE, time.monotonic()
        ends = float("inf") if patience is None else began + patience
        why = ""
        while not self._closing:
            self._open()
            outcome = self._greet(min(time.monotonic() + _GREETING, ends))
            if outcome is None:
                return None
            self._hang_up()
            if isinstance(outcome, ClusterError):
                return outcome
            if outcome != _SILENT or not why:  # for the last attempt may have been too short
                why = outcome or why
            if time.monotonic() >= ends:
                return ClusterError(
                    f"no head at {self.address} within {patience:g} seconds: "
                    f"{why or 'nothing answers there'}; start one with `polyexec head`, or "
                    "correct the address"
                )
            self._pause(min(pause, ends - time.monotonic()))
            pause = min(2 * pause, _LONGEST_PAUSE)
        return None

    def _await(self, embedded: Embedded) -> ClusterError | None:
        """Wait until the private cluster's process is ready; return why it never will be."""
        deadline = time.monotonic() + (self._patience or _GREETING)
        ready = False if self._was_up else None
        while ready is None and not self._closing and time.monotonic() < deadline:
            ready = embedded.wait(_FIRST_PAUSE)
        if ready or self._closing:
            return None
        return ClusterError(
            "the process of the private cluster has ended, or does not answer; make a new "
            "executor, which starts another"
        )

    def _pause(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not self._closing and (left := deadline - time.monotonic()) > 0:
            if self._poller.poll(_milliseconds(left)):
                self._quieten()

    def _open(self) -> None:
        sock: zmq.Socket[bytes] = self._context.socket(zmq.DEALER)
        sock.linger = 0
        sock.reconnect_ivl = -1
        sock.routing_id = b"\1" + os.urandom(16)
        sock.sndhwm = sock.rcvhwm = 1000
        sock.ipv6 = "[" in self.address
        if self._credentials is not None:
            self._credentials.be_client(sock)
        self._monitor = sock.get_monitor_socket(_CUT | _REFUSED | _FAILED | zmq.EVENT_CONNECTED)
        self._connected = False
        self._monitor.linger = 0
        self._sock = sock
        for each in (sock, self._monitor):
            self._poller.register(each, zmq.POLLIN)
        sock.connect(self.address)
        self._pinged = time.monotonic()
        self._say_hello()

    def _say_hello(self) -> None:
        assert self._sock is not None
        hello = {**self._member.hello(), "packages": self._packages}
        letter = wire.letter(wire.HELLO, 0, 0, wire.to_json(hello))
        with contextlib.suppress(zmq.Again):  # refused already; waiting for room would be for ever
            self._sock.send_multipart(letter, zmq.NOBLOCK)

    def _hang_up(self) -> None:
        if self.up and self._watched is not None:
            self._poller.unregister(self._watched)
        self.up = False
        self._out.clear()
        sock, self._sock = self._sock, None
        if sock is None:
            return
        monitor, self._monitor = self._monitor, None
        assert monitor is not None
        self._poller.unregister(monitor)
        self._poller.unregister(sock)
        sock.disable_monitor()
        monitor.close()
        sock.close()

    def _greet(self, deadline: float) -> ClusterError | str | None:
        """Wait for WELCOME; return None, why not, or why never."""
        assert self._sock is not None
        while not self._closing:
            left = deadline - time.monotonic()
            if left <= 0:
                return _SILENT if self._connected else ""
            events = dict(self._poller.poll(_milliseconds(left)))
            if self._near.fileno() in events:
                self._quieten()
            if self._sock in events:
                try:
                    kind, answer = self._read_greeting()
                except _NONSENSE:
                    return "what answers there is no head"
                if kind == wire.WELCOME:
                    self._welcomed(answer)
                    return None
                if kind == wire.REFUSED and (refusal := self._refused(answer)) is not None:
                    return refusal
            elif self._monitor in events and (failure := self._look_at_monitor()) is not None:
                return failure
        return "closed"

    def _read_greeting(self) -> tuple[int, dict[str, Any]]:
        assert self._sock is not None
        frames = self._sock.recv_multipart()
        (kind, _, _) = wire.HEAD.unpack(frames[0])
        if kind not in (wire.WELCOME, wire.REFUSED):
            return kind, {}
        return kind, dict(wire.from_json(frames[1]))

    def _refused(self, answer: dict[str, Any]) -> ClusterError | None:
        """Return why the head will not have us; None if it has only asked for more."""
        wanted = answer.get("packages", ())
        if wanted and set(wanted) - set(self._packages):
            self._packages = versions(wanted)["packages"]
            self._say_hello()
            return None
        return JoinRefusedError(f"the head at {self.address} refuses: {answer.get('why')}")

    def _welcomed(self, welcome: dict[str, Any]) -> None:
        self.lease, self.beat, self.fence = welcome["lease"], welcome["beat"], welcome["fence"]
        self._heard = self._looked = time.monotonic()
        self.confirmed = self._pinged
        self._again = False
        self.up = self._was_up = True
        if self._watched is not None:
            self._poller.register(self._watched, zmq.POLLIN)
        self._member.joined(welcome)

    def _look_at_monitor(self) -> ClusterError | str | None:
        """Return what has become of the connection, if it has ended."""
        from zmq.utils.monitor import recv_monitor_message

        assert self._monitor is not None
        event = int(recv_monitor_message(self._monitor)["event"])
        if event & zmq.EVENT_CONNECTED:
            self._connected = True
        if event & _REFUSED:
            return JoinRefusedError(
                f"the head at {self.address} does not accept this key; have it added with "
                "`polyexec keys add`, or use the connection file that belongs to that head"
            )
        if event & _FAILED:
            if self._credentials is None:
                return "what answers there wants keys, so pass a connection file; or is no head"
            return "what answers there has another server key than we were told, or is no head"
        return "" if event & _CUT else None

    # -- a session ---------------------------------------------------------------------------------

    def _serve(self) -> None:
        """See to the session until it ends."""
        assert self._sock is not None
        while True:
            self.resting = True  # first, for what comes while we flush must wake us
            wait = self._member.flush()
            self._send_more()
            now = self._forgive(0.0)
            if self._closing and (not self._out or now > self._closes_at):
                self._try(wire.letter(wire.BYE, 0, 0, wire.to_json("closed")))
                self._sock.linger = 500
                return
            if self._again or (self._is_doubtful(now) and not self._sock.poll(0)):
                return  # what there is to read may be old, if this process was stopped
            if now - self._pinged > self.beat:
                self._pinged = now
                self._try(wire.letter(wire.PING, 0, int(now * 1e6)))
            self._poller.modify(self._sock, READABLE | (WRITABLE if self._out else 0))
            limit = self.beat if wait is None else min(wait, self.beat)
            events = dict(self._poller.poll(_milliseconds(limit)))
            self.resting = False
            if self._is_doubtful(self._forgive(limit)):
                return  # this process did not run for long: what has come meanwhile is old
            if self._near.fileno() in events:
                self._quieten()
            if self._sock in events and not self._read():
                return
            if self._monitor in events and self._look_at_monitor() is not None:
                self._read_rest()
                return

    def _forgive(self, expected: float) -> float:
        """Return the time; hold it against no head of our own that this process stood still.

        That one knows, for it watches us; another may have given us up. Since the last time it
        should have been *expected* seconds, at most.
        """
        now = time.monotonic()
        late = now - self._looked - expected
        self._looked = now
        if self._embedded is not None and late > self.beat:
            self._heard += late
            self.confirmed += late
        return now

    def _is_doubtful(self, now: float) -> bool:
        """Return whether the head may not be there, or may not hear this member."""
        return now - self._heard > self.lease or now - self.confirmed > self.fence

    def _quieten(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._near.recv(4096)

    def _send_more(self) -> None:
        while self._out and self._try(self._out[0]):
            self._out.popleft()

    def _read(self) -> bool:
        """Take some letters; return False if the session is over."""
        assert self._sock is not None
        for _ in range(_SOME):
            try:
                first = self._sock.recv(AT_ONCE)
            except zmq.Again:
                break
            frames = receive_rest(self._sock, first)
            kind, peer, number = wire.HEAD.unpack(first)
            if kind in (wire.UNKNOWN, wire.BYE):
                return False
            if kind == wire.PING:
                self.confirmed = max(self.confirmed, number * 1e-6)
            else:
                self._member.receive(kind, peer, number, frames)
        self._heard = time.monotonic()
        return True

    def _read_rest(self) -> None:
        """Take what came before the connection ended."""
        while self._sock is not None and self._sock.poll(0):
            if not self._read():
                return
