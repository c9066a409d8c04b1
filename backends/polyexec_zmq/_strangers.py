"""Those who connect to a socket that asks for keys, and come with no proof of one.

libzmq cuts them off by itself, before anybody is asked (see `_zap`): who speaks no CURVE, or no
ZeroMQ at all, has another key than he says, or says again what he once heard. It tells only which
connection begins and which ends, by their descriptors, and *that* somebody has given proof, but not
on which; of HTTP or noise not even that the handshake failed. So proofs are counted, a letter tells
on which connection it came, and who ends while there are more connections than proofs has given
none.
"""

from __future__ import annotations

import os
from typing import Any, Final

import zmq

#: Who gives proof of a key is let in or not: either way, somebody was asked.
_LET_IN: Final = zmq.EVENT_HANDSHAKE_SUCCEEDED
_DENIED: Final = zmq.EVENT_HANDSHAKE_FAILED_AUTH
#: How many events are read before something else is seen to.
_SOME: Final = 256


class Strangers:
    """Who came to *sock* without proof; before it is bound."""

    def __init__(self, sock: zmq.Socket[Any], context: zmq.Context[Any]) -> None:
        self._guarded = sock
        address = f"inproc://strangers-{os.urandom(8).hex()}"
        sock.monitor(address, zmq.EVENT_ACCEPTED | _LET_IN | _DENIED | zmq.EVENT_DISCONNECTED)
        #: Readable when somebody comes or goes.
        self.sock: zmq.Socket[bytes] = context.socket(zmq.PAIR)
        self.sock.linger = 0
        # No bound: at one, libzmq's thread would wait for us, and hold a lock that closing needs.
        self.sock.rcvhwm = 0
        self.sock.connect(address)
        self._balance = Balance()

    def read(self) -> int:
        """Return how many have gone since the last call."""
        from zmq.utils.monitor import recv_monitor_message

        count = 0
        for _ in range(_SOME):
            try:
                event = recv_monitor_message(self.sock, zmq.NOBLOCK)
            except zmq.Again:
                break
            count += self._balance.take(event["event"], event["value"])
        return count

    def note_letter(self, frame: zmq.Frame) -> None:
        """Take note that *frame* has come, on a connection that is proven by that."""
        self._balance.settle(int(frame.get(zmq.SRCFD)))

    def close(self) -> None:
        """Close the socket."""
        if not self._guarded.closed:
            self._guarded.disable_monitor()
        self.sock.close()


class Balance:
    """The connections of which it is not known who gave proof, and how many have.

    Who leaves is taken for one without proof if there is one among them. That may be wrong of who
    gives proof and leaves without a letter, while another has yet to give his.
    """

    def __init__(self) -> None:
        self._open: set[int] = set()
        self._proven = 0
        #: Whether the next to leave is one that was not let in.
        self._denied = False

    def take(self, event: int, value: int) -> bool:
        """Take an event of libzmq's; return whether somebody has left who gave no proof."""
        stranger = False
        if event == zmq.EVENT_ACCEPTED:
            self._open.add(value)
        elif event == _LET_IN:
            self._proven += 1
        elif event == _DENIED:
            self._denied = True
        elif event == zmq.EVENT_DISCONNECTED and value in self._open:
            stranger = self._proven < len(self._open) and not self._denied
            self._open.discard(value)
            self._proven -= not (stranger or self._denied)
            self._denied = False
        self._simplify()
        return stranger

    def settle(self, connection: int) -> None:
        """Take note that it was on that *connection* that one of the proofs was given."""
        if connection in self._open:
            self._open.discard(connection)
            self._proven -= 1
            self._simplify()

    def _simplify(self) -> None:
        if self._proven >= len(self._open):
            self._open.clear()
            self._proven = 0
