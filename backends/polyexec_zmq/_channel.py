"""Channels: a connection between a program and a node for large data alone.

    node                         head                                   program
    CHANNEL: its key         ->  has the relay expect both         ->   CHANNEL: and a number
    CHANNEL: and the number  <-                                    <-   CHANNEL: its own key
    connects to the relay    ->  who has that number?              <-   connects to the relay
    PULL and CHUNK          <->  bytes that it can't read         <->   PULL and CHUNK

What goes through the head's own socket is decrypted there, and encrypted again; a channel is
encrypted from end to end, once. Both make a pair of keys for each, and talk to nobody but who has
the one that they were told of by the head. The number need be no secret; how it is told is the
relay's to say.

A channel that can't be had, or ends, costs time alone: what was asked for by it is asked for again,
by the line.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Final

import zmq

from polyexec_zmq import _wire as wire
from polyexec_zmq import _zap
from polyexec_zmq._admission import MALFORMED, check_channel
from polyexec_zmq._bulk import AHEAD_BYTES, CHUNK_BYTES
from polyexec_zmq._frames import AT_ONCE, receive_rest, send
from polyexec_zmq._keys import Credentials
from polyexec_zmq._relay import label, most_channels

if TYPE_CHECKING:
    from polyexec_zmq._bulk import Incoming, Outgoing

logger = logging.getLogger("polyexec")

#: From how many bytes on data is worth a channel.
_WORTH: Final = 1 << 20
#: How many seconds the two ends may take to meet, and pass before it is tried again.
_MEETING: Final = 30.0
_PAUSE: Final = 30.0
#: After how many seconds without letters it is closed.
_IDLE: Final = 60.0
#: How many letters are read before something else is seen to, and how many may wait.
_SOME: Final = 16
_MOST: Final = 4 * AHEAD_BYTES // CHUNK_BYTES
#: How many descriptors one takes here.
_DESCRIPTORS: Final = 4
#: How often each end shows that it is there, and for how long it may not, in milliseconds.
_BEAT: Final = 2000
_SILENCE: Final = 30_000
_ENDED: Final = int(
    zmq.EVENT_DISCONNECTED
    | zmq.EVENT_CLOSED
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)


class Channel:
    """One end of a channel, known to the relay by *number*.

    The other end has *key*, and this *own_keys*. A node asks who it is that has connected.
    """

    def __init__(
        self,
        context: zmq.Context[Any],
        relay: str,
        number: int,
        key: str,
        own_keys: tuple[bytes, bytes],
        *,
        asks: bool,
    ) -> None:
        #: Whether the other end is there, and whether this is of no use any more.
        self.up: bool = False
        self.broken: bool = False
        self.key: str = key
        self._used = time.monotonic()
        self.sock: zmq.Socket[bytes] = context.socket(zmq.DEALER)
        sock = self.sock
        sock.linger = 0
        sock.reconnect_ivl = -1
        sock.sndhwm = sock.rcvhwm = _MOST
        sock.maxmsgsize = 2 * CHUNK_BYTES
        sock.heartbeat_ivl, sock.heartbeat_timeout = _BEAT, _SILENCE
        sock.connect_timeout = sock.handshake_ivl = int(_MEETING * 1000)
        sock.ipv6 = "[" in relay
        sock.routing_id = label(number)
        try:
            if asks:
                _zap.guard(sock, *own_keys)
            else:
                Credentials(key, *(each.decode() for each in own_keys)).be_client(sock)
            self.monitor: zmq.Socket[bytes] = sock.get_monitor_socket(_ENDED)
        except zmq.ZMQError:
            sock.close()
            raise
        self.monitor.linger = 0
        try:
            sock.connect(f"tcp://{relay}")
        except zmq.ZMQError:
            self.close()
            raise
        self.send(wire.letter(wire.PING))

    def send(self, letter: list[Any]) -> None:
        """Send *letter*; if there is no room for it, this is of no use any more."""
        try:
            send(self.sock, letter, copy=letter[0][0] != wire.CHUNK)
        except zmq.Again:
            self.broken = True

    def receive(self) -> list[Any] | None:
        """Return the next letter, None if none has come."""
        try:
            first = self.sock.recv(AT_ONCE)
        except zmq.Again:
            return None
        self.up = True
        self._used = time.monotonic()
        return receive_rest(self.sock, first)

    def look(self, now: float, *, troubled: bool) -> bool:
        """Return whether it is of use; *troubled*: something has become of the connection."""
        limit = _IDLE if self.up else _MEETING
        if troubled or now - self._used > limit:
            self.broken = True
        return not self.broken

    def close(self) -> None:
        """Let go of it."""
        self.sock.disable_monitor()
        self.monitor.close()
        self.sock.close()


class Channels:
    """A member's channels, by who is at their other ends; on the thread of its line.

    Their sockets are of *context*, and registered with *poller*. *host* is where the head is.
    """

    def __init__(self, context: zmq.Context[Any], poller: zmq.Poller, host: str) -> None:
        self._context = context
        self._poller = poller
        self._host = host
        self._relay: str | None = None
        self._by_peer: dict[int, Channel] = {}
        #: The programs that this node wants channels to; what it has offered them, and since when
        #: nothing is to be tried again.
        self._wanted: set[int] = set()
        self._offered: dict[int, tuple[bytes, bytes]] = {}
        self._tried: dict[int, float] = {}
        #: Where ZeroMQ asks who may connect, if this is a node.
        self._gate: zmq.Socket[bytes] | None = None
        self._offers = False
        self._most = most_channels(_DESCRIPTORS)
        self._outgoing: Outgoing
        self._incoming: Incoming

    def serve(self, outgoing: Outgoing, incoming: Incoming, *, offers: bool) -> None:
        """Have these take what comes; it *offers* channels, as nodes do, or takes them."""
        self._outgoing, self._incoming, self._offers = outgoing, incoming, offers

    def welcomed(self, relay: str | None) -> None:
        """Take note where the head's relay is; None if it has none."""
        if relay is not None:
            host, _, port = relay.rpartition(":")
            relay = f"{host or self._host}:{port}"
        self._relay = relay

    def way(self, peer: int, size: int) -> Channel | None:
        """Return the channel to *peer* by which to ask for so many bytes; None: not by one."""
        channel = self._by_peer.get(peer)
        if channel is None:
            self.want(peer, size)
            return None
        return channel if channel.up and not channel.broken else None

    # -- how they come about -------------------------------------------------------------------

    def want(self, peer: int, size: int) -> None:
        """Take note that so many bytes are to go to *peer*, or come from it; on any thread."""
        if size >= _WORTH and self._offers:
            self._wanted.add(peer)

    def offers(self) -> list[list[Any]]:
        """Return the letters that offer the channels that are wanted."""
        if not self._wanted:
            return []
        letters = []
        now = time.monotonic()
        wanted, self._wanted = self._wanted, set()
        for peer in [peer for peer, until in self._tried.items() if now > until]:
            del self._tried[peer]
            self._offered.pop(peer, None)
        for peer in wanted - self._by_peer.keys():
            if self._relay is None or peer in self._tried:
                continue
            self._tried[peer] = now + _PAUSE
            keys = self._offered[peer] = zmq.curve_keypair()
            about = wire.to_json({"key": keys[0].decode()})
            letters.append(wire.letter(wire.CHANNEL, peer, 0, about))
        return letters

    def begin(self, peer: int, about: dict[str, Any]) -> dict[str, Any] | None:
        """Connect, as the other end will; return what a program tells the node that has offered."""
        check_channel(about)
        if self._relay is None:
            return None
        if not self._offers:
            keys = zmq.curve_keypair()
            if (former := self._by_peer.get(peer)) is not None:  # which the node has lost
                self._lose(peer, former)
        elif peer in self._offered:
            keys = self._offered.pop(peer)
        else:
            return None  # it was not asked for, or has been given up
        key, number = about["key"], about["number"]
        if len(self._by_peer) >= self._most:
            return None
        try:
            if self._offers:
                self._ask_who_connects()
            channel = Channel(self._context, self._relay, number, key, keys, asks=self._offers)
        except zmq.ZMQError as error:
            logger.warning("large data goes by the line, for it can have no channel: %s", error)
            return None
        self._by_peer[peer] = channel
        for sock in (channel.sock, channel.monitor):
            self._poller.register(sock, zmq.POLLIN)
        return None if self._offers else {"key": keys[0].decode(), "number": number}

    def _ask_who_connects(self) -> None:
        """Have ZeroMQ ask, from the first channel on."""
        if self._gate is None:
            gate: zmq.Socket[bytes] = self._context.socket(zmq.ROUTER)
            gate.linger = 0
            gate.bind(_zap.ADDRESS)
            self._poller.register(gate, zmq.POLLIN)
            self._gate = gate

    # -- what comes through them ---------------------------------------------------------------

    @property
    def hurry(self) -> bool:
        """Whether there is something to do without an event."""
        return any(channel.broken for channel in self._by_peer.values())

    def step(self, events: dict[Any, int]) -> None:
        """Take what has come, and let go of those that have ended."""
        if self._gate is not None and self._gate in events:
            self._answer(self._gate)
        now = time.monotonic()
        for peer, channel in list(self._by_peer.items()):
            if channel.sock in events:
                self._read(peer, channel)
            if not channel.look(now, troubled=channel.monitor in events):
                self._lose(peer, channel)

    def _answer(self, gate: zmq.Socket[bytes]) -> None:
        """Let in who has the key that one of the channels expects."""
        question = gate.recv_multipart()
        key = _zap.key_of(question)
        expected = any(channel.key == key for channel in self._by_peer.values())
        gate.send_multipart(_zap.answer(question, key if expected else None))

    def _read(self, peer: int, channel: Channel) -> None:
        for _ in range(_SOME):
            letter = channel.receive()
            if letter is None:
                return
            try:
                kind, number, start, count, data = _parse(letter)
            except MALFORMED:
                logger.warning("a channel is closed, for what came makes no sense", exc_info=True)
                channel.broken = True
                return
            if kind == wire.PULL:
                self._outgoing.pulled(peer, number, start, count, channel)
            elif kind == wire.CHUNK:
                self._incoming.arrived(peer, number, start, data)

    def _lose(self, peer: int, channel: Channel) -> None:
        self._drop(peer, channel)
        self._incoming.lose_way(channel)

    def _drop(self, peer: int, channel: Channel) -> None:
        del self._by_peer[peer]
        for sock in (channel.sock, channel.monitor):
            self._poller.unregister(sock)
        channel.close()

    def clear(self) -> None:
        """Let go of all, for the line's session has ended, after which all is asked for again."""
        for peer, channel in list(self._by_peer.items()):
            self._drop(peer, channel)
        self._wanted.clear()
        self._offered.clear()
        self._tried.clear()

    def end(self) -> None:
        """Let go of all, for there will be no session any more."""
        self.clear()
        if self._gate is not None:
            self._gate.close()


def _parse(letter: list[Any]) -> tuple[int, int, int, int, Any]:
    """Return what is in *letter*: kind, number, where from, how many bytes, and those."""
    kind, _, number = wire.HEAD.unpack(letter[0])
    if kind == wire.PING:
        return kind, 0, 0, 0, None
    if kind not in (wire.PULL, wire.CHUNK):
        raise ValueError(f"a channel has no letters of kind {kind}")
    start, count = wire.PART.unpack(letter[1])
    return kind, number, start, count, letter[2] if kind == wire.CHUNK else None
