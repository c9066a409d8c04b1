"""A program's membership in a cluster: one line for all its executors there."""

from __future__ import annotations

import itertools
import os
import random
from typing import TYPE_CHECKING, Any, Final

from polyexec import ClusterError, ClusterLostError
from polyexec.interrupts import Uninterrupted
from polyexec.waiting import Condition
from polyexec_zmq import _wire as wire
from polyexec_zmq._exchange import Exchange
from polyexec_zmq._line import Line
from polyexec_zmq._versions import versions

if TYPE_CHECKING:
    from polyexec_zmq._bulk import Incoming, Outgoing
    from polyexec_zmq._connection import Connection
    from polyexec_zmq._remotepool import RemotePool

#: How many seconds the head and its nodes may take to answer a question.
_ANSWER: Final = 10.0
#: What becomes of tasks when the head had not heard of their program for its lease.
_GIVEN_UP: Final = "the head had heard nothing of this program for too long, and gave it up"


def new_member() -> int:
    """Return a number for a new member, which nobody has, or guesses."""
    return int.from_bytes(os.urandom(8), "little") | 1


class Hub:
    """This program's membership in the cluster at *address*.

    *patience*: how many seconds waits go on without a head; *connect_timeout*: the same for the
    first connection.
    """

    def __init__(
        self,
        address: str,
        connection: Connection,
        patience: float,
        *,
        connect_timeout: float | None = None,
    ) -> None:
        self.member: int = new_member()
        self.line: Line = Line(self, address, connection, patience, connect_timeout=connect_timeout)
        #: What guards all this, and what those wait on who wait for a change of it.
        self.lock: Condition = Condition()
        self._pools: dict[int, RemotePool] = {}
        self._pool_numbers = itertools.count(1)
        self._questions = itertools.count(1)
        self._answers: dict[int, Any] = {}
        self._asked: dict[int, dict[str, Any]] = {}
        #: The questions that have not been put to this head.
        self._to_ask: set[int] = set()
        #: The numbers of jobs: each attempt has its own, so that a stale one is nobody's.
        self.job_numbers: itertools.count[int] = itertools.count(random.getrandbits(32) << 28)
        self._exchange = Exchange(self.line.send, connection.channels)
        self.outgoing: Outgoing = self._exchange.outgoing
        self.incoming: Incoming = self._exchange.incoming
        self.welcome: dict[str, Any] | None = None
        self.failure: ClusterError | None = None
        self._incarnation: str | None = None

    def start(self) -> None:
        """Begin to join."""
        with Uninterrupted(), self.lock:
            if self.line.thread is None:
                self.line.start()

    def connect(self) -> None:
        """Join; raises ClusterError if that can't be done."""
        self.start()
        with Uninterrupted(), self.lock:
            self.lock.wait_for(lambda: self.welcome is not None or self.failure is not None)
            self.check()

    def check(self) -> None:
        """Raise ClusterError if the cluster is lost."""
        if self.failure is not None:
            error = type(self.failure)(*self.failure.args)
            raise error from self.failure

    def close(self) -> None:
        """Leave the cluster; what has not ended fails."""
        self.line.close()
        if self.failure is None:
            self.failed(ClusterError("its context was closed; shut executors down before that"))

    # -- for executors ---------------------------------------------------------------------------

    def add(self, pool: RemotePool) -> int:
        """Take on *pool*, and return its number."""
        with Uninterrupted(), self.lock:
            self.check()
            number = next(self._pool_numbers)
            self._pools[number] = pool
            return number

    def remove(self, number: int) -> None:
        """Forget a pool that has ended."""
        self._pools.pop(number, None)

    def ask(self, question: dict[str, Any]) -> Any:
        """Return the head's answer to *question*; raises ClusterError if there is none."""
        number = next(self._questions)
        with Uninterrupted(), self.lock:
            self.check()
            self._asked[number] = question
            self._to_ask.add(number)
            self.line.wake()
            try:
                self.lock.wait_for(
                    lambda: number in self._answers or self.failure is not None, _ANSWER
                )
            finally:
                self._asked.pop(number, None)
                self._to_ask.discard(number)
                answered, answer = number in self._answers, self._answers.pop(number, None)
            if not answered:
                self.check()
                raise ClusterError(
                    f"the head at {self.line.address} has not answered for {_ANSWER:g} seconds"
                )
            return answer

    # -- the line's member -------------------------------------------------------------------------

    def hello(self) -> dict[str, Any]:
        """Return what to join with."""
        with self.lock:
            executors = list(self._pools)
        return {
            "role": "client",
            "executors": executors,
            "member": self.member,
            "incarnation": self._incarnation,
            "pid": os.getpid(),
            **versions(),
        }

    def joined(self, welcome: dict[str, Any]) -> None:
        """Tell all again that may not have arrived."""
        self._exchange.welcomed(welcome)
        with self.lock:
            self.welcome = welcome
            self._incarnation = welcome["incarnation"]
            pools = list(self._pools.values())
            self._to_ask.update(self._asked)
            self.lock.notify_all()
        if welcome["stale"]:
            self.incoming.lose(None, _GIVEN_UP)
        for pool in pools:
            if welcome["stale"]:
                pool.given_up(_GIVEN_UP)
            pool.rejoin()
        self.incoming.resume()

    def receive(self, kind: int, peer: int, number: int, frames: list[Any]) -> None:
        """Take a letter."""
        if self._exchange.take(kind, peer, number, frames):
            pass
        elif kind == wire.RESEND:
            self.incoming.resume(peer)
        elif kind == wire.LOST and not number:
            self.incoming.lose(peer, wire.from_json(frames[1])["why"])
        elif kind == wire.TELL:
            with self.lock:
                if number in self._asked:
                    self._answers[number] = wire.from_json(frames[1])
                    self.lock.notify_all()
        elif (pool := self._pools.get(number)) is not None:
            pool.receive(kind, peer, frames)

    def flush(self) -> float | None:
        """Send what there is."""
        with self.lock:
            pools = list(self._pools.values())
        waits = [wait for pool in pools if (wait := pool.flush()) is not None]
        # Behind what pools have to send, which may be what the question is about.
        with self.lock:
            for number in self._to_ask:
                question = wire.to_json(self._asked[number])
                self.line.send(wire.letter(wire.ASK, 0, number, question))
            self._to_ask.clear()
        return min(waits, default=None)

    def cut(self) -> None:
        """Take note that the session has ended; the line begins another."""

    def failed(self, error: ClusterError) -> None:
        """Take note that the cluster is lost."""
        with self.lock:
            lost = self.welcome is not None
            self.failure = ClusterLostError(f"the cluster is lost: {error}") if lost else error
            pools = list(self._pools.values())
            self.lock.notify_all()
        lost_error = ClusterLostError(*self.failure.args)
        for pool in pools:
            pool.cluster_lost(lost_error)
