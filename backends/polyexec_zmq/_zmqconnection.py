"""A line's letters through a ZeroMQ socket: a new one for each session.

A session is one connection of one socket, so that within it nothing is lost or comes twice; ZeroMQ
does not get to connect a second time.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

import zmq

from polyexec import ClusterError, JoinRefusedError
from polyexec_zmq import _wire as wire
from polyexec_zmq._channel import Channels
from polyexec_zmq._connection import milliseconds
from polyexec_zmq._frames import AT_ONCE, READABLE, WRITABLE, receive_rest, send

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from polyexec_zmq._keys import Credentials

_CUT = zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED
_REFUSED = zmq.EVENT_HANDSHAKE_FAILED_AUTH
_FAILED = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
#: What is said where descriptors or memory are used up: others may give some back.
_SCARCE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class ZmqConnection:
    """Connections to the head at *address*; *credentials* are the keys, None on a local socket."""

    once: bool = False
    greeting: float = 5.0

    def __init__(self, address: str, credentials: Credentials | None) -> None:
        self._address = address
        self._credentials = credentials
        self._context: zmq.Context[Any] = zmq.Context()
        self._sock: zmq.Socket[bytes] | None = None
        self._monitor: zmq.Socket[bytes] | None = None
        self._poller = zmq.Poller()
        host = address.removeprefix("tcp://").rpartition(":")[0]
        self.channels: Channels = Channels(self._context, self._poller, host)
        self._fds: set[int] = set()
        self.readable: bool = False
        self.troubled: bool = False
        self.connected: bool = False

    def open(self) -> str | None:
        """Begin a session; return why that can't be at present, None if it has begun."""
        self.connected = False
        try:
            self._connect()
        except zmq.ZMQError as error:
            if error.errno not in _SCARCE:
                raise
            return f"no socket can be opened here ({error}), so raise `ulimit -n`"
        return None

    def _connect(self) -> None:
        sock: zmq.Socket[bytes] = self._context.socket(zmq.DEALER)
        self._sock = sock
        sock.linger = 0
        sock.reconnect_ivl = -1
        sock.routing_id = b"\1" + os.urandom(16)
        sock.sndhwm = sock.rcvhwm = 1000
        sock.ipv6 = "[" in self._address
        if self._credentials is not None:
            self._credentials.be_client(sock)
        self._poller.register(sock, zmq.POLLIN)
        monitor = sock.get_monitor_socket(_CUT | _REFUSED | _FAILED | zmq.EVENT_CONNECTED)
        monitor.linger = 0
        self._monitor = monitor
        self._poller.register(monitor, zmq.POLLIN)
        sock.connect(self._address)

    def close(self, linger: int) -> None:
        """End the session, if one is on; what was sent has *linger* milliseconds to leave."""
        self.channels.clear()
        sock, self._sock = self._sock, None
        if sock is None:
            return
        monitor, self._monitor = self._monitor, None
        if monitor is not None:
            self._poller.unregister(monitor)
            sock.disable_monitor()
            monitor.close()
        self._poller.unregister(sock)
        sock.close(linger)

    def end(self) -> None:
        """Let go of all."""
        self.channels.end()
        self._context.term()

    def watch(self, fd: int) -> None:
        """Have `wait` end when there is something on *fd*."""
        self._fds.add(fd)
        self._poller.register(fd, zmq.POLLIN)

    def unwatch(self, fd: int) -> None:
        """Watch *fd* no more."""
        self._fds.discard(fd)
        self._poller.unregister(fd)

    def wait(self, seconds: float, *, for_room: bool = False) -> AbstractSet[int]:
        """Wait for letters, for an end, or *for_room*; return the watched that are readable."""
        if self._sock is not None:
            self._poller.modify(self._sock, READABLE | (WRITABLE if for_room else 0))
        seconds = 0.0 if self.channels.hurry else seconds
        events = dict(self._poller.poll(milliseconds(seconds)))
        self.channels.step(events)
        self.readable = self._sock in events
        self.troubled = self._monitor in events
        return self._fds.intersection(events)

    def send(self, letter: list[Any]) -> bool:
        """Send *letter*; return False if there is no room for it."""
        assert self._sock is not None
        try:
            send(self._sock, letter, copy=letter[0][0] != wire.CHUNK)
        except zmq.Again:
            return False
        return True

    @property
    def sends(self) -> bool:
        """Whether some of what was sent has not left yet: that is ZeroMQ's affair."""
        return False

    def receive(self) -> list[Any] | None:
        """Return the next letter, None if none has come."""
        assert self._sock is not None
        try:
            first = self._sock.recv(AT_ONCE)
        except zmq.Again:
            return None
        return receive_rest(self._sock, first)

    def look(self) -> bool:
        """Return whether letters have come."""
        return self._sock is not None and bool(self._sock.poll(0))

    def failure(self) -> ClusterError | str | None:
        """Return what has become of the connection, None if it goes on."""
        from zmq.utils.monitor import recv_monitor_message

        assert self._monitor is not None
        event = int(recv_monitor_message(self._monitor)["event"])
        if event & zmq.EVENT_CONNECTED:
            self.connected = True
        if event & _REFUSED:
            return JoinRefusedError(
                f"the head at {self._address} does not accept this key; have it added with "
                "`polyexec keys add`, or use the connection file that belongs to that head"
            )
        if event & _FAILED:
            if self._credentials is None:
                return "what answers there wants keys, so pass a connection file; or is no head"
            return "what answers there has another server key than we were told, or is no head"
        return "" if event & _CUT else None
