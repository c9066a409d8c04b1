"""Who may talk to a head: CURVE keys, and the list of those that are let in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    import zmq


class Doorkeeper:
    """Answers ZeroMQ's question who may connect (RFC 27, ZAP), by the keys that are on a list."""

    sock: zmq.Socket[bytes]

    def guard(self, sock: zmq.Socket[Any], context: zmq.Context[Any]) -> None:
        """Have nobody connect to *sock*, which is not bound yet, but who is let in."""
        raise NotImplementedError

    def answer(self) -> None:
        """Answer the questions that have come."""
        raise NotImplementedError

    def name_of(self, frame: zmq.Frame) -> str:
        """Return the name of the key that the sender of *frame* has proven to have."""
        raise NotImplementedError

    def revoked(self) -> Iterable[str]:
        """Return the names of keys that are not let in any more; cheap, and called often."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the socket."""
        raise NotImplementedError
