"""The head's relay: joins the two ends of channels, and passes on what it can't read.

It has a port of its own, where nobody need prove who he is: whoever has no number that the head
expects is cut off, and who has one gets nothing but what the other end encrypts for the right key.

Who has which number, it takes from what a ZeroMQ socket says first: ten bytes, with the length of
its routing id (for peers that are as old as ZMTP 1.0; others pass over it). So the two ends of a
channel are those that have routing ids of the same length, and few can be about to meet at a time.
A SOCKS proxy would be asked for a host by name, as libzmq can; but that, as of 4.3.5, aborts the
process as it closes a socket that the proxy has turned away (`socks_connecter.cpp`: `error` leaves
a handle behind, which is removed a second time).
"""

from __future__ import annotations

import contextlib
import logging
import random
import resource
import selectors
import socket
import struct
import threading
import time
from typing import Final

from polyexec import ClusterError
from polyexec_zmq._tally import Tally

logger = logging.getLogger("polyexec.head")

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
#: How many seconds the two ends of a channel may take to come; and a stranger, to say a number.
_MEETING: Final = 30.0
_GREETING: Final = 10.0
#: How many may be connected that have said no number.
_MOST_STRANGERS: Final = 64
#: How many seconds pass between looks at who is late, and until it takes connections again.
_REST: Final = 1.0
#: How many bytes are passed on at a time.
_AT_A_TIME: Final = 1 << 18
#: How a ZeroMQ socket begins: what is between is how long its routing id is, and one more.
_FIRST: Final = struct.Struct(">BQB")
_BEGINS, _ENDS = 0xFF, 0x7F
_LAST_PORT: Final = 65535
#: More descriptors than these are not counted on; the sockets of a ZeroMQ context are fewer still.
_MANY: Final = 4096
#: The numbers that there are.
_NUMBERS: Final = range(1, 256)


def label(number: int) -> bytes:
    """Return the routing id of a socket that is to be known to a relay by *number*."""
    return b"." * number


def most_channels(each: int) -> int:
    """Return for how many channels, of so many descriptors *each*, a quarter of ours is enough."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(_MANY if limit == resource.RLIM_INFINITY else min(limit, _MANY) // 4 // each, 1)


class _End:
    """A connection: of a stranger, then of one of a channel's two ends."""

    def __init__(self, sock: socket.socket, now: float) -> None:
        self.sock = sock
        self.until = now + _GREETING
        self.channel: _Channel | None = None
        #: What it has said before it was joined; what it has not taken yet.
        self.said = b""
        self.owed: memoryview = memoryview(b"")
        self.watched = 0


class _Channel:
    """Two ends, of *members*; or none yet, or one."""

    def __init__(self, members: tuple[int, int], now: float) -> None:
        self.members = members
        self.until = now + _MEETING
        self.ends: list[_End] = []

    def other(self, end: _End) -> _End | None:
        """Return the end that *end* talks to."""
        return next((each for each in self.ends if each is not end), None)


class Relay:
    """Listens at *bind*, as in ``tcp://0.0.0.0:5556``; has a thread of its own."""

    def __init__(self, bind: str) -> None:
        host, _, port = bind.removeprefix("tcp://").rpartition(":")
        host = host.strip("[]")
        number = 0 if port == "*" else int(port) if port.isdecimal() else -1
        if not bind.startswith("tcp://") or not 0 <= number <= _LAST_PORT:
            raise ClusterError(f"{bind!r} is no address to listen at, as in tcp://0.0.0.0:5556")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        everywhere = host in {"*", "0.0.0.0", "::"}  # noqa: S104 - names what is recognised
        try:
            self._server = socket.create_server(
                ("" if host == "*" else host, number),
                family=family,
                backlog=128,
                dualstack_ipv6=host == "::" and socket.has_dualstack_ipv6(),
            )
        except OSError as error:
            raise ClusterError(
                f"nobody can listen at {bind}: {error.strerror}; pass another address as --bulk"
            ) from error
        self._server.setblocking(False)  # noqa: FBT003 - its only signature
        number = self._server.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        #: What members are told; without a host it is on that of the head.
        self.address: str = f"{'' if everywhere else shown}:{number}"
        self._lock = threading.Lock()
        self._expected: dict[int, _Channel] = {}
        self._channels: set[_Channel] = set()
        self._gone: set[_Channel] = set()
        self._ends: set[_End] = set()
        self._strangers = 0
        self._refused = Tally(logger)
        self._most = most_channels(2)
        #: How many bytes it has passed on.
        self.passed: int = 0
        self._buffer = memoryview(bytearray(_AT_A_TIME))
        self._selector = selectors.DefaultSelector()
        self._near, self._far = socket.socketpair()
        self._far.setblocking(False)  # noqa: FBT003
        self._selector.register(self._near, READ)
        self._selector.register(self._server, READ)
        #: Until when it takes no connections, for it could not.
        self._rests_until: float | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="polyexec-relay", daemon=True)
        self._thread.start()

    # -- for the head's thread -----------------------------------------------------------------

    def expect(self, members: tuple[int, int]) -> int | None:
        """Return the number by which these two are to meet; None if there are too many channels.

        Two members have one channel: the one that they had before is closed.
        """
        channel = _Channel(members, time.monotonic())
        with self._lock:
            self._gone.update(each for each in self._channels if each.members == members)
            free = [number for number in _NUMBERS if number not in self._expected]
            if len(self._channels) - len(self._gone) >= self._most or not free:
                return None
            number = random.choice(free)  # noqa: S311 - it is no secret
            self._expected[number] = channel
            self._channels.add(channel)
        self._wake()
        return number

    def part(self, member: int) -> None:
        """Close the channels of *member*, who is gone."""
        with self._lock:
            self._gone.update(each for each in self._channels if member in each.members)
        self._wake()

    @property
    def count(self) -> int:
        """How many channels there are."""
        with self._lock:
            return sum(len(channel.ends) > 1 for channel in self._channels)

    @property
    def turned_away(self) -> int:
        """How many connections were refused."""
        return self._refused.count

    def close(self) -> None:
        """End, with all channels."""
        if not self._closing:
            self._closing = True
            self._wake()
            self._thread.join()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # it has not read the last one yet, or has ended
            self._far.send(b"!")

    # -- its thread ----------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._closing:
                for key, events in self._selector.select(self._look()):
                    if key.fileobj is self._near:
                        self._near.recv(4096)
                    elif key.fileobj is self._server:
                        self._accept()
                    elif key.data in self._ends:  # or it was closed with another
                        self._see_to(key.data, events)
        except BaseException:  # of ours: the head goes on without, and its members by their lines
            logger.critical("the relay failed", exc_info=True)
        for end in list(self._ends):
            self._close(end)
        for each in (self._server, self._selector, self._near, self._far):
            each.close()

    def _look(self) -> float | None:
        """Part with who is gone, or late; return how many seconds may pass, None for any."""
        now = time.monotonic()
        with self._lock:
            gone, self._gone = self._gone, set()
            unmet = [channel for channel in self._expected.values() if len(channel.ends) <= 1]
            gone.update(channel for channel in unmet if now > channel.until)
            for number in [number for number, each in self._expected.items() if each in gone]:
                del self._expected[number]
            self._channels -= gone
        for channel in gone:
            for end in list(channel.ends):
                self._close(end)
        if self._strangers:
            for end in [each for each in self._ends if each.channel is None and now > each.until]:
                self._close(end)
        if self._rests_until is not None and now > self._rests_until:
            self._rests_until = None
            self._selector.register(self._server, READ)
        resting = self._rests_until is not None
        return _REST if self._strangers or unmet or resting else None

    def _accept(self) -> None:
        try:
            sock, _ = self._server.accept()
            sock.setblocking(False)  # noqa: FBT003
        except (BlockingIOError, ConnectionError):  # it has left again
            return
        except OSError as error:  # there are no descriptors left
            logger.warning("the relay can't take connections: %s", error.strerror)
            self._selector.unregister(self._server)
            self._rests_until = time.monotonic() + _REST
            return
        if self._strangers >= _MOST_STRANGERS:
            sock.close()
            self._note_refusal()
            return
        end = _End(sock, time.monotonic())
        self._ends.add(end)
        self._strangers += 1
        self._watch(end)

    def _see_to(self, end: _End, events: int) -> None:
        try:
            if end.channel is None:
                self._greet(end)
            elif events & WRITE:
                self._pay(end)
            elif (other := end.channel.other(end)) is not None:
                self._pass_on(end, other)
            else:
                self._close(end)  # it says more, or leaves, before the other end has come
        except BlockingIOError:  # there was nothing, after all
            pass
        except OSError:
            self._close(end)

    def _greet(self, end: _End) -> None:
        """Hear which number somebody has, who need not say it at once."""
        said = end.sock.recv(_FIRST.size - len(end.said))
        end.said += said
        if not said:
            self._close(end)
        elif len(end.said) == _FIRST.size:
            begins, length, ends = _FIRST.unpack(end.said)
            well = (begins, ends) == (_BEGINS, _ENDS)
            channel = self._meet(end, length - 1) if well else None
            if channel is None:
                self._close(end)
            elif (other := channel.other(end)) is not None:
                for each in (end, other):
                    each.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for each, from_whom in ((end, other), (other, end)):
                    each.sock.send(from_whom.said)

    def _meet(self, end: _End, number: int) -> _Channel | None:
        """Return the channel of who has that number, which *end* has joined; None if nobody has."""
        with self._lock:
            channel = self._expected.get(number)
            if channel is None:
                return None
            channel.ends.append(end)
            if len(channel.ends) > 1:
                del self._expected[number]
        end.channel = channel
        self._strangers -= 1
        return channel

    def _pass_on(self, end: _End, other: _End) -> None:
        """Give what *end* says to *other*; what that does not take keeps *end* waiting."""
        size = end.sock.recv_into(self._buffer)
        if not size:
            self._close(end)
            return
        self.passed += size
        try:
            sent = other.sock.send(self._buffer[:size])
        except BlockingIOError:
            sent = 0
        if sent < size:
            other.owed = memoryview(bytes(self._buffer[sent:size]))
            self._watch(end)
            self._watch(other)

    def _pay(self, end: _End) -> None:
        """Give *end* what it has not taken yet."""
        end.owed = end.owed[end.sock.send(end.owed) :]
        if not end.owed and end.channel is not None:
            self._watch(end)
            if (other := end.channel.other(end)) is not None:
                self._watch(other)

    def _watch(self, end: _End) -> None:
        """Wait for what there is to wait for: nobody says more than the other takes."""
        other = None if end.channel is None else end.channel.other(end)
        events = (READ if other is None or not other.owed else 0) | (WRITE if end.owed else 0)
        if events == end.watched:
            return
        if not end.watched:
            self._selector.register(end.sock, events, end)
        elif not events:
            self._selector.unregister(end.sock)
        else:
            self._selector.modify(end.sock, events, end)
        end.watched = events

    def _close(self, end: _End) -> None:
        """Part with *end*, and with who is at the other end of its channel."""
        if end not in self._ends:
            return
        self._ends.discard(end)
        if end.watched:
            self._selector.unregister(end.sock)
        end.sock.close()
        if end.channel is None:
            self._strangers -= 1
            if not self._closing:
                self._note_refusal()
            return
        with self._lock:
            self._channels.discard(end.channel)
            for number in [n for n, each in self._expected.items() if each is end.channel]:
                del self._expected[number]
        for other in end.channel.ends:
            self._close(other)

    def _note_refusal(self) -> None:
        self._refused.add(
            "the relay refused a connection: it named no channel that is expected "
            "(%d such ones so far)"
        )
