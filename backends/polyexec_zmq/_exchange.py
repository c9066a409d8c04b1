"""What a member does with large data: both sides of it, and the channels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polyexec_zmq import _wire as wire
from polyexec_zmq._bulk import Incoming, Outgoing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from polyexec_zmq._channel import Channels


class Exchange:
    """Large data from and to others, by the line, whose *send* that is, or by *channels*.

    It *offers* channels, as a node does, or takes them, as a program.
    """

    def __init__(
        self,
        send: Callable[[list[Any]], None],
        channels: Channels | None,
        *,
        offers: bool = False,
    ) -> None:
        self._send = send
        self._channels = channels
        self.outgoing: Outgoing = Outgoing(send)
        self.incoming: Incoming = Incoming(send, None if channels is None else channels.way)
        if channels is not None:
            channels.serve(self.outgoing, self.incoming, offers=offers)

    def welcomed(self, welcome: dict[str, Any]) -> None:
        """Take note of what the head has for channels."""
        if self._channels is not None:
            self._channels.welcomed(welcome["relay"])

    def take(self, kind: int, peer: int, number: int, frames: list[Any]) -> bool:
        """Take a letter; return False if it is of something else."""
        if kind == wire.PULL:
            self.outgoing.pulled(peer, number, *wire.PART.unpack(frames[1]))
        elif kind == wire.CHUNK:
            self.incoming.arrived(peer, number, wire.PART.unpack(frames[1])[0], frames[2])
        elif kind == wire.DROP:
            self.outgoing.arrived(number)
        elif kind == wire.GONE:
            self.incoming.gone(peer, number)
        elif kind == wire.CHANNEL:
            self._begin(peer, wire.from_json(frames[1]))
        else:
            return False
        return True

    def _begin(self, peer: int, about: dict[str, Any]) -> None:
        reply = None if self._channels is None else self._channels.begin(peer, about)
        if reply is not None:
            self._send(wire.letter(wire.CHANNEL, peer, 0, wire.to_json(reply)))

    def clear(self) -> None:
        """Forget all, for whoever it was for is no more."""
        self.outgoing.clear()
        self.incoming.lose(None, "its executor has ended")

    def keep(self, pieces: Sequence[memoryview], client: int) -> bytes:
        """Have *pieces* ready for *client*; return what tells it of them. Any thread may call."""
        if self._channels is not None:
            self._channels.want(client, sum(piece.nbytes for piece in pieces))
        return self.outgoing.hold(pieces, None, owner=client)

    def flush(self) -> None:
        """Offer the channels that are wanted; on the line's thread."""
        if self._channels is not None:
            for offer in self._channels.offers():
                self._send(offer)
