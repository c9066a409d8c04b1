"""A member's connection to its head: one thread, one socket, and a new session when it is cut.

    member                                     head
    HELLO: who I am, what I have           ->  known? in which version? with which key?
                                           <-  WELCOME, or REFUSED: why
    letters, and PING                      <-> letters, and PING
    (cut, or silent for too long: a new socket, and from the beginning)

Within a session nothing is lost or comes twice. What its end has swallowed is told again by both
sides in the next one: whoever accepted something holds it until it hears that it has arrived.

The head sends each PING back. So a member knows until when the head has certainly heard it: what
comes from the head says nothing of that, for a line may be cut one way.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import socket
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol

from polyexec import ClusterError, JoinRefusedError
from polyexec_zmq import _wire as wire
from polyexec_zmq._admission import MALFORMED
from polyexec_zmq._versions import versions

if TYPE_CHECKING:
    from polyexec_zmq._connection import Connection

logger = logging.getLogger("polyexec")

#: How many sessions may end in a lease as letters make no sense.
_MOST_NONSENSE: Final = 8
#: How many letters are read before something else is seen to.
_SOME: Final = 64
#: How many seconds pass between attempts to connect; from the first to the longest.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
_LOST: Final = (
    "the process of the private cluster has ended, or does not answer; make a new executor, which "
    "starts another"
)
_SILENT: Final = "it takes connections, but does not answer as a head does"


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


class Line:
    """Connects *member* to the head at *address*, for as long as that can be reached.

    *patience*: after how many seconds without a session it gives up, None for never.
    """

    def __init__(
        self,
        member: Member,
        address: str,
        connection: Connection,
        patience: float | None,
        *,
        connect_timeout: float | None = None,
    ) -> None:
        self._member = member
        self.address: str = address
        self._connection = connection
        self._patience = patience
        self._connect_timeout = connect_timeout if connect_timeout is not None else patience
        #: Counts the times that it asks to join: the last one counts, in whichever order they come.
        self._attempts = itertools.count(1)
        #: The versions of distributions that the head wants to know.
        self._packages: dict[str, str | None] = {}
        self._near, self._far = socket.socketpair()
        for end in (self._near, self._far):
            end.setblocking(False)  # noqa: FBT003 - its only signature
        connection.watch(self._near.fileno())
        self._out: deque[list[Any]] = deque()
        self._watched: int | None = None
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
        #: When letters made no sense, of late.
        self._nonsense: list[float] = []
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
        if self._out or not self._connection.send(letter):
            self._out.append(letter)

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
                    self._hang_up(500 if self._closing else 0)
                    self._member.cut()
        except BaseException as defect:  # of ours: nobody must wait for ever because of it
            logger.critical("the cluster's line failed", exc_info=True)
            error = ClusterError(f"polyexec failed: {defect!r}")
        self._hang_up()
        self._connection.end()
        self._near.close()
        self._far.close()
        if error is not None:
            self._member.failed(error)

    def _connect(self) -> ClusterError | None:
        """Begin a session; return why there will be none, if so."""
        connection = self._connection
        patience = self._patience if self._was_up else self._connect_timeout
        pause, began = _FIRST_PAUSE, time.monotonic()
        ends = float("inf") if patience is None else began + patience
        why = ""
        while not self._closing:
            if self._was_up and connection.once:
                return ClusterError(_LOST)
            outcome = connection.open() or self._ask(ends)
            if outcome is None:
                return None
            self._hang_up()
            if isinstance(outcome, ClusterError):
                return outcome
            if connection.once and not self._closing:
                return ClusterError(_LOST)
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

    def _ask(self, ends: float) -> ClusterError | str | None:
        """Ask to join; return None if that was answered by WELCOME, why not, or why never."""
        self._pinged = time.monotonic()
        self._say_hello()
        return self._greet(min(time.monotonic() + self._connection.greeting, ends))

    def _pause(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not self._closing and (left := deadline - time.monotonic()) > 0:
            if self._connection.wait(left):
                self._quieten()

    def _say_hello(self) -> None:
        attempt = next(self._attempts)
        hello = {**self._member.hello(), "packages": self._packages, "attempt": attempt}
        # If there is no room it is refused already, and waiting for some would be for ever.
        self._connection.send(wire.letter(wire.HELLO, 0, 0, wire.to_json(hello)))

    def _hang_up(self, linger: int = 0) -> None:
        if self.up and self._watched is not None:
            self._connection.unwatch(self._watched)
        self.up = False
        self._out.clear()
        self._connection.close(linger)

    def _greet(self, deadline: float) -> ClusterError | str | None:
        """Wait for WELCOME; return None, why not, or why never."""
        connection = self._connection
        while not self._closing:
            left = deadline - time.monotonic()
            if left <= 0:
                return _SILENT if connection.connected else ""
            if self._near.fileno() in connection.wait(min(left, _LONGEST_PAUSE)):
                self._quieten()
            if connection.readable and (letter := connection.receive()) is not None:
                try:
                    kind, answer = _read_greeting(letter)
                except MALFORMED:
                    return "what answers there is no head"
                if kind == wire.WELCOME:
                    self._welcomed(answer)
                    return None
                if kind == wire.REFUSED and (refusal := self._refused(answer)) is not None:
                    return refusal
            elif connection.troubled and (failure := connection.failure()) is not None:
                return failure
        return "closed"

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
            self._connection.watch(self._watched)
        self._member.joined(welcome)

    # -- a session ---------------------------------------------------------------------------------

    def _serve(self) -> None:
        """See to the session until it ends."""
        connection = self._connection
        while True:
            self.resting = True  # first, for what comes while we flush must wake us
            wait = self._member.flush()
            self._send_more()
            now = self._forgive(0.0)
            sends = bool(self._out) or connection.sends
            if self._closing and (not sends or now > self._closes_at):
                connection.send(wire.letter(wire.BYE, 0, 0, wire.to_json("closed")))
                return
            if self._again or (self._is_doubtful(now) and not connection.look()):
                return  # what there is to read may be old, if this process was stopped
            if now - self._pinged > self.beat:
                self._pinged = now
                connection.send(wire.letter(wire.PING, 0, int(now * 1e6)))
            limit = self.beat if wait is None else min(wait, self.beat)
            ready = connection.wait(limit, for_room=bool(self._out))
            self.resting = False
            if self._is_doubtful(self._forgive(limit)):
                return  # this process did not run for long: what has come meanwhile is old
            if self._near.fileno() in ready:
                self._quieten()
            if connection.readable and not self._read():
                return
            if connection.troubled and connection.failure() is not None:
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
        if self._connection.once and late > self.beat:
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
        while self._out and self._connection.send(self._out[0]):
            self._out.popleft()

    def _read(self) -> bool:
        """Take some letters; return False if the session is over."""
        for _ in range(_SOME):
            letter = self._connection.receive()
            if letter is None:
                break
            if not self._take(letter):
                return False
        self._heard = time.monotonic()
        return True

    def _take(self, letter: list[Any]) -> bool:
        try:
            kind, peer, number = wire.HEAD.unpack(letter[0])
            if kind in (wire.UNKNOWN, wire.BYE):
                return False
            if kind == wire.PING:
                self.confirmed = max(self.confirmed, number * 1e-6)
            else:
                self._member.receive(kind, peer, number, letter)
        except MALFORMED:
            if not self._may_go_on():
                raise
            logger.warning(
                "a letter of the head makes no sense; a new session begins", exc_info=True
            )
            return False
        return True

    def _may_go_on(self) -> bool:
        """Return whether the next session may be better, now that a letter makes no sense.

        Without keys nothing tells that a connection has lost some bytes.
        """
        now = time.monotonic()
        self._nonsense = [when for when in self._nonsense if now - when < self.lease] + [now]
        return not self._connection.once and len(self._nonsense) <= _MOST_NONSENSE

    def _read_rest(self) -> None:
        """Take what came before the connection ended."""
        while (letter := self._connection.receive()) is not None:
            if not self._take(letter):
                return


def _read_greeting(letter: list[Any]) -> tuple[int, dict[str, Any]]:
    kind, _, _ = wire.HEAD.unpack(letter[0])
    if kind not in (wire.WELCOME, wire.REFUSED):
        return kind, {}
    return kind, dict(wire.from_json(letter[1]))
