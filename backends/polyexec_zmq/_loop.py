"""Drives a head: its socket, who may use that, and the time."""

from __future__ import annotations

import errno
import time
from typing import TYPE_CHECKING, Any, Final

import zmq

from polyexec_zmq import _wire as wire
from polyexec_zmq._frames import AT_ONCE, receive_rest, send
from polyexec_zmq._head import LEASE, Head
from polyexec_zmq._house import House
from polyexec_zmq._keys import check_folder
from polyexec_zmq._versions import versions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from polyexec_zmq._doorkeeper import Doorkeeper
    from polyexec_zmq._journal import Journal
    from polyexec_zmq._members import HeadMember
    from polyexec_zmq._relay import Relay

#: How many letters are read before what they bring about is sent.
_SOME: Final = 64
#: How many seconds pass before what there was no room for is tried again.
_AGAIN: Final = 0.002
#: How many letters may wait for a member that takes nothing, before it is given up.
_MOST_WAITING: Final = 100_000


class HeadLoop:
    """A head at *address*; *doorkeeper* lets members in, None on a local socket.

    One that others can reach may do without only if told to be *insecure*.
    """

    def __init__(
        self,
        address: str,
        *,
        doorkeeper: Doorkeeper | None = None,
        journal: Journal | None = None,
        lease: float = LEASE,
        packages: Iterable[str] = (),
        insecure: bool = False,
        relay: Relay | None = None,
        context: zmq.Context[Any] | None = None,
    ) -> None:
        if address.startswith("ipc:"):
            check_folder(address)
        elif doorkeeper is None and not insecure:
            raise ValueError(f"a head at {address} without keys would do what anybody tells it")
        self.context: zmq.Context[Any] = context or zmq.Context()
        self._doorkeeper = doorkeeper
        self._sock: zmq.Socket[bytes] = self.context.socket(zmq.ROUTER)
        self._sock.linger = 500
        self._sock.router_mandatory = 1
        self._sock.sndhwm = self._sock.rcvhwm = 1000
        self._sock.maxmsgsize = -1 if doorkeeper is None else 1 << 30
        if doorkeeper is not None:
            doorkeeper.guard(self._sock, self.context)
        self._sock.bind(address)
        endpoint: Any = self._sock.last_endpoint
        self.address: str = endpoint.rstrip(b"\0").decode()
        self.head: Head = Head(
            self._send,
            lease=lease,
            versions=versions(packages),
            journal=journal,
            relay=relay,
        )
        self._waiting: set[HeadMember] = set()
        self.poller: zmq.Poller = zmq.Poller()
        self.poller.register(self._sock, zmq.POLLIN)
        self._calls: dict[int, Callable[[], bool]] = {}
        self.house: House = House(self)
        self._looks_at = 0.0
        if doorkeeper is not None:
            doorkeeper.register(self.poller)
            self.head.turned_away = doorkeeper.turned_away

    def watch(self, fd: int, call: Callable[[], bool]) -> None:
        """Have *call* called when there is something on *fd*; it returns whether to go on."""
        self.poller.register(fd, zmq.POLLIN)
        self._calls[fd] = call

    def hand_over(self, rid: bytes, letter: list[Any]) -> list[Any] | None:
        """Take a letter that needed no socket; return what answers it, if that is no member's."""
        return self.head.receive(rid, letter, time.monotonic(), _local)

    def run(self) -> None:
        """See to letters until the head is stopped, or something watched says so."""
        head = self.head
        while not head.stopping:
            wait = self.house.pump(self._look())
            if self._waiting:
                self._try_again()
                wait = min(wait, _AGAIN)
            events = dict(self.poller.poll(max(int(wait * 1000), 1)))
            if self._doorkeeper is not None:
                self._doorkeeper.see_to(events)
                head.revoke(self._doorkeeper.revoked())
            if self._sock in events:
                self._read()
                head.settle()
            self.house.take(events.keys())
            for fd, call in self._calls.items():
                if fd in events and not call():
                    head.stop()
        self._try_again()

    def _look(self) -> float:
        """Have the head do what is due; return how many seconds may pass."""
        now = time.monotonic()
        if now >= self._looks_at or self.head.crowded:
            self._looks_at = now + self.head.look(now)
        return self._looks_at - now

    def close(self) -> None:
        """Close the sockets."""
        if self._doorkeeper is not None:
            self._doorkeeper.close()
        self._sock.close()

    def _read(self) -> None:
        sock, now = self._sock, time.monotonic()
        members, receive = self.head.members, self.head.receive
        for _ in range(_SOME):
            try:
                rid = sock.recv(AT_ONCE)
            except zmq.Again:
                return
            if rid in members:
                receive(rid, receive_rest(sock, sock.recv()), now, _nobody)
            else:
                self._read_stranger(rid, now)

    def _read_stranger(self, rid: bytes, now: float) -> None:
        """Take the letter of somebody who is no member: only then it matters which key he has."""
        sock = self._sock
        frames = []
        while sock.rcvmore:
            frames.append(sock.recv(copy=False))
        if not frames:
            return
        first = frames[0]
        bodies: list[Any] = [frame.bytes for frame in frames]

        def key() -> str | None:
            return "" if self._doorkeeper is None else self._doorkeeper.name_of(first)

        reply = self.head.receive(rid, bodies, now, key)
        if reply is not None:
            self._post(rid, reply)

    # -- sending -----------------------------------------------------------------------------------

    def _send(self, member: HeadMember, letter: list[Any]) -> None:
        if member.out or not self._post(member.rid, letter):
            member.out.append(letter)
            self._waiting.add(member)
            if len(member.out) > _MOST_WAITING:
                member.out.clear()
                self.head.waits_too_long(member)
        else:
            member.spoke = time.monotonic()

    def _post(self, rid: bytes, letter: list[Any]) -> bool:
        """Send *letter*; return False if there is no room for it."""
        near = self.house.post(rid, letter)
        if near is not None:
            return near
        try:
            send(self._sock, (rid, *letter), copy=letter[0][0] != wire.CHUNK)
        except zmq.Again:
            return False
        except zmq.ZMQError as error:
            if error.errno != errno.EHOSTUNREACH:
                raise
            # Its connection has ended; it is told all again when it comes back.
        return True

    def _try_again(self) -> None:
        for member in list(self._waiting):
            while member.out and self._post(member.rid, member.out[0]):
                member.out.popleft()
            if not member.out:
                self._waiting.discard(member)


def _local() -> str:
    return ""


def _nobody() -> str:
    raise AssertionError("a member need not say again who he is")
