"""Channels: a connection between a program and a node for large data alone.

    node                          head                              program
    CHANNEL: a key            ->  has the relay expect both
    CHANNEL: a number         <-                                ->  CHANNEL: the key, a number
    connects to the relay     ->  who has that number?          <-  connects to the relay
    PULL and CHUNK           <->  bytes that it can't read     <->  PULL and CHUNK

What goes through the head's own socket is decrypted there, and encrypted again; a channel is
encrypted from end to end, once. The node makes a pair of keys for each, of which the public half
goes to the program through the head and to nobody else: whoever has it is who the node expects.
The number need be no secret; how it is told is the relay's to say.

A channel that can't be had, or ends, costs time alone: what was asked for by it is asked for again,
by the line.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Final

import zmq

from polyexec_zmq import _wire as wire
from polyexec_zmq._admission import MALFORMED, check_channel
from polyexec_zmq._bulk import AHEAD_BYTES, CHUNK_BYTES
from polyexec_zmq._frames import AT_ONCE, receive_rest, send
from polyexec_zmq._relay import label

if TYPE_CHECKING:
    from polyexec_zmq._bulk import Incoming, Outgoing

logger = logging.getLogger("polyexec")

#: From how many bytes on data is worth a channel.
WORTH: Final = 1 << 20
#: How many seconds the two ends may take to meet, and pass before it is tried again.
MEETING: Final = 10.0
_PAUSE: Final = 30.0
#: After how many seconds without letters it is closed.
_IDLE: Final = 60.0
#: How many letters are read before something else is seen to, and how many may wait.
_SOME: Final = 16
_MOST: Final = 4 * AHEAD_BYTES // CHUNK_BYTES
#: How often each end shows that it is there, and for how long it may not, in milliseconds.
_BEAT: Final = 2000
_SILENCE: Final = 10_000
_ENDED: Final = int(
    zmq.EVENT_DISCONNECTED
    | zmq.EVENT_CLOSED
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)


class Channel:
    """One end of a channel, known to the relay by *number*; *key* is the node's, None for that."""

    def __init__(
        self,
        context: zmq.Context[Any],
        relay: str,
        number: int,
        key: bytes | None,
        own_keys: tuple[bytes, bytes],
    ) -> None:
        self.sock: zmq.Socket[bytes] = context.socket(zmq.DEALER)
        sock = self.sock
        sock.linger = 0
        sock.reconnect_ivl = -1
        sock.sndhwm = sock.rcvhwm = _MOST
        sock.maxmsgsize = 2 * CHUNK_BYTES
        sock.heartbeat_ivl, sock.heartbeat_timeout = _BEAT, _SILENCE
        sock.connect_timeout = sock.handshake_ivl = int(MEETING * 1000)
        sock.ipv6 = "[" in relay
        sock.curve_publickey, sock.curve_secretkey = own_keys
        if key is None:
            sock.curve_server = 1
        else:
            sock.curve_serverkey = key
        sock.routing_id = label(number)
        self.monitor: zmq.Socket[bytes] = sock.get_monitor_socket(_ENDED)
        self.monitor.linger = 0
        #: Whether the other end is there, and whether this is of no use any more.
        self.up: bool = False
        self.broken: bool = False
        self._used = time.monotonic()
        sock.connect(f"tcp://{relay}")
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
        limit = _IDLE if self.up else MEETING
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
        self._outgoing: Outgoing
        self._incoming: Incoming

    def serve(self, outgoing: Outgoing, incoming: Incoming) -> None:
        """Have these carry what comes."""
        self._outgoing, self._incoming = outgoing, incoming

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
        if size >= WORTH:
            self._wanted.add(peer)

    def offers(self) -> list[list[Any]]:
        """Return the letters that ask for the channels that a node wants."""
        if not self._wanted:
            return []
        letters = []
        now = time.monotonic()
        wanted, self._wanted = self._wanted, set()
        for peer in wanted - self._by_peer.keys():
            if self._relay is None or now < self._tried.get(peer, 0.0):
                continue
            self._tried[peer] = now + _PAUSE
            keys = self._offered[peer] = zmq.curve_keypair()
            about = wire.to_json({"key": keys[0].decode()})
            letters.append(wire.letter(wire.CHANNEL, peer, 0, about))
        return letters

    def begin(self, peer: int, about: dict[str, Any]) -> None:
        """Connect, as the head says that both may."""
        if self._relay is None or peer in self._by_peer:
            return
        check_channel(about)
        key: bytes | None = None
        keys = self._offered.pop(peer, None)
        if keys is None:  # another has offered it
            key, keys = about["key"].encode(), zmq.curve_keypair()
        channel = Channel(self._context, self._relay, about["number"], key, keys)
        self._by_peer[peer] = channel
        for sock in (channel.sock, channel.monitor):
            self._poller.register(sock, zmq.POLLIN)

    # -- what comes through them ---------------------------------------------------------------

    @property
    def hurry(self) -> bool:
        """Whether there is something to do without an event."""
        return any(channel.broken for channel in self._by_peer.values())

    def step(self, events: dict[Any, int]) -> None:
        """Take what has come, and let go of those that have ended."""
        now = time.monotonic()
        for peer, channel in list(self._by_peer.items()):
            if channel.sock in events:
                self._read(peer, channel)
            if not channel.look(now, troubled=channel.monitor in events):
                self._drop(peer, channel)
                self._incoming.lose_way(channel)

    def _read(self, peer: int, channel: Channel) -> None:
        for _ in range(_SOME):
            letter = channel.receive()
            if letter is None:
                return
            try:
                self._take(peer, channel, letter)
            except MALFORMED:
                logger.warning("a channel is closed, for what came makes no sense", exc_info=True)
                channel.broken = True
                return

    def _take(self, peer: int, channel: Channel, letter: list[Any]) -> None:
        kind, _, number = wire.HEAD.unpack(letter[0])
        if kind == wire.PULL:
            start, count = wire.PART.unpack(letter[1])
            self._outgoing.pulled(peer, number, start, count, channel)
        elif kind == wire.CHUNK:
            self._incoming.arrived(peer, number, letter[1], letter[2])
        elif kind != wire.PING:
            raise ValueError(f"a channel has no letters of kind {kind}")

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
